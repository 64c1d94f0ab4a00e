-- The trace that a notification belongs to (the `traceparent` of W3C Trace Context), for the few that have one.

ALTER TABLE inbox    ADD COLUMN traceparent TEXT;
ALTER TABLE handover ADD COLUMN traceparent TEXT;

-- For a node that takes up what a stopped one left for a user who arrives. None for the moment at which it ends:
-- that is looked for once a second and only while something is left, and each index makes a stop slower.

CREATE INDEX handover_by_user ON handover (user_id, seq);

CREATE SCHEMA IF NOT EXISTS doorstep;

-- Which version of this is installed, and whether publishing wakes the consumer.
CREATE TABLE IF NOT EXISTS doorstep.installation (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version integer NOT NULL,
    notify boolean NOT NULL
);

-- One node consumes at a time: the holder of this lease. Each holder has a larger fencing number than the one before,
-- and each write of a node checks its number, so a node that lost the lease changes nothing.
CREATE TABLE IF NOT EXISTS doorstep.consumer (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    fence bigint NOT NULL DEFAULT 0,
    holder text NOT NULL DEFAULT '',
    held_until timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO doorstep.consumer (one) VALUES (true) ON CONFLICT DO NOTHING;

-- What was published and not consumed. Nothing but the key is constrained: a wrong value must not break the transaction
-- of the backend.
CREATE TABLE IF NOT EXISTS doorstep.outbox (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id uuid,
    user_id text,
    kind text,
    payload jsonb,
    topic text,
    ttl integer,
    policy text,
    traceparent text,
    called_at timestamptz
);

-- To find what a backend takes back. A text of any length must be taken, and an index takes short ones only: longer than
-- 128 is no user.
CREATE INDEX IF NOT EXISTS outbox_id ON doorstep.outbox (id);
CREATE INDEX IF NOT EXISTS outbox_user_id ON doorstep.outbox (left(user_id, 129));

-- Rows that a node has accepted and that have not ended.
CREATE TABLE IF NOT EXISTS doorstep.accepted (
    seq bigint PRIMARY KEY,
    id uuid,
    user_id text,
    kind text,
    payload jsonb,
    topic text,
    ttl integer,
    policy text,
    traceparent text,
    called_at timestamptz
);

-- Rejected rows, with their errors. Bounded: the oldest make room.
CREATE TABLE IF NOT EXISTS doorstep.rejected (
    seq bigint PRIMARY KEY,
    id uuid,
    user_id text,
    kind text,
    payload jsonb,
    topic text,
    ttl integer,
    policy text,
    traceparent text,
    called_at timestamptz,
    rejected_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    errors jsonb NOT NULL
);

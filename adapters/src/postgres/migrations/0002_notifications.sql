-- The inbox, and what a stopping node leaves for the next one.
--
-- No reference to `users`: delivery knows user ids only as strings, and whoever embeds it brings their own.
-- `ttl` is in milliseconds.

CREATE TABLE inbox (
    seq          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id           TEXT   NOT NULL UNIQUE,
    user_id      TEXT   NOT NULL,
    kind         TEXT   NOT NULL,
    topic        TEXT,
    payload      TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    ttl          BIGINT,
    -- Whether its policy put it here, or the end of its TTL.
    entered_by   TEXT   NOT NULL CHECK (entered_by IN ('policy', 'expiry')),
    delivered_at BIGINT,
    read_at      BIGINT,
    -- Who has read it has been delivered it.
    CHECK (read_at IS NULL OR delivered_at IS NOT NULL)
);

CREATE INDEX inbox_by_user     ON inbox (user_id, seq);
CREATE INDEX inbox_undelivered ON inbox (user_id, seq) WHERE delivered_at IS NULL;
CREATE INDEX inbox_unread      ON inbox (user_id, seq) WHERE read_at IS NULL;

CREATE TABLE handover (
    seq        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id         TEXT   NOT NULL UNIQUE,
    user_id    TEXT   NOT NULL,
    kind       TEXT   NOT NULL,
    topic      TEXT,
    payload    TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    ttl        BIGINT
);

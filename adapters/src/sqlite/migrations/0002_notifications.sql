-- The inbox, and what a stopping node leaves for the next one.
--
-- No reference to `users`: delivery knows user ids only as strings, and whoever embeds it brings their own.
-- `ttl` is in milliseconds.

CREATE TABLE inbox (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT    NOT NULL UNIQUE,
    user_id      TEXT    NOT NULL,
    kind         TEXT    NOT NULL,
    topic        TEXT,
    payload      TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    ttl          INTEGER,
    -- Whether its policy put it here, or the end of its TTL.
    entered_by   TEXT   NOT NULL CHECK (entered_by IN ('policy', 'expiry')),
    delivered_at INTEGER,
    read_at      INTEGER,
    -- Who has read it has been delivered it.
    CHECK (read_at IS NULL OR delivered_at IS NOT NULL)
) STRICT;

CREATE INDEX inbox_by_user     ON inbox (user_id, seq);
CREATE INDEX inbox_undelivered ON inbox (user_id, seq) WHERE delivered_at IS NULL;
CREATE INDEX inbox_unread      ON inbox (user_id, seq) WHERE read_at IS NULL;

CREATE TABLE handover (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT    NOT NULL UNIQUE,
    user_id    TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    topic      TEXT,
    payload    TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    ttl        INTEGER
) STRICT;

-- Users with their balances, the ledger behind them, and who is signed in.
--
-- Amounts are minor units (hundredths), moments are microseconds since the Unix epoch. `seq` is the order in
-- which rows came to be; AUTOINCREMENT, so that no number is ever given twice.

CREATE TABLE users (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT    NOT NULL UNIQUE,
    username     TEXT    NOT NULL,
    -- The name in lower case: what two spellings of it have in common.
    username_key TEXT    NOT NULL UNIQUE,
    password     TEXT    NOT NULL,
    -- Always the sum of the user's ledger entries: both change in one transaction.
    balance      INTEGER NOT NULL DEFAULT 0 CHECK (balance >= 0),
    created_at   INTEGER NOT NULL
) STRICT;

CREATE TABLE ledger (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT    NOT NULL UNIQUE,
    user_id    TEXT    NOT NULL REFERENCES users (id),
    kind       TEXT    NOT NULL,
    amount     INTEGER NOT NULL,
    reference  TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    -- What makes every grant exactly-once.
    UNIQUE (user_id, kind, reference)
) STRICT;

CREATE INDEX ledger_by_user ON ledger (user_id, seq);

CREATE TRIGGER ledger_is_never_changed BEFORE UPDATE ON ledger
BEGIN
    SELECT RAISE (ABORT, 'the ledger is append-only');
END;

CREATE TRIGGER ledger_is_never_shortened BEFORE DELETE ON ledger
BEGIN
    SELECT RAISE (ABORT, 'the ledger is append-only');
END;

CREATE TABLE sessions (
    -- SHA-256 of the token; the token itself is nowhere.
    token      BLOB    NOT NULL PRIMARY KEY,
    user_id    TEXT    NOT NULL REFERENCES users (id),
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_expiry ON sessions (expires_at);

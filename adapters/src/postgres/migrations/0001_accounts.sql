-- Users with their balances, the ledger behind them, and who is signed in.
--
-- Amounts are minor units (hundredths), moments are microseconds since the Unix epoch. `seq` is the order in
-- which rows came to be.

CREATE TABLE users (
    seq          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id           TEXT   NOT NULL UNIQUE,
    username     TEXT   NOT NULL,
    -- The name in lower case: what two spellings of it have in common.
    username_key TEXT   NOT NULL UNIQUE,
    password     TEXT   NOT NULL,
    -- Always the sum of the user's ledger entries: both change in one transaction.
    balance      BIGINT NOT NULL DEFAULT 0 CHECK (balance >= 0),
    created_at   BIGINT NOT NULL
);

CREATE TABLE ledger (
    seq        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id         TEXT   NOT NULL UNIQUE,
    user_id    TEXT   NOT NULL REFERENCES users (id),
    kind       TEXT   NOT NULL,
    amount     BIGINT NOT NULL,
    reference  TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    -- What makes every grant exactly-once.
    UNIQUE (user_id, kind, reference)
);

CREATE INDEX ledger_by_user ON ledger (user_id, seq);

CREATE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only';
END
$$;

CREATE TRIGGER ledger_is_never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only();

CREATE TABLE sessions (
    -- SHA-256 of the token; the token itself is nowhere.
    token      BYTEA  NOT NULL PRIMARY KEY,
    user_id    TEXT   NOT NULL REFERENCES users (id),
    expires_at BIGINT NOT NULL
);

CREATE INDEX sessions_by_expiry ON sessions (expires_at);

-- Positions. Prices and quantities are in millionths, amounts in minor units (hundredths), moments in
-- microseconds since the Unix epoch.

CREATE TABLE positions (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    id              TEXT    NOT NULL UNIQUE,
    user_id         TEXT    NOT NULL REFERENCES users (id),
    symbol          TEXT    NOT NULL,
    side            TEXT    NOT NULL,
    quantity        INTEGER NOT NULL CHECK (quantity > 0),
    fill_price     INTEGER NOT NULL CHECK (fill_price > 0),
    stop_loss       INTEGER,
    take_profit     INTEGER,
    -- Reserved from the balance in the transaction that made this row.
    cost            INTEGER NOT NULL CHECK (cost > 0),
    opened_at       INTEGER NOT NULL,
    -- Remembered for 24 hours; a later use of the same key takes it from here.
    idempotency_key TEXT,
    -- All of these, or none while it is open; they come in the transaction that settles it on the ledger.
    exit_price      INTEGER,
    realised_pnl    INTEGER,
    close_reason    TEXT,
    closed_at       INTEGER,
    -- The how many-th closed position of its user it is: what rewards count by.
    close_number    INTEGER,
    UNIQUE (user_id, idempotency_key),
    UNIQUE (user_id, close_number),
    -- Nobody loses more than the cost.
    CHECK (realised_pnl >= -cost),
    CHECK ((exit_price IS NULL) = (closed_at IS NULL)),
    CHECK ((realised_pnl IS NULL) = (closed_at IS NULL)),
    CHECK ((close_reason IS NULL) = (closed_at IS NULL)),
    CHECK ((close_number IS NULL) = (closed_at IS NULL))
) STRICT;

CREATE INDEX positions_by_user      ON positions (user_id, seq);
CREATE INDEX positions_open_by_user ON positions (user_id, seq) WHERE closed_at IS NULL;
CREATE INDEX positions_open         ON positions (id)           WHERE closed_at IS NULL;

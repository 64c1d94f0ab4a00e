-- The one row that is written to find out whether writes work.

CREATE TABLE readiness (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    tested_at INTEGER NOT NULL,
    ballast   TEXT NOT NULL
) STRICT;

-- The one row that is written to find out whether writes work.

CREATE TABLE readiness (
    id        BIGINT PRIMARY KEY CHECK (id = 1),
    tested_at BIGINT NOT NULL,
    ballast   TEXT NOT NULL
);
-- Uncompressed, or what is to be heavy would weigh nothing.
ALTER TABLE readiness ALTER COLUMN ballast SET STORAGE EXTERNAL;

-- What one node at a time may do: who makes the prices. The time is that of the database.

CREATE TABLE leases (
    name       TEXT PRIMARY KEY,
    holder     TEXT NOT NULL,
    -- Grows with each holder.
    fence      INTEGER NOT NULL,
    -- Microseconds since 1970.
    held_until INTEGER NOT NULL,
    -- From the holder to the next one.
    note       TEXT NOT NULL
) STRICT;

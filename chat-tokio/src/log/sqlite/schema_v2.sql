-- Keys whose entries are gone: what a repeat is compared with, and answered by. With rows by
-- number, which keep the indexes small, a key takes less than the shortest entry did.
CREATE TABLE keys (
    -- In the order in which entries go: within a room, that of their places.
    id INTEGER PRIMARY KEY,
    room INTEGER NOT NULL,
    user TEXT NOT NULL,
    key TEXT NOT NULL,
    -- Of the entry.
    seq INTEGER NOT NULL,
    ts INTEGER NOT NULL,
    -- The first 128 bits of the SHA-256 of its body as it was in the entry's row.
    digest BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX keys_by_name ON keys (room, user, key);

CREATE INDEX keys_by_time ON keys (ts);

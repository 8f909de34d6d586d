CREATE TABLE rooms (
    id INTEGER PRIMARY KEY,
    -- The name in the form that names are compared by, and as it was first spelled.
    folded TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    epoch TEXT NOT NULL,
    -- The oldest place that is left, last + 1 if none is, and the newest place ever given.
    first INTEGER NOT NULL,
    last INTEGER NOT NULL
) STRICT;

CREATE TABLE entries (
    room INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    -- Milliseconds since 1970.
    ts INTEGER NOT NULL,
    user TEXT NOT NULL,
    username TEXT NOT NULL,
    key TEXT,
    -- JSON, tagged by "type".
    body TEXT NOT NULL,
    PRIMARY KEY (room, seq)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX entries_by_key ON entries (room, user, key) WHERE key IS NOT NULL;

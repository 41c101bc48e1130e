-- One row a file that is on its way: what the store has of it, so that a transfer goes on where it was broken off, and
-- so that the upload of a worker that died is found and ended. Written under the download's lease, gone once it settles.
CREATE TABLE partials (
    render_id text NOT NULL,
    index integer NOT NULL,
    -- How the store finds what it has: an upload's id and its parts, or a file's name.
    upload text NOT NULL,
    -- How many bytes of the file the store has for good.
    bytes bigint NOT NULL
        CONSTRAINT partials_bytes_count CHECK (bytes >= 0),
    -- The state of the hashes after those bytes.
    hashes bytea NOT NULL,
    -- What names this very version of the file at its server (`If-Range`). NULL where the server gives no such thing:
    -- then there is nothing to go on with, only something to end.
    validator text,
    -- The length of the whole, where the server told.
    total bigint,
    -- The path of the URL that it came from: a fresh URL of the same file differs in its query alone.
    path text NOT NULL,
    content_type text NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (render_id, index),
    FOREIGN KEY (render_id, index) REFERENCES downloads (render_id, index) ON DELETE CASCADE
);

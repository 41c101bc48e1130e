-- One row per entry of a complete render's `downloads`: the file to copy, and the workers' queue at once.
CREATE TABLE downloads (
    render_id text NOT NULL,
    -- The entry's place in `downloads`, from 0.
    index integer NOT NULL
        CONSTRAINT downloads_index_counts CHECK (index >= 0),
    state text NOT NULL
        CONSTRAINT downloads_state_known CHECK (state IN ('pending', 'downloading', 'stored', 'failed')),
    -- The signed URL: a credential. NULL if the entry had none that could be read.
    url text,
    -- Its host, so that one slow server cannot take every place.
    host text NOT NULL DEFAULT '',
    -- When the URL expires, if Magic Hour said so.
    expires_at timestamptz,
    -- When that URL was observed.
    url_observed_at timestamptz NOT NULL,
    -- Where the object goes, relative to STORAGE_URL. Fixed at the first attempt, so that doing it twice writes the
    -- same object.
    key text NOT NULL,
    -- How many times a worker has claimed it.
    attempts integer NOT NULL DEFAULT 0,
    first_attempt_at timestamptz,
    -- When a worker may claim it: the next attempt of a pending one, the end of the lease of one that is being
    -- downloaded. NULL if there is nothing left to do.
    due_at timestamptz,
    -- The claim of its worker. Settling needs the token.
    lease uuid,
    -- Of the last attempt: a stable code for programs and a sentence for people.
    error_code text,
    error_message text,
    -- What was stored.
    content_type text,
    size_bytes bigint,
    sha256 text
        CONSTRAINT downloads_sha256_is_hex CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    stored_at timestamptz,
    -- Whether DELETE_AFTER_STORE was on when it was stored: turning it on does not reach back.
    delete_wanted boolean NOT NULL DEFAULT false,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (render_id, index),
    CONSTRAINT downloads_leased_while_downloading CHECK ((state = 'downloading') = (lease IS NOT NULL)),
    CONSTRAINT downloads_due_while_unsettled CHECK ((state IN ('pending', 'downloading')) = (due_at IS NOT NULL)),
    CONSTRAINT downloads_stored_is_proven
        CHECK ((state = 'stored') = (stored_at IS NOT NULL AND size_bytes IS NOT NULL AND sha256 IS NOT NULL)),
    CONSTRAINT downloads_failed_has_error CHECK (state <> 'failed' OR error_code IS NOT NULL),
    CONSTRAINT downloads_unfailed_has_url CHECK (url IS NOT NULL OR state = 'failed'),
    CONSTRAINT downloads_error_whole CHECK ((error_code IS NULL) = (error_message IS NULL))
) WITH (fillfactor = 85);

-- The claim: what is due.
CREATE INDEX downloads_due ON downloads (due_at) WHERE due_at IS NOT NULL;
-- What can be retried by hand.
CREATE INDEX downloads_failed ON downloads (render_id) WHERE state = 'failed';
-- Whose project is to be deleted at Magic Hour.
CREATE INDEX downloads_delete_wanted ON downloads (render_id) WHERE delete_wanted;

-- One row per partial upload: what the store has of a file, so that a transfer resumes where it broke off, and the
-- upload of a worker that died is found and aborted. Written under the download's lease, removed when it settles.
CREATE TABLE checkpoints (
    render_id text NOT NULL,
    index integer NOT NULL,
    -- How the store finds what it has: an upload's id and its parts, or a file's name.
    upload text NOT NULL,
    -- How many bytes of the file the store has durably.
    bytes bigint NOT NULL
        CONSTRAINT checkpoints_bytes_count CHECK (bytes >= 0),
    -- The state of the hashes after those bytes.
    hash_state bytea NOT NULL,
    -- Identifies this version of the file at its server (`If-Range`). NULL if the server gives none: then the upload
    -- cannot be resumed, only aborted.
    validator text,
    -- The length of the whole file, if the server announced it.
    total_bytes bigint,
    -- The path of the URL that it came from: a fresh URL of the same file differs in its query alone.
    url_path text NOT NULL,
    content_type text NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (render_id, index),
    FOREIGN KEY (render_id, index) REFERENCES downloads (render_id, index) ON DELETE CASCADE
);

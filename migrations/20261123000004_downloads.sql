-- One row an entry of a complete render's `downloads`: the file to copy, and the queue of the workers at once.
CREATE TABLE downloads (
    render_id text NOT NULL REFERENCES renders (id) ON DELETE CASCADE,
    -- The entry's place in `downloads`, from 0.
    index integer NOT NULL
        CONSTRAINT downloads_index_counts CHECK (index >= 0),
    state text NOT NULL
        CONSTRAINT downloads_state_known CHECK (state IN ('pending', 'downloading', 'stored', 'failed')),
    -- The signed URL: a credential. NULL when the entry had none that could be read.
    url text,
    -- When the URL dies, where Magic Hour told.
    expires_at timestamptz,
    -- When that URL was told.
    url_said_at timestamptz NOT NULL,
    -- Where the object goes, relative to STORAGE_URL. Set once, so that doing it twice writes the same object.
    key text NOT NULL,
    -- How often a worker has taken it up.
    attempts integer NOT NULL DEFAULT 0,
    first_attempt_at timestamptz,
    -- When a worker may take it: the next attempt of a pending one, the end of the lease of one that is being
    -- downloaded. NULL when there is nothing left to do.
    due_at timestamptz,
    -- The claim of the worker that has it. Only who knows the token may settle it.
    lease uuid,
    -- Of the last attempt: a stable word for programs and a sentence for people.
    error_code text,
    error_message text,
    -- What was stored.
    content_type text,
    size_bytes bigint,
    sha256 text
        CONSTRAINT downloads_sha256_is_hex CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    stored_at timestamptz,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (render_id, index),
    CONSTRAINT downloads_leased_while_downloading CHECK ((state = 'downloading') = (lease IS NOT NULL)),
    CONSTRAINT downloads_due_while_unsettled CHECK ((state IN ('pending', 'downloading')) = (due_at IS NOT NULL)),
    CONSTRAINT downloads_stored_is_proven
        CHECK ((state = 'stored') = (stored_at IS NOT NULL AND size_bytes IS NOT NULL AND sha256 IS NOT NULL)),
    CONSTRAINT downloads_failed_says_why CHECK (state <> 'failed' OR error_code IS NOT NULL),
    CONSTRAINT downloads_fetched_from_somewhere CHECK (url IS NOT NULL OR state = 'failed'),
    CONSTRAINT downloads_error_whole CHECK ((error_code IS NULL) = (error_message IS NULL))
);

-- The claim: what is due.
CREATE INDEX downloads_due ON downloads (due_at) WHERE due_at IS NOT NULL;

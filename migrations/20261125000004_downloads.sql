-- One row per entry in `downloads` of a complete render: a file to copy. Also the work queue of the workers.
CREATE TABLE downloads (
    render_id text NOT NULL,
    -- The index in `downloads`, from 0.
    index integer NOT NULL
        CONSTRAINT downloads_index_not_negative CHECK (index >= 0),
    state text NOT NULL
        CONSTRAINT downloads_state_known CHECK (state IN ('pending', 'downloading', 'stored', 'failed')),
    -- The signed URL, which is a credential. NULL if the entry has no valid URL.
    url text,
    -- The host of the URL, for limiting concurrent downloads per host.
    host text NOT NULL DEFAULT '',
    -- When the URL expires, if known.
    expires_at timestamptz,
    -- When the URL was observed.
    url_observed_at timestamptz NOT NULL,
    -- The key of the object, relative to STORAGE_URL. Fixed at the first attempt, so that a repetition writes the same object.
    key text NOT NULL,
    -- The number of attempts that count.
    attempts integer NOT NULL DEFAULT 0,
    first_attempt_at timestamptz,
    -- When a worker may claim it: for `pending`, the next attempt; for `downloading`, the end of the lease. Otherwise NULL.
    due_at timestamptz,
    -- Whether `due_at` was reached when this was last checked. Every claim first marks the rows whose time has come since. Then
    -- it reads only the rows that it takes: of each host, those whose URLs expire first.
    ready boolean NOT NULL DEFAULT true,
    -- The token of the worker's lease, required to settle the attempt.
    lease uuid,
    -- How many bytes of the file have passed, saved every few seconds during the transfer. This and `bytes_total` only mean
    -- something while the download is `downloading`.
    bytes_done bigint
        CONSTRAINT downloads_bytes_done_not_negative CHECK (bytes_done >= 0),
    -- The length of the file; NULL if its server does not say.
    bytes_total bigint,
    -- The error of the last attempt: a stable code for programs and a message for people.
    error_code text,
    error_message text,
    -- The properties of the stored object.
    content_type text,
    size_bytes bigint,
    sha256 text
        CONSTRAINT downloads_sha256_is_hex CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    stored_at timestamptz,
    -- Whether DELETE_AFTER_STORE was on when the file was stored. Turning it on does not affect earlier files.
    delete_after_store boolean NOT NULL DEFAULT false,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (render_id, index),
    CONSTRAINT downloads_leased_while_downloading CHECK ((state = 'downloading') = (lease IS NOT NULL)),
    CONSTRAINT downloads_due_while_unsettled CHECK ((state IN ('pending', 'downloading')) = (due_at IS NOT NULL)),
    CONSTRAINT downloads_stored_has_object
        CHECK ((state = 'stored') = (stored_at IS NOT NULL AND size_bytes IS NOT NULL AND sha256 IS NOT NULL)),
    CONSTRAINT downloads_failed_has_error CHECK (state <> 'failed' OR error_code IS NOT NULL),
    CONSTRAINT downloads_url_unless_failed CHECK (url IS NOT NULL OR state = 'failed'),
    CONSTRAINT downloads_error_has_code_and_message CHECK ((error_code IS NULL) = (error_message IS NULL))
) WITH (fillfactor = 85);

-- For claiming. `due_at IS NOT NULL` means the same as these states, but is the condition of other indexes, which the planner
-- must not choose for a claim.
CREATE INDEX downloads_ready ON downloads (host, expires_at, due_at) WHERE ready AND state IN ('pending', 'downloading');
-- For finding those that have fallen due: retries and expired leases.
CREATE INDEX downloads_waiting ON downloads (due_at) WHERE NOT ready AND due_at IS NOT NULL;
-- What /metrics asks about files that are not settled: when the first URL expires, and how many are being downloaded.
CREATE INDEX downloads_expiring ON downloads (expires_at) WHERE due_at IS NOT NULL;
CREATE INDEX downloads_downloading ON downloads (render_id) WHERE state = 'downloading';
-- For retrying failed downloads.
CREATE INDEX downloads_failed ON downloads (render_id) WHERE state = 'failed';
-- For finding projects to delete.
CREATE INDEX downloads_delete_after_store ON downloads (render_id) WHERE delete_after_store;
-- For FILE_RETENTION.
CREATE INDEX downloads_stored_at ON downloads (stored_at) WHERE state = 'stored';
-- For the operator pages: files whose last attempt failed, by error. Costs nothing while there are none.
CREATE INDEX downloads_in_trouble ON downloads (state, error_code, render_id, index)
    WHERE error_code IS NOT NULL AND state IN ('pending', 'failed');

-- One row per partial upload: what the store already has of a file, so that an interrupted transfer resumes, and the upload
-- of a crashed worker is found and aborted. Written under the download's lease, and removed when the attempt is settled.
CREATE TABLE checkpoints (
    render_id text NOT NULL,
    index integer NOT NULL,
    -- The store's reference to the partial upload: an upload id and its parts, or a file name.
    upload text NOT NULL,
    -- The number of bytes that the store has durably.
    bytes bigint NOT NULL
        CONSTRAINT checkpoints_bytes_not_negative CHECK (bytes >= 0),
    -- The state of the hashes after these bytes.
    hash_state bytea NOT NULL,
    -- Identifies this version of the file at its server (`If-Range`). NULL if the server provides no validator: then the
    -- upload cannot be resumed, only aborted.
    validator text,
    -- The length of the whole file, if known.
    total_bytes bigint,
    -- The path of the file's URL. A fresh URL of the same file only differs in the query.
    url_path text NOT NULL,
    content_type text NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (render_id, index),
    FOREIGN KEY (render_id, index) REFERENCES downloads (render_id, index) ON DELETE CASCADE
);

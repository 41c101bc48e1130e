-- `DELETE /renders/{id}` and FILE_RETENTION. The row of an erased render stays as a tombstone, so that late events and polls
-- do not revive it.
ALTER TABLE renders
    -- Since when nothing about the render is recorded any more. Its name and the like are gone since then.
    ADD COLUMN erasure_requested_at timestamptz,
    -- When its objects were deleted, too.
    ADD COLUMN erased_at timestamptz,
    ADD CONSTRAINT renders_erased_after_request CHECK (erased_at IS NULL OR erasure_requested_at IS NOT NULL);

-- One row per render that is being erased: a job that survives crashes. The rows of `downloads` and `checkpoints` stay until
-- the objects are deleted, because nothing else remembers where they are.
CREATE TABLE erasures (
    render_id text PRIMARY KEY,
    -- Whether the project is to be deleted at Magic Hour, too.
    upstream boolean NOT NULL,
    -- Until when a worker that had a lease may still write an object: then the objects are deleted again. NULL: none had.
    sweep_at timestamptz,
    attempts integer NOT NULL DEFAULT 0
        CONSTRAINT erasures_attempts_not_negative CHECK (attempts >= 0),
    -- When the next attempt may be claimed; also the end of the lease of the current one.
    due_at timestamptz NOT NULL,
    -- The lease of the process that erases it.
    lease uuid
);

CREATE INDEX erasures_due ON erasures (due_at);
-- For FILE_RETENTION.
CREATE INDEX downloads_stored_at ON downloads (stored_at) WHERE state = 'stored';

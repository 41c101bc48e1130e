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

-- The queue.
CREATE INDEX erasures_due ON erasures (due_at);

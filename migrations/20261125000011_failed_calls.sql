-- A render whose calls fail must not delay others.
ALTER TABLE upstream_throttle
    -- The end of the pause that Magic Hour requested with Retry-After. Nothing ends it earlier.
    ADD COLUMN retry_after_until timestamptz NOT NULL DEFAULT 'epoch',
    -- The render whose call failed last, unless a call has succeeded since. Calls are only paused if a second render fails.
    ADD COLUMN suspect_render_id text;

ALTER TABLE renders
    -- The number of attempts to delete its project, for the backoff.
    ADD COLUMN deletion_attempts integer NOT NULL DEFAULT 0
        CONSTRAINT renders_deletion_attempts_not_negative CHECK (deletion_attempts >= 0);

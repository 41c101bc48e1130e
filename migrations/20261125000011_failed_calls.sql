-- One render whose calls fail must not hold up the others.
ALTER TABLE upstream_throttle
    -- The part of the pause that Magic Hour asked for with Retry-After: nothing ends it earlier.
    ADD COLUMN retry_after_until timestamptz NOT NULL DEFAULT 'epoch',
    -- The render whose call failed last, if none succeeded since: calls pause only once a second render fails.
    ADD COLUMN suspect_render_id text;

ALTER TABLE renders
    -- How many times its deletion was tried: the gaps between two attempts double.
    ADD COLUMN deletion_attempts integer NOT NULL DEFAULT 0
        CONSTRAINT renders_deletion_attempts_count CHECK (deletion_attempts >= 0);

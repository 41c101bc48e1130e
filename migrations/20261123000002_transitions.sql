-- One row a real change of a render's status.
CREATE TABLE transitions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    render_id text NOT NULL REFERENCES renders (id) ON DELETE CASCADE,
    -- NULL for the first status that was told.
    from_status text,
    to_status text NOT NULL,
    -- Who said so.
    source text NOT NULL
        CONSTRAINT transitions_source_known CHECK (source IN ('webhook', 'poll', 'manual')),
    -- The event's type, when a webhook said so.
    event text,
    -- When it was recorded.
    at timestamptz NOT NULL,
    -- How long after its signing the event was recorded; negative when the sender's clock is ahead.
    lag_ms bigint,
    -- Ranks only rise, so a render enters a status once. Exactly once is the database's own promise.
    CONSTRAINT transitions_once UNIQUE (render_id, to_status),
    CONSTRAINT transitions_move CHECK (from_status IS DISTINCT FROM to_status)
);

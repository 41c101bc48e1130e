-- What happened to a render, in order. No foreign keys: recording inserts here under the lock of the render's row.

-- One row per change of a render's status.
CREATE TABLE transitions (
    -- The order in which they were recorded.
    id bigint GENERATED ALWAYS AS IDENTITY,
    render_id text NOT NULL,
    -- NULL for the first status.
    from_status text,
    to_status text NOT NULL,
    -- What told us.
    source text NOT NULL
        CONSTRAINT transitions_source_known CHECK (source IN ('webhook', 'poll')),
    -- The event's type, if a webhook did.
    event_type text,
    -- When it was recorded.
    at timestamptz NOT NULL,
    -- How long after its signing the event was recorded; negative if the sender's clock is ahead.
    lag_ms bigint,
    -- Ranks only rise, so a render enters a status once. The database promises it as well.
    CONSTRAINT transitions_once PRIMARY KEY (render_id, to_status),
    CONSTRAINT transitions_changes_status CHECK (from_status IS DISTINCT FROM to_status)
);

-- How many renders ended lately. A BRIN index costs an insert nothing, and rows come in the order of time.
CREATE INDEX transitions_at ON transitions USING brin (at) WITH (autosummarize = on);
-- What polls found out that webhooks should have told: few, where webhooks come.
CREATE INDEX transitions_polled ON transitions (at) WHERE source = 'poll';

-- One row per change of a render's credits: an estimate, the final figure, a refund.
CREATE TABLE credits (
    id bigint GENERATED ALWAYS AS IDENTITY,
    render_id text NOT NULL,
    value bigint NOT NULL,
    -- The status that came with the figure, if one did.
    status text,
    -- What told us.
    source text NOT NULL
        CONSTRAINT credits_source_known CHECK (source IN ('webhook', 'poll')),
    -- When it was recorded.
    at timestamptz NOT NULL,
    PRIMARY KEY (render_id, id)
);

-- The history of renders. No foreign keys, because rows are inserted under the lock of the render's row.

-- One row per change of a render's status.
CREATE TABLE transitions (
    -- Ascending in the order of recording.
    id bigint GENERATED ALWAYS AS IDENTITY,
    render_id text NOT NULL,
    -- NULL for the first status.
    from_status text,
    to_status text NOT NULL,
    -- What reported it.
    source text NOT NULL
        CONSTRAINT transitions_source_known CHECK (source IN ('webhook', 'poll')),
    -- The type of the event; NULL for a poll.
    event_type text,
    -- When it was recorded.
    at timestamptz NOT NULL,
    -- The milliseconds from the event's timestamp to its arrival. Negative if the sender's clock is ahead.
    lag_ms bigint,
    -- The rank of the status only rises, so a render enters each status once.
    CONSTRAINT transitions_status_once PRIMARY KEY (render_id, to_status),
    CONSTRAINT transitions_changes_status CHECK (from_status IS DISTINCT FROM to_status)
);

-- For counting renders that ended recently. A BRIN index makes inserts hardly slower, and rows are inserted in order of
-- time.
CREATE INDEX transitions_at ON transitions USING brin (at) WITH (autosummarize = on);
-- Transitions that webhooks should have reported. There are few unless webhooks are missing.
CREATE INDEX transitions_polled ON transitions (at) WHERE source = 'poll';

-- One row per change of a render's credits: an estimate, the final figure, a refund.
CREATE TABLE credits (
    id bigint GENERATED ALWAYS AS IDENTITY,
    render_id text NOT NULL,
    value bigint NOT NULL,
    -- The status that was reported together with the value.
    status text,
    -- What reported it.
    source text NOT NULL
        CONSTRAINT credits_source_known CHECK (source IN ('webhook', 'poll')),
    -- When it was recorded.
    at timestamptz NOT NULL,
    PRIMARY KEY (render_id, id)
);

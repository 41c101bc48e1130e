-- One row per authentic delivery, whatever became of it. It is the record of what Magic Hour sent, to look at and to
-- read again; deduplication does not need it. Partitioned by the day of arrival (UTC), so that EVENT_RETENTION drops
-- whole days: `intake::retention` creates the days ahead.
CREATE SEQUENCE deliveries_id;

CREATE TABLE deliveries (
    id bigint NOT NULL DEFAULT nextval('deliveries_id'),
    received_at timestamptz NOT NULL,
    -- The time of the signed timestamp header; NULL if it names no time that can be stored.
    sent_at timestamptz,
    -- received_at - sent_at in milliseconds; negative if the sender's clock is ahead.
    lag_ms bigint,
    -- The raw body, byte for byte as it was signed. It may not be text. NULL once it is erased.
    body bytea,
    -- What could be read of it.
    event_type text,
    render_id text,
    -- What became of it.
    outcome text NOT NULL
        CONSTRAINT deliveries_outcome_known
            CHECK (outcome IN ('recorded', 'duplicate', 'late', 'unknown', 'unreadable', 'stale')),
    -- Why it was unreadable or stale.
    problem text,
    PRIMARY KEY (id, received_at),
    CONSTRAINT deliveries_problem_given CHECK ((outcome IN ('unreadable', 'stale')) = (problem IS NOT NULL))
) PARTITION BY RANGE (received_at);

ALTER SEQUENCE deliveries_id OWNED BY deliveries.id;

CREATE INDEX deliveries_of_render ON deliveries (render_id) WHERE render_id IS NOT NULL;
-- What `replay` reads, and what an operator looks at first.
CREATE INDEX deliveries_unresolved ON deliveries (id) WHERE outcome IN ('unknown', 'unreadable', 'stale');
-- How many times a request is kept that belongs to no render: a captured one can be repeated as it is.
CREATE INDEX deliveries_repeated ON deliveries (sent_at) WHERE outcome IN ('unknown', 'unreadable', 'stale');

-- Days that nobody has created: a clock that is off, or a role that may not create tables.
CREATE TABLE deliveries_default PARTITION OF deliveries DEFAULT;

-- The ids of deliveries, over all partitions.
CREATE SEQUENCE deliveries_id;

-- One row per authentic delivery, whatever its outcome: a record of what Magic Hour sent, to inspect and to replay.
-- Deduplication does not need it. Partitioned by the day of arrival (UTC), so that EVENT_RETENTION drops whole days.
-- `intake::retention` creates the partitions in advance.
CREATE TABLE deliveries (
    id bigint NOT NULL DEFAULT nextval('deliveries_id'),
    received_at timestamptz NOT NULL,
    -- The signed timestamp; NULL if it cannot be stored.
    sent_at timestamptz,
    -- received_at - sent_at in milliseconds; negative if the sender's clock is ahead.
    lag_ms bigint,
    -- The raw body, exactly as it was signed. It may not be valid text. NULL once it is erased.
    body bytea,
    -- Parsed from the body, if possible.
    event_type text,
    render_id text,
    outcome text NOT NULL
        CONSTRAINT deliveries_outcome_known
            CHECK (outcome IN ('recorded', 'duplicate', 'late', 'unknown', 'unreadable', 'stale')),
    -- Why it was unreadable or stale.
    problem text,
    PRIMARY KEY (id, received_at),
    CONSTRAINT deliveries_problem_matches_outcome CHECK ((outcome IN ('unreadable', 'stale')) = (problem IS NOT NULL))
) PARTITION BY RANGE (received_at);

ALTER SEQUENCE deliveries_id OWNED BY deliveries.id;

CREATE INDEX deliveries_of_render ON deliveries (render_id) WHERE render_id IS NOT NULL;
-- For `renderhook replay`.
CREATE INDEX deliveries_unresolved ON deliveries (id) WHERE outcome IN ('unknown', 'unreadable', 'stale');
-- For counting repetitions of a request that is stored without a render: a captured request can be sent again unchanged.
CREATE INDEX deliveries_repeated ON deliveries (sent_at) WHERE outcome IN ('unknown', 'unreadable', 'stale');
-- For `GET /deliveries?outcome=`. A recorded event, which is the usual one, is not in it and costs nothing more.
CREATE INDEX deliveries_by_outcome ON deliveries (outcome, id) WHERE outcome <> 'recorded';

-- Rows of days without a partition, because a clock is wrong or the role must not create tables.
CREATE TABLE deliveries_default PARTITION OF deliveries DEFAULT;

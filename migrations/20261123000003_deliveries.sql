-- One row an authentic delivery, whatever became of it. Nothing here is ever needed to answer an application:
-- it is the record of what Magic Hour said, to look at and to read again.
CREATE TABLE deliveries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at timestamptz NOT NULL,
    -- The time of the signed timestamp header; NULL when it names no time that can be kept.
    sent_at timestamptz,
    -- received_at - sent_at in milliseconds; negative when the sender's clock is ahead.
    lag_ms bigint,
    -- The raw body, byte for byte as it was signed: also what is not text (U+0000, lone surrogates, no UTF-8).
    -- NULL once it is pruned.
    body bytea,
    -- What could be read of it.
    event_type text,
    render_id text,
    -- What became of it.
    outcome text NOT NULL
        CONSTRAINT deliveries_outcome_known
            CHECK (outcome IN ('recorded', 'duplicate', 'late', 'unknown', 'unreadable', 'stale')),
    -- Why it could not be read or was not believed.
    problem text
        CONSTRAINT deliveries_problem_told
            CHECK ((outcome IN ('unreadable', 'stale')) = (problem IS NOT NULL))
);

CREATE INDEX deliveries_of_render ON deliveries (render_id, received_at) WHERE render_id IS NOT NULL;
-- What `replay` reads, and what an operator looks at.
CREATE INDEX deliveries_unsettled ON deliveries (received_at) WHERE outcome IN ('unknown', 'unreadable', 'stale');

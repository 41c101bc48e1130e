-- One row for all processes: whether NOTIFY_URL accepts anything.
CREATE TABLE notify_health (
    singleton boolean PRIMARY KEY DEFAULT true
        CONSTRAINT notify_health_single_row CHECK (singleton),
    -- Since when every attempt has failed; NULL if the last one succeeded.
    failing_since timestamptz,
    -- When the log last said so.
    reported_at timestamptz,
    CONSTRAINT notify_health_reported_while_failing CHECK (reported_at IS NULL OR failing_since IS NOT NULL)
);

INSERT INTO notify_health DEFAULT VALUES;

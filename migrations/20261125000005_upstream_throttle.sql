-- One row for all processes: how fast they call Magic Hour's API together, and whether they call it at all.
CREATE TABLE upstream_throttle (
    one boolean PRIMARY KEY DEFAULT true
        CONSTRAINT upstream_throttle_is_one_row CHECK (one),
    -- When the next call may be made: RECONCILE_RATE.
    next_call_at timestamptz NOT NULL DEFAULT 'epoch',
    -- Until when nothing is called, because the account or the API is in trouble.
    paused_until timestamptz NOT NULL DEFAULT 'epoch',
    -- How many times in a row it was.
    failures integer NOT NULL DEFAULT 0
        CONSTRAINT upstream_throttle_failures_count CHECK (failures >= 0),
    -- When the log last said that webhooks are missing.
    missing_webhooks_logged_at timestamptz NOT NULL DEFAULT 'epoch'
);

INSERT INTO upstream_throttle DEFAULT VALUES;

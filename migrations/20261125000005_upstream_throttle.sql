-- A single row for all processes: the rate of calls to Magic Hour's API, and pauses.
CREATE TABLE upstream_throttle (
    singleton boolean PRIMARY KEY DEFAULT true
        CONSTRAINT upstream_throttle_single_row CHECK (singleton),
    -- When the next call may be made, because of RECONCILE_RATE.
    next_call_at timestamptz NOT NULL DEFAULT 'epoch',
    -- Until when all calls are paused after failures.
    paused_until timestamptz NOT NULL DEFAULT 'epoch',
    -- The number of pauses since the last success.
    failures integer NOT NULL DEFAULT 0
        CONSTRAINT upstream_throttle_failures_not_negative CHECK (failures >= 0),
    -- When the last warning about missing webhooks was logged.
    missing_webhooks_logged_at timestamptz NOT NULL DEFAULT 'epoch'
);

INSERT INTO upstream_throttle DEFAULT VALUES;

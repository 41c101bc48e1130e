-- A single row for all processes: the rate of calls to Magic Hour's API, and when the log last warned.
CREATE TABLE upstream_throttle (
    singleton boolean PRIMARY KEY DEFAULT true
        CONSTRAINT upstream_throttle_single_row CHECK (singleton),
    -- When the next call may be made, because of RECONCILE_RATE.
    next_call_at timestamptz NOT NULL DEFAULT 'epoch',
    -- When the last warning about missing webhooks was logged.
    missing_webhooks_logged_at timestamptz NOT NULL DEFAULT 'epoch'
);

INSERT INTO upstream_throttle DEFAULT VALUES;

-- One row per account of Magic Hour, which is a key of MAGIC_HOUR_API_KEY, for all processes: its pauses. The rate of calls is
-- in `upstream_throttle`, because it is one for all accounts.
CREATE TABLE upstream_accounts (
    -- A fingerprint of the key: 16 hex digits. It reveals nothing of the key, and does not depend on the order of the keys.
    account text PRIMARY KEY
        CONSTRAINT upstream_accounts_account_is_hex CHECK (account ~ '^[0-9a-f]{16}$'),
    -- Until when calls are paused after failures.
    paused_until timestamptz NOT NULL DEFAULT 'epoch',
    -- The end of the pause that Magic Hour requested with Retry-After. Nothing ends it earlier.
    retry_after_until timestamptz NOT NULL DEFAULT 'epoch',
    -- The number of pauses since the last success.
    failures integer NOT NULL DEFAULT 0
        CONSTRAINT upstream_accounts_failures_not_negative CHECK (failures >= 0),
    -- The render whose call failed last, unless a call has succeeded since. Calls are only paused if a second render fails.
    suspect_render_id text
);

-- One row for all replicas: how fast they ask Magic Hour together, and whether they ask at all.
CREATE TABLE asking (
    one boolean PRIMARY KEY DEFAULT true
        CONSTRAINT asking_is_one_row CHECK (one),
    -- When the next question may be asked: RECONCILE_RATE.
    next_at timestamptz NOT NULL DEFAULT 'epoch',
    -- Until when nobody asks, because the account or the API is in trouble.
    paused_until timestamptz NOT NULL DEFAULT 'epoch',
    -- How often in a row it was found to be.
    refusals integer NOT NULL DEFAULT 0
        CONSTRAINT asking_refusals_count CHECK (refusals >= 0),
    -- When it was last said aloud that webhooks do not come.
    silence_said_at timestamptz NOT NULL DEFAULT 'epoch'
);

INSERT INTO asking DEFAULT VALUES;

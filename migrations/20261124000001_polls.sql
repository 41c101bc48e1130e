-- What no webhook tells is asked for. One schedule a render, whatever the reason: silence, a word that was not believed, two
-- words against each other, files without a URL that works.
ALTER TABLE renders
    -- When a webhook or a person last spoke of it: silence is counted from here.
    ADD COLUMN heard_at timestamptz,
    -- When the details call is to be asked about it. NULL: once it has been silent for RECONCILE_AFTER, if it is
    -- unfinished. `infinity`: it is left alone. Also the claim of who asks, put off for as long as a question may take.
    ADD COLUMN poll_due_at timestamptz,
    -- Whether somebody waits for the answer: then it is asked for also when it is finished, and before the others.
    ADD COLUMN poll_wanted boolean NOT NULL DEFAULT false,
    -- When it was last asked for.
    ADD COLUMN polled_at timestamptz,
    -- How often in a row it was asked for and did not move.
    ADD COLUMN poll_tries integer NOT NULL DEFAULT 0
        CONSTRAINT renders_poll_tries_count CHECK (poll_tries >= 0),
    -- Since when Magic Hour says that it does not know the render; NULL while it does.
    ADD COLUMN not_found_at timestamptz,
    -- When it was found to be unfinished for longer than a week; NULL once it is not.
    ADD COLUMN stalled_at timestamptz,
    -- Whether the details call has told which of `error` and `canceled` it is: that is heeded once.
    ADD COLUMN settled boolean NOT NULL DEFAULT false;

UPDATE renders
SET heard_at = first_heard_at, poll_wanted = urls_due_at IS NOT NULL, poll_due_at = urls_due_at, polled_at = urls_asked_at;

ALTER TABLE renders
    ALTER COLUMN heard_at SET NOT NULL,
    ADD CONSTRAINT renders_wanted_is_due CHECK (NOT poll_wanted OR poll_due_at IS NOT NULL),
    DROP COLUMN urls_due_at,
    DROP COLUMN urls_asked_at,
    DROP COLUMN urls_tries;

-- What may be due: unfinished, or wanted.
CREATE INDEX renders_watched ON renders (coalesce(poll_due_at, heard_at)) WHERE rank < 3 OR poll_wanted;

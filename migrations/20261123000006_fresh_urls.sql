-- Fresh URLs are asked for once a render, whichever of its files needs one and whichever worker found out.
ALTER TABLE renders
    -- When the details call is to be asked for URLs; NULL while nobody wants any. Also the claim of who asks: it is put
    -- off for the time that the question takes.
    ADD COLUMN urls_due_at timestamptz,
    -- When it was last asked for them.
    ADD COLUMN urls_asked_at timestamptz,
    -- How often in a row it told none.
    ADD COLUMN urls_tries integer NOT NULL DEFAULT 0
        CONSTRAINT renders_urls_tries_count CHECK (urls_tries >= 0);

CREATE INDEX renders_urls_due ON renders (urls_due_at) WHERE urls_due_at IS NOT NULL;

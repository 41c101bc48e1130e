-- One row a change of a render's credits: an estimate, the final figure, a refund.
CREATE TABLE credits (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    render_id text NOT NULL REFERENCES renders (id) ON DELETE CASCADE,
    value bigint NOT NULL,
    -- The status that came with the figure, if one did.
    status text,
    -- Who said so.
    source text NOT NULL
        CONSTRAINT credits_source_known CHECK (source IN ('webhook', 'poll')),
    -- When it was recorded.
    at timestamptz NOT NULL
);

CREATE INDEX credits_of_render ON credits (render_id, id);

-- What stands now was told at the last change, as far as is known.
INSERT INTO credits (render_id, value, status, source, at)
SELECT id, (told #>> '{credits_charged,2}')::bigint, status, 'webhook', updated_at
FROM renders
WHERE told ? 'credits_charged'
ORDER BY first_heard_at, id;

-- Records what was said of renders: deliveries, renders, transitions, credits and downloads, in one statement, which is
-- one round trip and one transaction. It is `render::moved` and `render::failure_confirmed` in SQL, for a slice of words in their order.
--
-- The upsert of `renders` takes each render's row lock, in the order of ids, and goes on from the row as the last
-- committed writer left it. What is decided below comes from the `before` that it returns, never from the statement's
-- older snapshot: that is why any number of these may run at once about the same render.
WITH said AS (
    SELECT *
    FROM unnest(
        $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int2[], $8::bool[], $9::jsonb[],
        $10::timestamptz[], $11::int8[], $12::bytea[], $19::int8[]
    ) WITH ORDINALITY AS said (
        source, event_type, render_id, kind, status, rank, known, fields, said_at, lag_ms, body, kept, ord
    )
),
-- What is said of a render of a kind that this version knows.
word AS (
    SELECT
        *,
        -- Of the words before it in this slice: how far they had come, which end they fields first, whether the details call
        -- had fields one, the newest figure of the credits, and whether one of them was the same event.
        coalesce(max(rank) OVER earlier, -1) AS reached,
        (array_agg(status) FILTER (WHERE rank = 3) OVER earlier)[1] AS ended,
        coalesce(bool_or(source = 'poll' AND rank = 3) OVER earlier, false) AS failure_confirmed,
        max(credits) OVER earlier AS charged,
        event_type IS NOT NULL AND row_number() OVER (PARTITION BY render_id, event_type ORDER BY ord) > 1 AS repeated
    FROM said CROSS JOIN LATERAL (
        -- As in `fields`, and comparable like that: rank, time, value.
        SELECT CASE WHEN fields ? 'credits_charged' THEN ARRAY(
            SELECT part::int8 FROM jsonb_array_elements_text(fields -> 'credits_charged') WITH ORDINALITY AS e (part, at) ORDER BY at
        ) END AS credits
    ) AS figure
    WHERE kind IS NOT NULL
    WINDOW earlier AS (PARTITION BY render_id ORDER BY ord ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
),
-- The newest word about each field: the greater [rank, time, value].
fields AS (
    SELECT render_id, jsonb_object_agg(key, value) AS fields
    FROM (
        SELECT DISTINCT ON (render_id, key) render_id, key, value
        FROM word CROSS JOIN jsonb_each(word.fields)
        ORDER BY render_id, key, value DESC
    ) AS newest
    GROUP BY render_id
),
sum AS (
    SELECT
        render_id,
        (array_agg(kind ORDER BY ord))[1] AS kind,
        -- Of two ends the one that the details call tells, and else the first.
        (array_agg(status ORDER BY rank DESC, source = 'poll' DESC, ord))[1] AS status,
        max(rank) AS rank,
        bool_or(source = 'poll' AND rank = 3) AS failure_confirmed,
        -- Two ends are fields by webhooks, or one that is not the one which stands: the details call knows which it is.
        array_agg(DISTINCT status) FILTER (WHERE rank = 3 AND source = 'webhook') AS ends,
        bool_or(source = 'webhook') AS by_webhook,
        -- Complete, and not fields where each of the files is: the details call knows.
        coalesce(bool_or(status = 'complete'), false) AND (
            NOT bool_or(ord = ANY ($13::int8[]))
            OR bool_or(ord IN (SELECT e.ord FROM unnest($13::int8[], $15::text[]) AS e (ord, url) WHERE e.url IS NULL))
        ) AS awaits_urls,
        coalesce(array_agg(DISTINCT event_type) FILTER (WHERE event_type IS NOT NULL), '{}') AS seen_event_types
    FROM word
    GROUP BY render_id
),
render AS (
    INSERT INTO renders AS r (
        id, kind, status, rank, seen_event_types, fields, first_seen_at, last_seen_at, updated_at, failure_confirmed, poll_wanted, poll_due_at, before,
        project_type, name, error_code, error_message, credits_charged, deleted, created_at
    )
    SELECT
        render_id, kind, status, rank, seen_event_types, coalesce(fields, '{}'), $1::timestamptz, $1, $1, failure_confirmed,
        wants, CASE WHEN wants THEN $1 END,
        -- Of a render that is new: what the update needs and a row has no column for.
        jsonb_build_object('ends', ends, 'by_webhook', by_webhook, 'awaits_urls', awaits_urls),
        fields #>> '{type,2}', fields #>> '{name,2}', fields #>> '{error,2,code}', fields #>> '{error,2,message}',
        (fields #>> '{credits_charged,2}')::bigint, coalesce((fields #>> '{deleted,2}')::boolean, false),
        (fields #>> '{created_at,2}')::timestamptz
    FROM sum LEFT JOIN fields USING (render_id)
        CROSS JOIN LATERAL (
            SELECT awaits_urls OR (rank = 3 AND NOT failure_confirmed AND coalesce(cardinality(ends), 0) > 1) AS wants
        ) AS reason
    ORDER BY render_id
    ON CONFLICT (id) DO UPDATE SET
        -- What nobody but a person has fields of is of the kind that Magic Hour says.
        kind = CASE WHEN r.rank = -1 AND r.seen_event_types = '{}' THEN excluded.kind ELSE r.kind END,
        status = CASE
            WHEN excluded.rank > r.rank OR (excluded.rank = 3 AND r.rank = 3 AND excluded.failure_confirmed AND NOT r.failure_confirmed)
            THEN excluded.status
            ELSE r.status
        END,
        rank = greatest(excluded.rank, r.rank),
        failure_confirmed = r.failure_confirmed OR excluded.failure_confirmed,
        seen_event_types = ARRAY(SELECT DISTINCT unnest(r.seen_event_types || excluded.seen_event_types) ORDER BY 1),
        last_seen_at = CASE WHEN (excluded.before -> 'by_webhook')::boolean THEN greatest(r.last_seen_at, $1) ELSE r.last_seen_at END,
        poll_attempts = CASE WHEN (excluded.before -> 'by_webhook')::boolean THEN 0 ELSE r.poll_attempts END,
        -- Who tells of it knows it.
        not_found_at = NULL,
        stalled_at = CASE WHEN excluded.rank <= r.rank THEN r.stalled_at END,
        (poll_wanted, poll_due_at) = (
            SELECT
                keeps OR wants,
                CASE
                    WHEN wants THEN least(r.poll_due_at, $1)
                    -- What was left alone is taken up again.
                    WHEN keeps AND r.poll_due_at = 'infinity' AND (excluded.before -> 'by_webhook')::boolean THEN $1
                    -- Who waits for an answer goes on waiting; for the others silence begins anew.
                    WHEN keeps OR NOT (excluded.before -> 'by_webhook')::boolean THEN r.poll_due_at
                END
            FROM (
                -- Whatever was to be asked before, `complete` is the answer.
                SELECT r.poll_wanted AND NOT (
                    excluded.rank = 4 AND r.rank < 4 AND (excluded.before -> 'by_webhook')::boolean
                ) AS keeps
            ) AS before CROSS JOIN (
                SELECT CASE
                    -- It is complete after all, or has come to a second end: one question settles the rest.
                    WHEN r.rank = 3 AND excluded.rank = 4
                        THEN (excluded.before -> 'by_webhook')::boolean OR (excluded.before -> 'awaits_urls')::boolean
                    WHEN excluded.rank > r.rank THEN excluded.poll_wanted
                    WHEN excluded.rank = 3 AND r.rank = 3
                        THEN NOT (r.failure_confirmed OR excluded.failure_confirmed) AND excluded.before -> 'ends' <> jsonb_build_array(r.status)
                    ELSE false
                END AS wants
            ) AS reason
        ),
        (fields, project_type, name, error_code, error_message, credits_charged, deleted, created_at, updated_at, before) = (
            SELECT
                merged.fields,
                merged.fields #>> '{type,2}', merged.fields #>> '{name,2}',
                merged.fields #>> '{error,2,code}', merged.fields #>> '{error,2,message}',
                (merged.fields #>> '{credits_charged,2}')::bigint,
                coalesce((merged.fields #>> '{deleted,2}')::boolean, false),
                (merged.fields #>> '{created_at,2}')::timestamptz,
                CASE WHEN news.changed THEN greatest(r.updated_at, $1) ELSE r.updated_at END,
                jsonb_build_object(
                    'status', r.status, 'rank', r.rank, 'seen_event_types', r.seen_event_types, 'failure_confirmed', r.failure_confirmed, 'changed', news.changed,
                    'credits_charged', r.fields -> 'credits_charged', 'error_code', r.fields #> '{error,2,code}'
                )
            FROM (
                SELECT
                    coalesce(jsonb_object_agg(key, value), '{}') AS fields,
                    -- The same value said again is no change, though it is the newer word.
                    coalesce(bool_or(value -> 2 IS DISTINCT FROM r.fields -> key -> 2), false) AS changed
                FROM (
                    SELECT DISTINCT ON (key) key, value
                    FROM (SELECT * FROM jsonb_each(r.fields) UNION ALL SELECT * FROM jsonb_each(excluded.fields)) AS both_told
                    ORDER BY key, value DESC
                ) AS newest
            ) AS merged
            CROSS JOIN LATERAL (
                SELECT
                    excluded.rank > r.rank
                    OR (excluded.rank = 3 AND r.rank = 3 AND excluded.failure_confirmed AND NOT r.failure_confirmed AND excluded.status <> r.status)
                    OR merged.changed AS changed
            ) AS news
        )
    RETURNING id, fields, before, poll_wanted AND poll_due_at = $1 AS asks
),
-- What each word meant: here the rule decides, with the row as it was and the words before this one.
meant AS (
    SELECT
        word.*,
        was.status AS status_before,
        word.rank > greatest(word.reached, was.rank)
            -- The details call settles which of the two ends it is, once.
            OR (
                word.source = 'poll' AND word.rank = 3 AND greatest(word.reached, was.rank) = 3
                AND NOT word.failure_confirmed AND NOT was.failure_confirmed AND word.status <> was.ended
            ) AS moves,
        word.rank < greatest(word.reached, was.rank) AS is_late,
        CASE WHEN greatest(word.reached, was.rank) = 3 THEN was.ended END AS stood,
        coalesce((render.before ->> 'changed')::boolean, true) AS changed,
        word.kept IS NULL AND (word.repeated OR coalesce(render.before -> 'seen_event_types' ? word.event_type, false)) AS is_duplicate,
        -- Whether it is this word that tells an error of which Magic Hour wants to hear.
        word.fields #>> '{error,2,code}' = 'unknown_error'
            AND render.fields #>> '{error,2,code}' = 'unknown_error'
            AND render.before ->> 'error_code' IS DISTINCT FROM 'unknown_error' AS tells_unknown_error,
        word.credits > coalesce(was.credits, '{}')
            AND word.credits[3] IS DISTINCT FROM was.credits[3] AS changes_credits
    FROM word JOIN render ON render.id = word.render_id
        CROSS JOIN LATERAL (
            SELECT
                render.before ->> 'status' AS status,
                coalesce((render.before ->> 'rank')::int2, -1) AS rank,
                coalesce((render.before ->> 'failure_confirmed')::boolean, false) AS failure_confirmed,
                CASE WHEN (render.before ->> 'rank')::int2 = 3 THEN render.before ->> 'status' ELSE word.ended END AS ended,
                greatest(
                    word.charged,
                    CASE WHEN jsonb_typeof(render.before -> 'credits_charged') = 'array' THEN ARRAY(
                        SELECT part::int8
                        FROM jsonb_array_elements_text(render.before -> 'credits_charged') WITH ORDINALITY AS e (part, at)
                        ORDER BY at
                    ) END
                ) AS credits
        ) AS was
),
moved AS (
    INSERT INTO transitions (render_id, from_status, to_status, source, event_type, at, lag_ms)
    SELECT
        render_id, coalesce(lag(status) OVER (PARTITION BY render_id ORDER BY ord), status_before), status,
        source, event_type, $1, lag_ms
    FROM meant
    WHERE moves
    ORDER BY ord
    RETURNING render_id, from_status, to_status
),
charged AS (
    INSERT INTO credits (render_id, value, status, source, at)
    SELECT render_id, credits[3], status, source, $1
    FROM meant
    WHERE changes_credits
    ORDER BY ord
),
-- Of what is fields of one file that URL stays which is known to work longest: until it expires or, where nobody fields
-- when that is, at the time when it was fields. Then the later word counts, then the URL itself: a total order of all
-- that can be fields, which is why any two orders of telling end with the same URL.
filed AS (
    INSERT INTO downloads AS d (
        render_id, index, url, expires_at, url_observed_at, key, host, state, due_at, error_code, error_message, updated_at
    )
    SELECT DISTINCT ON (meant.render_id, entry.index)
        meant.render_id, entry.index, entry.url,
        CASE WHEN entry.url IS NOT NULL THEN entry.expires_at END,
        meant.said_at, entry.key, entry.host,
        CASE WHEN entry.url IS NULL THEN 'failed' ELSE 'pending' END,
        CASE WHEN entry.url IS NULL THEN NULL ELSE $1 END,
        CASE WHEN entry.url IS NULL THEN 'no_url' END,
        CASE WHEN entry.url IS NULL THEN 'this entry of `downloads` came without a URL that can be read' END,
        $1
    FROM unnest($13::int8[], $14::int4[], $15::text[], $16::timestamptz[], $17::text[], $18::text[])
        AS entry (ord, index, url, expires_at, key, host)
    JOIN meant USING (ord)
    ORDER BY
        meant.render_id, entry.index, entry.url IS NULL,
        coalesce(entry.expires_at, meant.said_at) DESC, meant.said_at DESC, entry.url DESC, entry.expires_at NULLS LAST
    -- A fresh URL for a file that is not stored yet takes the old one's place, and is worth a try at once. The URL that
    -- is there, fields again, is kept for longer and is no news.
    ON CONFLICT (render_id, index) DO UPDATE SET
        url = excluded.url,
        host = excluded.host,
        expires_at = excluded.expires_at,
        url_observed_at = excluded.url_observed_at,
        -- It names the file of the URL, and is failure_confirmed once a worker may have written there.
        key = CASE WHEN d.first_attempt_at IS NULL THEN excluded.key ELSE d.key END,
        -- A file that has failed gets another life with a URL that is new.
        state = CASE WHEN d.url IS NULL OR (d.state = 'failed' AND excluded.url <> d.url) THEN 'pending' ELSE d.state END,
        attempts = CASE WHEN d.state = 'failed' AND excluded.url <> d.url THEN 0 ELSE d.attempts END,
        first_attempt_at = CASE WHEN d.state = 'failed' AND excluded.url <> d.url THEN NULL ELSE d.first_attempt_at END,
        due_at = CASE
            WHEN d.url IS NULL OR (d.state IN ('pending', 'failed') AND excluded.url <> d.url) THEN $1
            ELSE d.due_at
        END,
        error_code = CASE WHEN d.url IS NOT NULL THEN d.error_code END,
        error_message = CASE WHEN d.url IS NOT NULL THEN d.error_message END,
        updated_at = CASE WHEN excluded.url = d.url THEN d.updated_at ELSE $1 END
    WHERE d.state <> 'stored'
        AND excluded.url IS NOT NULL
        AND (
            d.url IS NULL
            OR (coalesce(excluded.expires_at, excluded.url_observed_at), excluded.url_observed_at, excluded.url,
                excluded.expires_at IS NOT NULL)
                > (coalesce(d.expires_at, d.url_observed_at), d.url_observed_at, d.url, d.expires_at IS NOT NULL)
        )
    RETURNING render_id, state, updated_at
),
-- What is new among them. OK to go by the time: at worst, who waits looks once more than it must.
queued AS (
    SELECT render_id, state FROM filed WHERE updated_at = $1
),
judged AS (
    SELECT
        said.*,
        CASE
            WHEN meant.ord IS NULL THEN 'unknown'
            WHEN meant.moves THEN 'recorded'
            WHEN meant.is_duplicate THEN 'duplicate'
            WHEN NOT meant.known THEN 'unknown'
            WHEN meant.is_late THEN 'late'
            ELSE 'recorded'
        END AS outcome
    FROM said LEFT JOIN meant USING (ord)
),
delivered AS (
    INSERT INTO deliveries (received_at, sent_at, lag_ms, body, event_type, render_id, outcome)
    SELECT $1, said_at, lag_ms, body, event_type, render_id, outcome
    FROM judged
    WHERE source = 'webhook' AND kept IS NULL
    ORDER BY ord
),
-- What was kept before and can be read now: it is fields apart from then on.
reread AS (
    UPDATE deliveries AS d
    SET outcome = judged.outcome, problem = NULL, event_type = judged.event_type, render_id = judged.render_id
    FROM judged
    WHERE d.id = judged.kept
),
-- Wakes who waits for a render, the workers, and who asks Magic Hour, of every process; all look by themselves as well.
woken AS MATERIALIZED (
    SELECT pg_notify('renderhook_renders', changed.render_id)
    FROM (
        -- NULL for a render that is new.
        SELECT id AS render_id FROM render WHERE coalesce((before ->> 'changed')::boolean, true)
        UNION
        SELECT render_id FROM queued
    ) AS changed
    UNION ALL
    SELECT pg_notify('renderhook_downloads', '')
    WHERE EXISTS (SELECT FROM queued WHERE state = 'pending')
    UNION ALL
    SELECT pg_notify('renderhook_polls', '')
    WHERE EXISTS (SELECT FROM render WHERE asks)
)
SELECT
    judged.outcome AS "outcome!",
    moved.from_status AS "from_status?",
    moved.to_status AS "to_status?",
    meant.stood AS "stood?",
    coalesce(meant.tells_unknown_error, false) AS "tells_unknown_error!",
    coalesce(meant.changed, false) OR coalesce(files.queued, 0) > 0 AS "news!",
    coalesce(files.queued, 0) AS "queued!",
    (SELECT count(*) FROM woken) AS "woken!"
FROM judged LEFT JOIN meant USING (ord)
    LEFT JOIN moved ON meant.moves AND moved.render_id = meant.render_id AND moved.to_status = meant.status
    LEFT JOIN (SELECT render_id, count(*) AS queued FROM queued GROUP BY render_id) AS files
        ON files.render_id = judged.render_id
ORDER BY judged.ord

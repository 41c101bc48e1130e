-- Records what was said of renders: deliveries, renders, transitions and downloads, in one statement, which is one
-- round trip and one transaction. It is `render::moved` in SQL, for a slice of words in their order.
--
-- The upsert of `renders` takes each render's row lock, in the order of ids, and goes on from the row as the last
-- committed writer left it. What is decided below comes from the `before` that it returns, never from the statement's
-- older snapshot: that is why any number of these may run at once about the same render.
WITH said AS (
    SELECT *
    FROM unnest(
        $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int2[], $8::bool[], $9::jsonb[],
        $10::timestamptz[], $11::int8[], $12::bytea[]
    ) WITH ORDINALITY AS said (
        source, event_type, render_id, kind, status, rank, known, told, said_at, lag_ms, body, ord
    )
),
-- What is said of a render of a kind that this version knows.
word AS (
    SELECT
        *,
        -- How far the words before it in this slice had already come, and whether one of them was the same event.
        coalesce(
            max(rank) OVER (PARTITION BY render_id ORDER BY ord ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), -1
        ) AS reached,
        event_type IS NOT NULL AND row_number() OVER (PARTITION BY render_id, event_type ORDER BY ord) > 1 AS repeated
    FROM said
    WHERE kind IS NOT NULL
),
-- The newest word about each field: the greater [rank, time, value].
told AS (
    SELECT render_id, jsonb_object_agg(key, value) AS told
    FROM (
        SELECT DISTINCT ON (render_id, key) render_id, key, value
        FROM word CROSS JOIN jsonb_each(word.told)
        ORDER BY render_id, key, value DESC
    ) AS newest
    GROUP BY render_id
),
sum AS (
    SELECT
        render_id,
        (array_agg(kind ORDER BY ord))[1] AS kind,
        (array_agg(status ORDER BY rank DESC, ord))[1] AS status,
        max(rank) AS rank,
        -- Complete, and not told where each of the files is: the details call knows.
        bool_or(status = 'complete') AND (
            NOT bool_or(ord = ANY ($13::int8[]))
            OR bool_or(ord IN (SELECT e.ord FROM unnest($13::int8[], $15::text[]) AS e (ord, url) WHERE e.url IS NULL))
        ) AS awaits_urls,
        coalesce(array_agg(DISTINCT event_type) FILTER (WHERE event_type IS NOT NULL), '{}') AS heard
    FROM word
    GROUP BY render_id
),
render AS (
    INSERT INTO renders AS r (id, kind, status, rank, heard, told, first_heard_at, updated_at, urls_due_at)
    SELECT render_id, kind, status, rank, heard, coalesce(told, '{}'), $1::timestamptz, $1, CASE WHEN awaits_urls THEN $1::timestamptz END
    FROM sum LEFT JOIN told USING (render_id)
    ORDER BY render_id
    ON CONFLICT (id) DO UPDATE SET
        status = CASE WHEN excluded.rank > r.rank THEN excluded.status ELSE r.status END,
        rank = greatest(excluded.rank, r.rank),
        urls_due_at = coalesce(r.urls_due_at, CASE WHEN excluded.rank > r.rank THEN excluded.urls_due_at END),
        heard = ARRAY(SELECT DISTINCT unnest(r.heard || excluded.heard) ORDER BY 1),
        (told, updated_at, before) = (
            SELECT
                merged.told,
                CASE WHEN news.changed THEN greatest(r.updated_at, $1) ELSE r.updated_at END,
                jsonb_build_object('status', r.status, 'rank', r.rank, 'heard', r.heard, 'changed', news.changed)
            FROM (
                SELECT
                    coalesce(jsonb_object_agg(key, value), '{}') AS told,
                    -- The same value said again is no change, though it is the newer word.
                    coalesce(bool_or(value -> 2 IS DISTINCT FROM r.told -> key -> 2), false) AS changed
                FROM (
                    SELECT DISTINCT ON (key) key, value
                    FROM (SELECT * FROM jsonb_each(r.told) UNION ALL SELECT * FROM jsonb_each(excluded.told)) AS both_told
                    ORDER BY key, value DESC
                ) AS newest
            ) AS merged
            CROSS JOIN LATERAL (SELECT excluded.rank > r.rank OR merged.changed AS changed) AS news
        )
    RETURNING id, before
),
-- What each word meant: here the rule decides, with the row as it was and the words before this one.
meant AS (
    SELECT
        word.*,
        render.before ->> 'status' AS status_before,
        word.rank > greatest(word.reached, coalesce((render.before ->> 'rank')::int2, -1)) AS moves,
        word.rank < greatest(word.reached, coalesce((render.before ->> 'rank')::int2, -1)) AS is_late,
        word.repeated OR coalesce(render.before -> 'heard' ? word.event_type, false) AS is_duplicate
    FROM word JOIN render ON render.id = word.render_id
),
moved AS (
    INSERT INTO transitions (render_id, from_status, to_status, source, event, at, lag_ms)
    SELECT
        render_id, coalesce(lag(status) OVER (PARTITION BY render_id ORDER BY ord), status_before), status,
        source, event_type, $1, lag_ms
    FROM meant
    WHERE moves
    ORDER BY ord
    RETURNING render_id, from_status, to_status
),
-- Of what is told of one file that URL stays which is known to work longest: until it expires or, where nobody told
-- when that is, at the time when it was told. Then the later word counts, then the URL itself: a total order of all
-- that can be told, which is why any two orders of telling end with the same URL.
filed AS (
    INSERT INTO downloads AS d (
        render_id, index, url, expires_at, url_said_at, key, host, state, due_at, error_code, error_message, updated_at
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
    -- is there, told again, is kept for longer and is no news.
    ON CONFLICT (render_id, index) DO UPDATE SET
        url = excluded.url,
        host = excluded.host,
        expires_at = excluded.expires_at,
        url_said_at = excluded.url_said_at,
        -- It names the file of the URL, and is settled once a worker may have written there.
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
            OR (coalesce(excluded.expires_at, excluded.url_said_at), excluded.url_said_at, excluded.url,
                excluded.expires_at IS NOT NULL)
                > (coalesce(d.expires_at, d.url_said_at), d.url_said_at, d.url, d.expires_at IS NOT NULL)
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
    WHERE source = 'webhook'
    ORDER BY ord
),
-- Wakes who waits for a render and the workers, of every process; both look by themselves as well.
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
)
SELECT
    judged.outcome AS "outcome!",
    moved.from_status AS "from_status?",
    moved.to_status AS "to_status?",
    coalesce(files.queued, 0) AS "queued!",
    (SELECT count(*) FROM woken) AS "woken!"
FROM judged LEFT JOIN meant USING (ord)
    LEFT JOIN moved ON meant.moves AND moved.render_id = meant.render_id AND moved.to_status = meant.status
    LEFT JOIN (SELECT render_id, count(*) AS queued FROM queued GROUP BY render_id) AS files
        ON files.render_id = judged.render_id
ORDER BY judged.ord

-- Locks up to $1 downloads that are ready, the most urgent first, and of one host at most $2, those in progress included; $3
-- and $4 are the hosts of those and their counts. What others hold is skipped: processes that claim at once take
-- different ones.
WITH RECURSIVE host AS (
    (
        SELECT host AS name FROM downloads
        WHERE ready AND state IN ('pending', 'downloading')
        ORDER BY host
        LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT d.host FROM downloads AS d
        WHERE d.ready AND d.state IN ('pending', 'downloading') AND d.host > host.name
        ORDER BY d.host
        LIMIT 1
    )
    FROM host
    WHERE host.name IS NOT NULL
),
in_progress AS (
    SELECT * FROM unnest($3::text[], $4::int8[]) AS in_progress (name, count)
)
SELECT file.render_id AS "render_id!", file.index AS "index!", file.state AS "state!", file.url AS "url!", file.expires_at,
    file.key AS "key!", file.attempts AS "attempts!", file.first_attempt_at, file.error_code
FROM host LEFT JOIN in_progress USING (name)
CROSS JOIN LATERAL (
    SELECT render_id, index, state, url, expires_at, due_at, key, attempts, first_attempt_at, error_code
    FROM downloads
    WHERE ready AND state IN ('pending', 'downloading') AND downloads.host = host.name
    ORDER BY expires_at, due_at
    LIMIT least($1, greatest($2 - coalesce(in_progress.count, 0), 0))
    FOR UPDATE SKIP LOCKED
) AS file
ORDER BY file.expires_at, file.due_at
LIMIT $1

-- Marks downloads whose time has come by $1, or is after $2. What another process holds, it marks or claims itself.
WITH due AS (
    SELECT render_id, index FROM downloads
    WHERE NOT ready AND due_at <= $1
    ORDER BY due_at
    LIMIT 1000
    FOR UPDATE SKIP LOCKED
),
too_late AS (
    SELECT render_id, index FROM downloads
    WHERE NOT ready AND due_at > $2
    ORDER BY due_at DESC
    LIMIT 1000
    FOR UPDATE SKIP LOCKED
)
UPDATE downloads AS d
SET ready = true
FROM (SELECT * FROM due UNION ALL SELECT * FROM too_late) AS its
WHERE d.render_id = its.render_id AND d.index = its.index

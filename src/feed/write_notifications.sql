-- Writes notifications. No row is made, and so no position is taken, before the lock is held.
WITH locked AS MATERIALIZED (
    SELECT pg_advisory_xact_lock($9)
),
written AS (
    INSERT INTO notifications (at, id, render_id, type, from_status, to_status, download_index, state, pending_since, due_at)
    SELECT
        $1::timestamptz, row.id, row.render_id, row.type, row.from_status, row.to_status, row.download_index,
        CASE WHEN row.is_posted THEN 'pending' END, CASE WHEN row.is_posted THEN $1::timestamptz END,
        CASE WHEN row.is_posted THEN $1::timestamptz END
    FROM locked
    CROSS JOIN unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int4[], $8::bool[])
        WITH ORDINALITY AS row (id, render_id, type, from_status, to_status, download_index, is_posted, place)
    ORDER BY row.place
)
SELECT pg_notify($10, '')

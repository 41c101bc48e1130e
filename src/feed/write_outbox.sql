-- Adds to the totals (as `Tallies::write` does), then writes notifications. No notification is made, and so no position is
-- taken, before the lock is held, which is the last one that the transaction takes.
WITH counted AS (
    INSERT INTO tallies AS t (name, shard, value)
    SELECT name, $3, by::numeric FROM unnest($1::text[], $2::text[]) AS added (name, by) ORDER BY name
    ON CONFLICT (name, shard) DO UPDATE SET value = t.value + excluded.value
    RETURNING name
),
locked AS MATERIALIZED (
    SELECT pg_advisory_xact_lock($4) FROM (SELECT count(*) FROM counted) AS done
),
written AS (
    INSERT INTO notifications (at, id, render_id, type, from_status, to_status, download_index, state, pending_since, due_at)
    SELECT
        $5::timestamptz, n.id, n.render_id, n.type, n.from_status, n.to_status, n.download_index,
        CASE WHEN n.is_posted THEN 'pending' END, CASE WHEN n.is_posted THEN $5 END, CASE WHEN n.is_posted THEN $5 END
    FROM locked
    CROSS JOIN unnest($6::written_notification[]) WITH ORDINALITY AS n
    ORDER BY n.ordinality
)
SELECT pg_notify($7, '')

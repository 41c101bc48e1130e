-- Writes settled downloads, which are locked, and ends their leases. A stored file has no partial upload any more. Postgres
-- wakes the waiting tasks at the commit.
WITH settled AS (
    UPDATE downloads AS d
    SET state = n.state, lease = NULL, due_at = n.due_at, ready = n.ready, attempts = n.attempts,
        error_code = n.error_code, error_message = n.error_message, content_type = n.content_type,
        size_bytes = n.size_bytes, sha256 = n.sha256, stored_at = n.stored_at,
        delete_after_store = n.delete_after_store, updated_at = n.updated_at
    FROM unnest($1::written_settlement[]) AS n
    WHERE d.render_id = n.render_id AND d.index = n.index
    RETURNING d.index
),
uploaded AS (
    DELETE FROM checkpoints AS c
    USING unnest($1::written_settlement[]) AS n
    WHERE c.render_id = n.render_id AND c.index = n.index AND n.state = 'stored'
)
SELECT (SELECT count(*) FROM settled) AS "settled!",
    (SELECT count(pg_notify(channel, '')) FROM unnest($2::text[]) AS woken (channel)) AS woken

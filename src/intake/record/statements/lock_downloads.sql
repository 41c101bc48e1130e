-- Locks existing downloads in the order of their keys, and reads them. Their renders are already locked.
SELECT
    render_id, index, state, url, host, expires_at, url_observed_at, key, attempts, first_attempt_at, due_at, lease,
    error_code, error_message, updated_at
FROM downloads
WHERE (render_id, index) IN (SELECT * FROM unnest($1::text[], $2::int4[]))
ORDER BY render_id, index
FOR UPDATE

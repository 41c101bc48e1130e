-- Locks existing renders in the order of their ids, and reads them.
SELECT
    id, kind, status, failure_confirmed, seen_event_types,
    project_type, name, error_code, error_message, credits_charged, deleted, created_at,
    field_versions,
    width, height, fps, start_seconds, end_seconds, image_count,
    files_total, files_stored, files_failed, shortage_confirmed, external_id, external_id_origin,
    erasure_requested_at IS NOT NULL AS "erased!",
    poll_requested, poll_due_at = 'infinity' AS "never_poll", nullif(poll_due_at, 'infinity') AS poll_due_at,
    poll_attempts, first_seen_at, last_seen_at, updated_at, not_found_at, stalled_at
FROM renders
WHERE id = ANY ($1)
ORDER BY id
FOR UPDATE

-- Writes what a batch decided. Rows that exist are already locked. If another transaction has created one of the new
-- renders in the meantime, fewer than expected are created, and nothing else is written.
WITH created AS (
    INSERT INTO renders (
        id, kind, status, failure_confirmed, seen_event_types, project_type, name, error_code, error_message,
        credits_charged, deleted, created_at, field_versions, archive, files_total, files_stored, files_failed,
        poll_requested, poll_due_at, poll_attempts, first_seen_at, last_seen_at, updated_at, not_found_at, stalled_at,
        width, height, fps, start_seconds, end_seconds, image_count, shortage_confirmed, external_id, external_id_origin
    )
    SELECT * FROM unnest($1::written_render[])
    ON CONFLICT (id) DO NOTHING
    RETURNING id
),
all_created AS (
    SELECT FROM created HAVING count(*) = cardinality($1::written_render[])
),
changed AS (
    UPDATE renders AS r
    SET (
        kind, status, failure_confirmed, seen_event_types, project_type, name, error_code, error_message,
        credits_charged, deleted, created_at, field_versions, archive, files_total, files_stored, files_failed,
        poll_requested, poll_due_at, poll_attempts, last_seen_at, updated_at, not_found_at, stalled_at, width, height,
        fps, start_seconds, end_seconds, image_count, shortage_confirmed, external_id, external_id_origin
    ) = ROW (
        n.kind, n.status, n.failure_confirmed, n.seen_event_types, n.project_type, n.name, n.error_code,
        n.error_message, n.credits_charged, n.deleted, n.created_at, n.field_versions, n.archive, n.files_total,
        n.files_stored, n.files_failed, n.poll_requested, n.poll_due_at, n.poll_attempts, n.last_seen_at, n.updated_at,
        n.not_found_at, n.stalled_at, n.width, n.height, n.fps, n.start_seconds, n.end_seconds, n.image_count,
        n.shortage_confirmed, n.external_id, n.external_id_origin
    )
    FROM unnest($2::written_render[]) AS n
    WHERE r.id = n.id AND EXISTS (TABLE all_created)
    RETURNING r.id
),
file AS (
    INSERT INTO downloads (
        render_id, index, state, url, host, expires_at, url_observed_at, key, attempts, first_attempt_at, due_at, lease,
        error_code, error_message, updated_at
    )
    SELECT * FROM unnest($3::written_download[]) WHERE EXISTS (TABLE all_created)
    ON CONFLICT (render_id, index) DO UPDATE SET (
        state, url, host, expires_at, url_observed_at, key, attempts, first_attempt_at, due_at, lease, error_code,
        error_message, updated_at
    ) = ROW (
        excluded.state, excluded.url, excluded.host, excluded.expires_at, excluded.url_observed_at, excluded.key,
        excluded.attempts, excluded.first_attempt_at, excluded.due_at, excluded.lease, excluded.error_code,
        excluded.error_message, excluded.updated_at
    )
),
transition AS (
    INSERT INTO transitions (render_id, from_status, to_status, source, event_type, lag_ms, at)
    SELECT *, $4::timestamptz FROM unnest($5::written_transition[]) WHERE EXISTS (TABLE all_created)
),
charged AS (
    INSERT INTO credits (render_id, value, status, source, at)
    SELECT *, $4 FROM unnest($6::written_credits[]) WHERE EXISTS (TABLE all_created)
),
delivered AS (
    INSERT INTO deliveries (sent_at, lag_ms, body, event_type, render_id, outcome, received_at)
    SELECT *, $4 FROM unnest($7::written_delivery[]) WHERE EXISTS (TABLE all_created)
)
-- Postgres wakes the waiting tasks at the commit.
SELECT (SELECT count(*) FROM created) AS "created!", (SELECT count(*) FROM changed) AS "changed!",
    (SELECT count(pg_notify(channel, '')) FROM unnest($8::text[]) AS woken (channel)) AS woken

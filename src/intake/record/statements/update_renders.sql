-- Writes locked renders.
UPDATE renders AS r
SET (
    kind, status, failure_confirmed, seen_event_types, project_type, name, error_code, error_message,
    credits_charged, deleted, created_at, field_versions, archive, files_total, files_stored, files_failed,
    poll_requested, poll_due_at, poll_attempts, last_seen_at, updated_at, not_found_at, stalled_at,
    width, height, fps, start_seconds, end_seconds, image_count, shortage_confirmed, external_id,
    external_id_origin
) = ROW (
    row.kind, row.status, row.failure_confirmed, row.seen_event_types::text[], row.project_type, row.name,
    row.error_code, row.error_message, row.credits_charged, row.deleted, row.created_at, row.field_versions,
    row.archive, row.files_total, row.files_stored, row.files_failed, row.poll_requested,
    CASE WHEN row.never_poll THEN 'infinity' ELSE row.poll_due_at END, row.poll_attempts, row.last_seen_at,
    row.updated_at, row.not_found_at, row.stalled_at, row.width::int4, row.height::int4, row.fps, row.start_seconds,
    row.end_seconds, row.image_count::int4, row.shortage_confirmed, row.external_id, row.external_id_origin
)
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::bool[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::int8[], $11::bool[], $12::timestamptz[], $13::jsonb[], $14::text[], $15::int4[], $16::int4[], $17::int4[],
    $18::bool[], $19::timestamptz[], $20::int4[], $21::timestamptz[], $22::timestamptz[], $23::timestamptz[],
    $24::timestamptz[], $25::bool[],
    $26::float8[], $27::float8[], $28::float8[], $29::float8[], $30::float8[], $31::float8[], $32::bool[], $33::text[],
    $34::text[]
) AS row (
    id, kind, status, failure_confirmed, seen_event_types, project_type, name, error_code, error_message,
    credits_charged, deleted, created_at, field_versions, archive, files_total, files_stored, files_failed,
    poll_requested, poll_due_at, poll_attempts, last_seen_at, updated_at, not_found_at, stalled_at,
    never_poll, width, height, fps, start_seconds, end_seconds, image_count, shortage_confirmed,
    external_id, external_id_origin
)
WHERE r.id = row.id

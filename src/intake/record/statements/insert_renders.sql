-- Writes new renders in the order of their ids. If another transaction has created one of them, fewer rows are written.
INSERT INTO renders (
    id, kind, status, failure_confirmed, seen_event_types, project_type, name, error_code, error_message,
    credits_charged, deleted, created_at, field_versions, archive, files_total, files_stored, files_failed,
    poll_requested, poll_due_at, poll_attempts, first_seen_at, last_seen_at, updated_at,
    width, height, fps, start_seconds, end_seconds, image_count, shortage_confirmed, external_id,
    external_id_origin
)
SELECT
    id, kind, status, failure_confirmed, seen_event_types::text[], project_type, name, error_code, error_message,
    credits_charged, deleted, created_at, field_versions, archive, files_total, files_stored, files_failed,
    poll_requested, poll_due_at, poll_attempts, first_seen_at, last_seen_at, updated_at,
    width::int4, height::int4, fps, start_seconds, end_seconds, image_count::int4, shortage_confirmed, external_id,
    external_id_origin
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::bool[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::int8[], $11::bool[], $12::timestamptz[], $13::jsonb[], $14::text[], $15::int4[], $16::int4[], $17::int4[],
    $18::bool[], $19::timestamptz[], $20::int4[], $21::timestamptz[], $22::timestamptz[], $23::timestamptz[],
    $24::float8[], $25::float8[], $26::float8[], $27::float8[], $28::float8[], $29::float8[], $30::bool[], $31::text[],
    $32::text[]
) AS row (
    id, kind, status, failure_confirmed, seen_event_types, project_type, name, error_code, error_message,
    credits_charged, deleted, created_at, field_versions, archive, files_total, files_stored, files_failed,
    poll_requested, poll_due_at, poll_attempts, first_seen_at, last_seen_at, updated_at,
    width, height, fps, start_seconds, end_seconds, image_count, shortage_confirmed, external_id,
    external_id_origin
)
ON CONFLICT (id) DO NOTHING

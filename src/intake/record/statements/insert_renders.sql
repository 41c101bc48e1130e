-- Writes new renders in the order of their ids. If another transaction has created one of them, fewer rows are written.
INSERT INTO renders (
    id, kind, status, failure_confirmed, seen_event_types, project_type, name, error_code, error_message,
    credits_charged, deleted, created_at, field_versions, archive, files_total, files_stored, files_failed,
    poll_requested, poll_due_at, poll_attempts, first_seen_at, last_seen_at, updated_at
)
SELECT
    id, kind, status, failure_confirmed, seen_event_types::text[], project_type, name, error_code, error_message,
    credits_charged, deleted, created_at, field_versions, archive, files_total, files_stored, files_failed,
    poll_requested, poll_due_at, poll_attempts, first_seen_at, last_seen_at, updated_at
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::bool[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::int8[], $11::bool[], $12::timestamptz[], $13::jsonb[], $14::text[], $15::int4[], $16::int4[], $17::int4[],
    $18::bool[], $19::timestamptz[], $20::int4[], $21::timestamptz[], $22::timestamptz[], $23::timestamptz[]
) AS row (
    id, kind, status, failure_confirmed, seen_event_types, project_type, name, error_code, error_message,
    credits_charged, deleted, created_at, field_versions, archive, files_total, files_stored, files_failed,
    poll_requested, poll_due_at, poll_attempts, first_seen_at, last_seen_at, updated_at
)
ON CONFLICT (id) DO NOTHING

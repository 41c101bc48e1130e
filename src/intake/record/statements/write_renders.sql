-- Writes new renders, in the order of their ids, and locked ones. If another transaction has created one of the new renders,
-- fewer rows are written than given.
WITH row AS (
    SELECT *
    FROM unnest(
        $1::bool[], $2::text[], $3::text[], $4::text[], $5::bool[], $6::text[], $7::text[], $8::text[],
        $9::text[], $10::text[], $11::int8[], $12::bool[], $13::timestamptz[], $14::jsonb[], $15::text[], $16::int4[],
        $17::int4[], $18::int4[], $19::bool[], $20::bool[], $21::timestamptz[], $22::int4[], $23::timestamptz[],
        $24::timestamptz[], $25::timestamptz[], $26::timestamptz[], $27::timestamptz[]
    ) AS row (
        is_new, id, kind, status, failure_confirmed, seen_event_types, project_type, name,
        error_code, error_message, credits_charged, deleted, created_at, field_versions, archive, files_total,
        files_stored, files_failed, poll_requested, never_poll, poll_due_at, poll_attempts, first_seen_at,
        last_seen_at, updated_at, not_found_at, stalled_at
    )
),
inserted AS (
    INSERT INTO renders (
        id, kind, status, failure_confirmed, seen_event_types, project_type, name, error_code,
        error_message, credits_charged, deleted, created_at, field_versions, archive, files_total, files_stored,
        files_failed, poll_requested, poll_due_at, poll_attempts, first_seen_at, last_seen_at, updated_at
    )
    SELECT
        id, kind, status, failure_confirmed, seen_event_types::text[], project_type, name, error_code,
        error_message, credits_charged, deleted, created_at, field_versions, archive, files_total, files_stored,
        files_failed, poll_requested, poll_due_at, poll_attempts, first_seen_at, last_seen_at, updated_at
    FROM row
    WHERE is_new
    ORDER BY id
    ON CONFLICT (id) DO NOTHING
    RETURNING id
),
updated AS (
    UPDATE renders AS r
    SET (
        kind, status, failure_confirmed, seen_event_types, project_type, name, error_code,
        error_message, credits_charged, deleted, created_at, field_versions, archive, files_total, files_stored,
        files_failed, poll_requested, poll_due_at, poll_attempts, last_seen_at, updated_at, not_found_at, stalled_at
    ) = ROW (
        row.kind, row.status, row.failure_confirmed, row.seen_event_types::text[],
        row.project_type, row.name, row.error_code, row.error_message, row.credits_charged, row.deleted, row.created_at,
        row.field_versions, row.archive, row.files_total, row.files_stored, row.files_failed, row.poll_requested,
        CASE WHEN row.never_poll THEN 'infinity' ELSE row.poll_due_at END, row.poll_attempts,
        row.last_seen_at, row.updated_at, row.not_found_at, row.stalled_at
    )
    FROM row
    WHERE NOT row.is_new AND r.id = row.id
    RETURNING r.id
)
SELECT (SELECT count(*) FROM inserted) + (SELECT count(*) FROM updated) AS "written!"

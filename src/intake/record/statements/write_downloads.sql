-- Writes new downloads and locked ones.
INSERT INTO downloads AS d (
    render_id, index, state, url, host, expires_at, url_observed_at, key, attempts, first_attempt_at, due_at, lease,
    error_code, error_message, updated_at
)
SELECT *
FROM unnest(
    $1::text[], $2::int4[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[], $8::text[],
    $9::int4[], $10::timestamptz[], $11::timestamptz[], $12::uuid[], $13::text[], $14::text[], $15::timestamptz[]
)
ON CONFLICT (render_id, index) DO UPDATE SET (
    state, url, host, expires_at, url_observed_at, key, attempts, first_attempt_at, due_at, lease, error_code,
    error_message, updated_at
) = ROW (
    excluded.state, excluded.url, excluded.host, excluded.expires_at, excluded.url_observed_at, excluded.key,
    excluded.attempts, excluded.first_attempt_at, excluded.due_at, excluded.lease, excluded.error_code,
    excluded.error_message, excluded.updated_at
)

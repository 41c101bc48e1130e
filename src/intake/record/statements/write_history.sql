-- Writes the history and totals, and notifies waiting tasks. Postgres sends the notifications at the commit.
WITH transition AS (
    INSERT INTO transitions (render_id, from_status, to_status, source, event_type, lag_ms, at)
    SELECT *, $1::timestamptz FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int8[])
),
charged AS (
    INSERT INTO credits (render_id, value, status, source, at)
    SELECT *, $1 FROM unnest($8::text[], $9::int8[], $10::text[], $11::text[])
),
delivered AS (
    INSERT INTO deliveries (sent_at, lag_ms, body, event_type, render_id, outcome, received_at)
    SELECT *, $1 FROM unnest($12::timestamptz[], $13::int8[], $14::bytea[], $15::text[], $16::text[], $17::text[])
),
replayed AS (
    UPDATE deliveries AS d
    SET outcome = row.outcome, problem = NULL, event_type = row.event_type, render_id = row.render_id
    FROM unnest($18::int8[], $19::text[], $20::text[], $21::text[]) AS row (id, event_type, render_id, outcome)
    WHERE d.id = row.id
),
counted AS (
    INSERT INTO tallies AS t (name, shard, value)
    SELECT name, $24, by::numeric FROM unnest($22::text[], $23::text[]) AS row (name, by) ORDER BY name
    ON CONFLICT (name, shard) DO UPDATE SET value = t.value + excluded.value
)
SELECT pg_notify(channel, payload) FROM unnest($25::text[], $26::text[]) AS notification (channel, payload)

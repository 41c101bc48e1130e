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
counted AS (
    INSERT INTO tallies AS t (name, shard, value)
    SELECT name, $20, by::numeric FROM unnest($18::text[], $19::text[]) AS row (name, by) ORDER BY name
    ON CONFLICT (name, shard) DO UPDATE SET value = t.value + excluded.value
)
SELECT pg_notify(channel, payload) FROM unnest($21::text[], $22::text[]) AS notification (channel, payload)

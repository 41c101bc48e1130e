-- The rows that a render is shown with (`views::shown`). Like the types that batches write, these are never altered.
CREATE TYPE shown_credits AS (
    value bigint,
    status text,
    source text,
    at timestamptz
);

CREATE TYPE shown_download AS (
    index integer,
    state text,
    key text,
    content_type text,
    size_bytes bigint,
    sha256 text,
    stored_at timestamptz,
    attempts integer,
    due_at timestamptz,
    error_code text,
    error_message text,
    bytes_done bigint,
    bytes_total bigint
);

CREATE TYPE shown_transition AS (
    from_status text,
    to_status text,
    source text,
    event_type text,
    at timestamptz,
    lag_ms bigint
);

CREATE TYPE shown_notification AS (
    id uuid,
    type text,
    state text,
    attempts integer,
    due_at timestamptz,
    delivered_at timestamptz,
    error text
);

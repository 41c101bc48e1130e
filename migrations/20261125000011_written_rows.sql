-- The rows that a transaction writes, so that each table needs one parameter, however many columns it has
-- (`intake::record::rows`, `feed::outbox`, `archive::settlement`). Do not alter a type: replicas of the version before still
-- send it. Create one with another name, and drop the old one in a later release.
CREATE TYPE written_render AS (
    id text,
    kind text,
    status text,
    failure_confirmed boolean,
    seen_event_types text[],
    project_type text,
    name text,
    error_code text,
    error_message text,
    credits_charged bigint,
    deleted boolean,
    created_at timestamptz,
    field_versions bigint[],
    archive text,
    files_total integer,
    files_stored integer,
    files_failed integer,
    poll_requested boolean,
    poll_due_at timestamptz,
    poll_attempts integer,
    first_seen_at timestamptz,
    last_seen_at timestamptz,
    updated_at timestamptz,
    not_found_at timestamptz,
    stalled_at timestamptz,
    width integer,
    height integer,
    fps double precision,
    start_seconds double precision,
    end_seconds double precision,
    image_count integer,
    shortage_confirmed boolean,
    external_id text,
    external_id_origin text
);

CREATE TYPE written_download AS (
    render_id text,
    index integer,
    state text,
    url text,
    host text,
    expires_at timestamptz,
    url_observed_at timestamptz,
    key text,
    attempts integer,
    first_attempt_at timestamptz,
    due_at timestamptz,
    lease uuid,
    error_code text,
    error_message text,
    updated_at timestamptz
);

CREATE TYPE written_transition AS (
    render_id text,
    from_status text,
    to_status text,
    source text,
    event_type text,
    lag_ms bigint
);

CREATE TYPE written_credits AS (
    render_id text,
    value bigint,
    status text,
    source text
);

CREATE TYPE written_delivery AS (
    sent_at timestamptz,
    lag_ms bigint,
    body bytea,
    event_type text,
    render_id text,
    outcome text
);

CREATE TYPE written_notification AS (
    id uuid,
    render_id text,
    type text,
    from_status text,
    to_status text,
    download_index integer,
    is_posted boolean
);

CREATE TYPE written_settlement AS (
    render_id text,
    index integer,
    state text,
    due_at timestamptz,
    ready boolean,
    attempts integer,
    error_code text,
    error_message text,
    content_type text,
    size_bytes bigint,
    sha256 text,
    stored_at timestamptz,
    delete_after_store boolean,
    updated_at timestamptz
);

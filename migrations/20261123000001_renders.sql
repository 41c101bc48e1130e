-- One row a render: what Magic Hour calls a project. Everything the application asks for starts here.
CREATE TABLE renders (
    -- Magic Hour's project id. Bounded, because it is indexed and becomes part of an object's key.
    id text PRIMARY KEY
        CONSTRAINT renders_id_bounded CHECK (octet_length(id) BETWEEN 1 AND 255),
    -- Which of the three calls (`/v1/{kind}-projects/{id}`) knows it. The first word about a render decides it.
    kind text NOT NULL
        CONSTRAINT renders_kind_known CHECK (kind IN ('video', 'image', 'audio')),
    -- NULL until somebody has told a status that this version knows.
    status text
        CONSTRAINT renders_status_known
            CHECK (status IN ('draft', 'queued', 'rendering', 'error', 'canceled', 'complete')),
    -- How far along the status is; a render moves only to a higher rank. The program computes it, the CHECK
    -- holds the program and this table to the same order.
    rank smallint NOT NULL DEFAULT -1
        CONSTRAINT renders_rank_is_the_status
            CHECK (rank = CASE status
                WHEN 'draft' THEN 0
                WHEN 'queued' THEN 1
                WHEN 'rendering' THEN 2
                WHEN 'error' THEN 3
                WHEN 'canceled' THEN 3
                WHEN 'complete' THEN 4
                ELSE -1
            END),
    -- The event types that were delivered about it, sorted. With the id they are the documented key of an event:
    -- what tells a duplicate from news, also after the deliveries themselves are pruned.
    heard text[] NOT NULL DEFAULT '{}',
    -- The newest word about each of its other fields (`name`, `type`, `error`, `credits_charged`, `deleted`,
    -- `created_at`): field -> [rank of the status that came with it, when it was said in microseconds since the
    -- epoch, value]. Merging two of these maps keeps the greater array of each field, so that words may arrive
    -- in any order and any number of times and end in the same map.
    told jsonb NOT NULL DEFAULT '{}'
        CONSTRAINT renders_told_is_a_map CHECK (jsonb_typeof(told) = 'object'),
    -- The application's own name for the render.
    external_id text,
    -- Whatever the application wants back in every answer.
    metadata jsonb NOT NULL DEFAULT '{}'
        CONSTRAINT renders_metadata_is_a_map CHECK (jsonb_typeof(metadata) = 'object'),
    -- When renderhook first heard of it.
    first_heard_at timestamptz NOT NULL,
    -- When a word last changed anything above.
    updated_at timestamptz NOT NULL,
    -- What status, rank and heard were before the last word: the one statement that writes learns from it what
    -- it changed (what Postgres 18 calls RETURNING OLD).
    before jsonb
);

-- `GET /renders`, newest first.
CREATE INDEX renders_newest ON renders (first_heard_at DESC, id DESC);
CREATE INDEX renders_external_id ON renders (external_id) WHERE external_id IS NOT NULL;

-- One row per render: what Magic Hour calls a project. Everything an application asks for starts here.
CREATE TABLE renders (
    -- Magic Hour's project id. Bounded, because it is indexed and becomes part of an object's key.
    id text PRIMARY KEY
        CONSTRAINT renders_id_bounded CHECK (octet_length(id) BETWEEN 1 AND 255),
    -- Which details call knows it (`/v1/{kind}-projects/{id}`). The first observation decides it.
    kind text NOT NULL
        CONSTRAINT renders_kind_known CHECK (kind IN ('video', 'image', 'audio')),
    -- NULL until an observation carries a status that this version knows.
    status text
        CONSTRAINT renders_status_known
            CHECK (status IN ('draft', 'queued', 'rendering', 'error', 'canceled', 'complete')),
    -- Whether the status is an end. What asks only about unfinished renders reads this and knows no list of statuses.
    finished boolean NOT NULL GENERATED ALWAYS AS (coalesce(status IN ('error', 'canceled', 'complete'), false)) STORED,
    -- Whether the details API has confirmed which of `error` and `canceled` it is: that is taken from it once.
    failure_confirmed boolean NOT NULL DEFAULT false,
    -- The event types that were delivered, sorted. With the id they are Magic Hour's documented key of an event: they
    -- identify a duplicate, also after the deliveries themselves are removed.
    seen_event_types text[] NOT NULL DEFAULT '{}',

    -- The other fields of the project, each from its newest observation.
    project_type text,
    name text,
    error_code text,
    error_message text,
    credits_charged bigint,
    deleted boolean NOT NULL DEFAULT false,
    -- When the project was created at Magic Hour.
    created_at timestamptz,
    -- How new each of them is: field -> [rank of the status that came with it, when it was observed in microseconds
    -- since the epoch]. A field that is not here was never observed.
    field_versions jsonb NOT NULL DEFAULT '{}',

    -- How much of it is in the store. Computed from the status and the counts below, in the transaction that changes
    -- any of them (`domain::ArchiveState`).
    archive text NOT NULL DEFAULT 'none'
        CONSTRAINT renders_archive_known
            CHECK (archive IN ('none', 'awaiting_urls', 'pending', 'partial', 'stored', 'failed')),
    -- Its rows in `downloads`, and how many of them are settled.
    files_total integer NOT NULL DEFAULT 0,
    files_stored integer NOT NULL DEFAULT 0,
    files_failed integer NOT NULL DEFAULT 0,

    -- The application's own name for the render.
    external_id text,
    -- Whatever the application wants back in every answer: text as it was written (`json`, not `jsonb`), because numbers
    -- must come back exactly.
    metadata json NOT NULL DEFAULT '{}'
        CONSTRAINT renders_metadata_is_a_map CHECK (json_typeof(metadata) = 'object'),

    -- When renderhook first saw it.
    first_seen_at timestamptz NOT NULL,
    -- When an event or an announcement last named it: silence is counted from here. Polls do not count.
    last_seen_at timestamptz NOT NULL,
    -- When an observation last changed anything that is answered.
    updated_at timestamptz NOT NULL,

    -- When the details API is to be asked about it. NULL: once it has been silent for RECONCILE_AFTER, if it is
    -- unfinished. `infinity`: never. Also the claim of the process that asks, moved ahead for as long as a call may take.
    poll_due_at timestamptz,
    -- Whether something waits for the answer: then it is polled also when it is finished, and before the others.
    poll_wanted boolean NOT NULL DEFAULT false,
    -- When it was last polled.
    polled_at timestamptz,
    -- How many polls in a row brought no transition.
    poll_attempts integer NOT NULL DEFAULT 0
        CONSTRAINT renders_poll_attempts_count CHECK (poll_attempts >= 0),
    -- Since when Magic Hour says that it does not know the render; NULL while it does.
    not_found_at timestamptz,
    -- When it was found to be unfinished for longer than a week; NULL once it is not.
    stalled_at timestamptz,

    -- What became of DELETE_AFTER_STORE: `deleted`, or why the project was left. NULL while nothing was tried.
    deletion text
        CONSTRAINT renders_deletion_known CHECK (deletion IN ('deleted', 'refused', 'unproven')),
    -- When the deletion may be tried again, and the claim of the process that tries.
    deletion_due_at timestamptz,

    CONSTRAINT renders_wanted_is_due CHECK (NOT poll_wanted OR poll_due_at IS NOT NULL),
    CONSTRAINT renders_files_counted
        CHECK (files_stored >= 0 AND files_failed >= 0 AND files_stored + files_failed <= files_total)
) WITH (fillfactor = 85);

-- `GET /renders`: the newest of each combination of kind, status and archive. There are few combinations, so the list
-- reads the first rows of each that fits and merges them, whatever the filter.
CREATE INDEX renders_listed ON renders (kind, archive, status, first_seen_at DESC, id DESC);
CREATE INDEX renders_external_id ON renders (external_id, first_seen_at DESC, id DESC) WHERE external_id IS NOT NULL;
-- What may be due for a poll: unfinished, or wanted.
CREATE INDEX renders_watched ON renders (coalesce(poll_due_at, last_seen_at)) WHERE NOT finished OR poll_wanted;

-- One row per render, which Magic Hour calls a project.
CREATE TABLE renders (
    -- Magic Hour's project id. Its length is limited because it is indexed and part of object keys.
    id text PRIMARY KEY
        CONSTRAINT renders_id_length CHECK (char_length(id) BETWEEN 1 AND 255),
    -- Also the name of its details endpoint (`/v1/{kind}-projects/{id}`). Set by the first observation.
    kind text NOT NULL
        CONSTRAINT renders_kind_known CHECK (kind IN ('video', 'image', 'audio')),
    -- NULL until an observation has a status that this version knows.
    status text
        CONSTRAINT renders_status_known
            CHECK (status IN ('draft', 'queued', 'rendering', 'error', 'canceled', 'complete')),
    -- Whether the render has ended. Statements that only need this do not repeat the list of statuses.
    finished boolean NOT NULL GENERATED ALWAYS AS (coalesce(status IN ('error', 'canceled', 'complete'), false)) STORED,
    -- Whether the details API has confirmed which of `error` and `canceled` it is. It may correct that once.
    failure_confirmed boolean NOT NULL DEFAULT false,
    -- The event types that were delivered, sorted. Together with the id they identify an event, according to Magic Hour's
    -- documentation, so duplicates are detected even after the deliveries are removed.
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

    -- What Magic Hour says about the project's output. NULL where it does not, or says that the value can be ignored (-1).
    -- `width` and `height` are in pixels.
    width integer,
    height integer,
    -- An estimate until the render is complete.
    fps double precision,
    -- The part of the source that was rendered.
    start_seconds double precision,
    end_seconds double precision,
    -- How many images the project generates. Fewer rows in `downloads` are a shortage.
    image_count integer,
    -- Whether Magic Hour was asked for the files that are missing, and has no more.
    shortage_confirmed boolean NOT NULL DEFAULT false,

    -- The version of each field, which says how new it is (`intake::record::field_versions`). Three numbers per version: the
    -- rank of the status observed with it, the time of the observation in microseconds since the epoch, and the fields that
    -- have it, as bits. A field that was never observed has no version.
    field_versions bigint[] NOT NULL DEFAULT '{}',

    -- How much of it is in the store. Computed from the status and the counts below, in the transaction that changes them
    -- (`domain::ArchiveState`).
    archive text NOT NULL DEFAULT 'none'
        CONSTRAINT renders_archive_known
            CHECK (archive IN ('none', 'awaiting_urls', 'pending', 'partial', 'stored', 'failed')),
    -- The number of its rows in `downloads`, and how many of them are stored and failed.
    files_total integer NOT NULL DEFAULT 0,
    files_stored integer NOT NULL DEFAULT 0,
    files_failed integer NOT NULL DEFAULT 0,

    -- The application's own id for the render.
    external_id text,
    -- Who decided on it, because EXTERNAL_ID_PATTERN sets it only where the application has not. `application`: it has set or
    -- removed it. `name`: the pattern found it in the render's name. NULL: if there is one, it is the application's.
    external_id_origin text
        CONSTRAINT renders_external_id_origin_known CHECK (external_id_origin IN ('application', 'name')),
    -- A JSON object that the application gets back in every answer. `json` instead of `jsonb` keeps its text, because numbers
    -- must not change.
    metadata json NOT NULL DEFAULT '{}'
        CONSTRAINT renders_metadata_is_object CHECK (json_typeof(metadata) = 'object'),

    -- When renderhook first learned about it.
    first_seen_at timestamptz NOT NULL,
    -- When the last event or announcement about it arrived, from which the time to the first poll is counted. Polls do not
    -- count.
    last_seen_at timestamptz NOT NULL,
    -- When anything in its API answer last changed.
    updated_at timestamptz NOT NULL,

    -- When to poll it next. NULL: RECONCILE_AFTER after it was last seen, if it is unfinished. `infinity`: never.
    poll_due_at timestamptz,
    -- Whether a poll was requested. Then it is polled even if it is finished, and before others.
    poll_requested boolean NOT NULL DEFAULT false,
    -- While a process polls it, when that process' claim expires. This also identifies the claim. It is separate from
    -- `poll_due_at`, so that a poll requested during a slow call neither gets lost nor lets a second process poll the render
    -- at the same time.
    poll_claimed_until timestamptz,
    -- When it was last polled.
    polled_at timestamptz,
    -- The number of consecutive polls without a status change.
    poll_attempts integer NOT NULL DEFAULT 0
        CONSTRAINT renders_poll_attempts_not_negative CHECK (poll_attempts >= 0),
    -- Since when Magic Hour has reported that it does not know the render; otherwise NULL.
    not_found_at timestamptz,
    -- Since when it is known to be unfinished for more than a week; otherwise NULL.
    stalled_at timestamptz,
    -- The account that knows the render: the one whose key last read it. NULL until one has.
    account text,

    -- The outcome of deleting the project, because of DELETE_AFTER_STORE or an erasure: `deleted`, or why it was not deleted.
    -- NULL if there is no outcome yet.
    deletion text
        CONSTRAINT renders_deletion_known CHECK (deletion IN ('deleted', 'refused', 'unproven')),
    -- When the next attempt to delete the project is due. During an attempt, when its claim expires.
    deletion_due_at timestamptz,
    -- The number of attempts to delete it, for the backoff.
    deletion_attempts integer NOT NULL DEFAULT 0
        CONSTRAINT renders_deletion_attempts_not_negative CHECK (deletion_attempts >= 0),

    -- Since when nothing about the render is recorded any more, because of `DELETE /renders/{id}` or FILE_RETENTION. Its name
    -- and the like are gone since then. The row stays as a tombstone, so that late events and polls do not revive it.
    erasure_requested_at timestamptz,
    -- When its objects were deleted, too.
    erased_at timestamptz,

    CONSTRAINT renders_requested_poll_is_due CHECK (NOT poll_requested OR poll_due_at IS NOT NULL),
    CONSTRAINT renders_file_counts_consistent
        CHECK (files_stored >= 0 AND files_failed >= 0 AND files_stored + files_failed <= files_total),
    CONSTRAINT renders_erased_after_request CHECK (erased_at IS NULL OR erasure_requested_at IS NOT NULL)
) WITH (fillfactor = 85);

-- For `GET /renders`: reads the newest rows of each combination of kind, archive state, and status that matches the
-- filter, and merges them. There are few combinations, so every filter is fast.
CREATE INDEX renders_list ON renders (kind, archive, status, first_seen_at DESC, id DESC);
-- For `GET /renders?type=` and `?error=`: as `renders_list`, for one type or one error, or both. Only the beginnings are
-- indexed, because a row of an index has a maximum size, and Magic Hour may send anything.
CREATE INDEX renders_list_of_type ON renders (left(project_type, 100), kind, archive, status, first_seen_at DESC, id DESC);
-- Few renders have failed, so these cost little.
CREATE INDEX renders_list_of_error
    ON renders (left(error_code, 100), kind, archive, status, first_seen_at DESC, id DESC)
    WHERE error_code IS NOT NULL;
CREATE INDEX renders_list_of_error_and_type
    ON renders (left(error_code, 100), left(project_type, 100), kind, archive, status, first_seen_at DESC, id DESC)
    WHERE error_code IS NOT NULL;
-- For `GET /renders?external_id=`.
CREATE INDEX renders_external_id ON renders (external_id, first_seen_at DESC, id DESC) WHERE external_id IS NOT NULL;
-- For searching renders by the beginning of their name, whatever the database's collation. A name may be longer than an
-- index allows, so only its first 100 characters count.
CREATE INDEX renders_name ON renders (lower(left(name, 100)) text_pattern_ops, first_seen_at DESC, id DESC)
    WHERE name IS NOT NULL;
-- Renders that may be due for a poll.
CREATE INDEX renders_poll_candidates ON renders (coalesce(poll_due_at, last_seen_at)) WHERE NOT finished OR poll_requested;
-- For the operator pages: unfinished renders that Magic Hour does not know, or that take too long.
CREATE INDEX renders_astray ON renders (id) WHERE NOT finished AND (not_found_at IS NOT NULL OR stalled_at IS NOT NULL);

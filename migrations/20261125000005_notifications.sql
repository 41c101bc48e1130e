-- One row per notification, written in the transaction of what it reports. The feed is this table in the order of
-- `position`; what is also posted to NOTIFY_URL has a state.
CREATE TABLE notifications (
    -- The order of the feed. Assigned under a lock that is held until the commit (`feed::outbox`), so that a row never
    -- becomes visible after a row with a higher position.
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The `webhook-id`, the same in every attempt.
    id uuid NOT NULL,
    render_id text NOT NULL,
    type text NOT NULL
        CONSTRAINT notifications_type_known CHECK (type IN (
            'render.ready', 'render.incomplete', 'render.failed', 'render.canceled', 'render.moved',
            'download.stored', 'download.failed'
        )),
    -- Of `render.moved`: the statuses. `from_status` is NULL for the first status.
    from_status text,
    to_status text,
    -- Of `download.…`: which of the render's files.
    download_index integer,
    -- When it was written.
    at timestamptz NOT NULL,

    -- How far posting is. NULL: it is only in the feed.
    state text
        CONSTRAINT notifications_state_known CHECK (state IN ('pending', 'delivered', 'failed')),
    -- Since when it is posted: when it was written, or sent again by hand. NOTIFY_MAX_AGE counts from here.
    pending_since timestamptz,
    -- How many attempts were started.
    attempts integer NOT NULL DEFAULT 0,
    -- When the next attempt may be claimed; also the end of the lease of the current one.
    due_at timestamptz,
    -- The lease of the process that posts it. Settling needs it.
    lease uuid,
    delivered_at timestamptz,
    -- Why the last attempt failed.
    error text,
    CONSTRAINT notifications_moved_has_status CHECK ((type = 'render.moved') = (to_status IS NOT NULL)),
    CONSTRAINT notifications_download_has_index CHECK ((type LIKE 'download.%') = (download_index IS NOT NULL)),
    CONSTRAINT notifications_posted_has_start CHECK ((state IS NULL) = (pending_since IS NULL)),
    CONSTRAINT notifications_due_while_pending CHECK ((state IS NOT DISTINCT FROM 'pending') = (due_at IS NOT NULL)),
    CONSTRAINT notifications_leased_while_pending CHECK (lease IS NULL OR state IS NOT DISTINCT FROM 'pending'),
    CONSTRAINT notifications_delivered_at_given CHECK ((state IS NOT DISTINCT FROM 'delivered') = (delivered_at IS NOT NULL))
) WITH (fillfactor = 85);

-- A render's notifications, for its answer and its stream.
CREATE INDEX notifications_of_render ON notifications (render_id, position);
-- The queue.
CREATE INDEX notifications_due ON notifications (due_at) WHERE due_at IS NOT NULL;
-- How long the oldest notification has waited, for /metrics and `renderhook status`.
CREATE INDEX notifications_pending ON notifications (pending_since) WHERE state = 'pending';
-- For the operator pages: notifications that the application has not accepted.
CREATE INDEX notifications_in_trouble ON notifications (position)
    WHERE error IS NOT NULL AND state IN ('pending', 'failed');

-- One row: which feed this is, and where it begins. A cursor of another feed, or of a part that was removed, is refused.
CREATE TABLE feed (
    singleton boolean PRIMARY KEY DEFAULT true
        CONSTRAINT feed_single_row CHECK (singleton),
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    -- Up to which position notifications were removed.
    removed_through bigint NOT NULL DEFAULT 0
);

INSERT INTO feed DEFAULT VALUES;

-- One row for all processes: whether NOTIFY_URL accepts anything.
CREATE TABLE notify_health (
    singleton boolean PRIMARY KEY DEFAULT true
        CONSTRAINT notify_health_single_row CHECK (singleton),
    -- Since when every attempt has failed; NULL if the last one succeeded.
    failing_since timestamptz,
    -- When the log last said so.
    reported_at timestamptz,
    CONSTRAINT notify_health_reported_while_failing CHECK (reported_at IS NULL OR failing_since IS NOT NULL)
);

INSERT INTO notify_health DEFAULT VALUES;

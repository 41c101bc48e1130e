-- What the operator pages look up. Each index has only what is in trouble, so it costs nothing while all is well.

-- Files whose last attempt failed, by error.
CREATE INDEX downloads_in_trouble ON downloads (state, error_code, render_id, index)
    WHERE error_code IS NOT NULL AND state IN ('pending', 'failed');
-- Notifications that the application has not accepted.
CREATE INDEX notifications_in_trouble ON notifications (position)
    WHERE error IS NOT NULL AND state IN ('pending', 'failed');
-- Unfinished renders that Magic Hour does not know, or that take too long.
CREATE INDEX renders_astray ON renders (id) WHERE NOT finished AND (not_found_at IS NOT NULL OR stalled_at IS NOT NULL);

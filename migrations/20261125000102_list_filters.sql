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

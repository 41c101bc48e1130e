-- `GET /renders` by status, and by what is not stored. What is true of nearly every render (`complete`, `stored`) is found
-- soon enough from the newest on; these are for what is true of few.
CREATE INDEX renders_of_status ON renders (status, first_heard_at DESC, id DESC);
CREATE INDEX downloads_not_stored ON downloads (render_id) WHERE state <> 'stored';

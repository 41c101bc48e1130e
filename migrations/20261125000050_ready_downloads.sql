-- A claim reads only what it takes: what is due, by host, the files whose URLs expire first before the others.
ALTER TABLE downloads
    -- Whether `due_at` was reached when this was last checked. Every claim checks those whose time has come since.
    ADD COLUMN ready boolean NOT NULL DEFAULT true;

-- For claiming. Of what is not settled, as `due_at IS NOT NULL` would say, too; but so, no other index serves a claim.
CREATE INDEX downloads_ready ON downloads (host, expires_at, due_at) WHERE ready AND state IN ('pending', 'downloading');
-- For finding those that have fallen due: retries and expired leases.
CREATE INDEX downloads_waiting ON downloads (due_at) WHERE NOT ready AND due_at IS NOT NULL;
DROP INDEX downloads_due;

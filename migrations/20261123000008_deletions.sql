-- DELETE_AFTER_STORE: projects to delete at Magic Hour once all their files are stored and proven.
ALTER TABLE downloads
    -- Whether the setting was on when the file was stored: turning it on does not reach back.
    ADD COLUMN delete_wanted boolean NOT NULL DEFAULT false;

ALTER TABLE renders
    -- What became of the deletion: `deleted`, or why it was left. NULL while none was tried.
    ADD COLUMN deletion text
        CONSTRAINT renders_deletion_known CHECK (deletion IN ('deleted', 'refused', 'unproven')),
    -- When the deletion may be tried again, and the claim of who tries.
    ADD COLUMN deletion_due_at timestamptz;

CREATE INDEX downloads_delete_wanted ON downloads (render_id) WHERE delete_wanted;

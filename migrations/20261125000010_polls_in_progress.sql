-- A poll's claim has a column of its own, so that something that wants an answer during a slow call changes when the render
-- is due and cannot make a second process poll it at the same time.
ALTER TABLE renders
    -- Until when a process polls it; NULL if none does. Identifies the claim.
    ADD COLUMN poll_claimed_until timestamptz;

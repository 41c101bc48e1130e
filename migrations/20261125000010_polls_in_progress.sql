-- The claim of a poll is separate from `poll_due_at`, so that a poll requested during a slow call neither gets lost nor lets
-- a second process poll the render at the same time.
ALTER TABLE renders
    -- While a process polls it, when that process' claim expires. This also identifies the claim.
    ADD COLUMN poll_claimed_until timestamptz;

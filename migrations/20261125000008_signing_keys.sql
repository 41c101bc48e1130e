-- The keys that renderhook signs with, one per purpose. All replicas share them, and they survive restarts.
CREATE TABLE signing_keys (
    purpose text PRIMARY KEY
        CONSTRAINT signing_keys_purpose_known CHECK (purpose IN ('file_links')),
    -- 32 random bytes.
    key bytea NOT NULL
        CONSTRAINT signing_keys_length CHECK (octet_length(key) = 32),
    created_at timestamptz NOT NULL
);

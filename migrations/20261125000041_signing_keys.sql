-- The keys that renderhook signs with, one per purpose. All replicas share them, and they survive restarts.
CREATE TABLE signing_keys (
    purpose    text        NOT NULL CONSTRAINT signing_keys_purpose_known CHECK (purpose IN ('file_links')),
    key        bytea       NOT NULL CONSTRAINT signing_keys_length CHECK (octet_length(key) = 32),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (purpose)
);

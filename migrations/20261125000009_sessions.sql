-- One row per login to the operator pages. Every replica sees a login and a logout at once.
CREATE TABLE sessions (
    -- The SHA-256 of the secret in the browser's cookie, so that who reads this table cannot use a session.
    secret_hash bytea PRIMARY KEY
        CONSTRAINT sessions_secret_hash_length CHECK (octet_length(secret_hash) = 32),
    -- Identifies the token of the login. A session ends with its token.
    token_fingerprint bytea NOT NULL
        CONSTRAINT sessions_token_fingerprint_length CHECK (octet_length(token_fingerprint) = 32),
    -- The role of the token at the login. A session also ends if the token gets another role.
    role text NOT NULL
        CONSTRAINT sessions_role_known CHECK (role IN ('full', 'read')),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT sessions_expire_after_login CHECK (expires_at > created_at)
);

-- For removing those that have expired.
CREATE INDEX sessions_expiring ON sessions (expires_at);

-- What a login or a grant has brought, and who is renewing it.
CREATE TABLE tokens (
    tenant_id      bigint NOT NULL,
    connection_id  bigint NOT NULL,
    sealed         bytea,                       -- access and refresh token, sealed as one; null before the first
    generation     bigint NOT NULL DEFAULT 0,   -- of the token: a renewal that began with an older one is not written
    renew_at       timestamptz,                 -- from here on it is renewed; null: only once it is refused
    expires_at     timestamptz,                 -- from here on it is not used; null: it is not told
    renewal        bigint NOT NULL DEFAULT 0,   -- the number of the last renewal that was begun
    renewing_until timestamptz,                 -- one is on its way; whoever began it is dead after this
    asked_at       timestamptz,                 -- when the cloud was last asked for a token
    failures       integer NOT NULL DEFAULT 0,  -- in a row
    retry_at       timestamptz,                 -- after a failure: not before
    failure        text,                        -- the last one, without secrets
    PRIMARY KEY (tenant_id, connection_id),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections (tenant_id, connection_id)
);
-- As connections are found.
CREATE INDEX tokens_by_connection ON tokens (connection_id);

-- An owner has gone to a cloud to allow a connection, and is to come back with this state. Used once, and not for long.
CREATE TABLE authorisations (
    state_hash    bytea PRIMARY KEY,            -- SHA-256 of a state with 128 random bits or more: nothing to stretch
    tenant_id     bigint NOT NULL,
    connection_id bigint NOT NULL,
    sealed        bytea NOT NULL,               -- what proves the coming back: PKCE's verifier, and where to
    expires_at    timestamptz NOT NULL,
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections (tenant_id, connection_id)
);
CREATE INDEX authorisations_by_connection ON authorisations (tenant_id, connection_id);

-- Requests that named themselves (`Idempotency-Key`), with what they were answered: a repetition gets the same answer.
-- Kept for a day.

CREATE TABLE idempotent_requests (
    tenant_id   bigint NOT NULL REFERENCES tenants,
    key_id      bigint NOT NULL,         -- the API key: names of one say nothing of another's
    name        text NOT NULL,
    request     bytea NOT NULL,          -- keyed hash of path, query and body
    claim       bigint GENERATED ALWAYS AS IDENTITY,
    claimed_at  timestamptz NOT NULL DEFAULT now(),
    status      smallint,                -- null: being served
    headers     jsonb,
    body        bytea,
    PRIMARY KEY (tenant_id, key_id, name)
);
CREATE INDEX idempotent_requests_by_age ON idempotent_requests (claimed_at);

-- Refreshes that were asked for, so that whoever asked can wait for their end and see what came of them. Kept for a
-- day.

CREATE TABLE refreshes (
    tenant_id  bigint NOT NULL REFERENCES tenants,
    refresh_id bigint GENERATED ALWAYS AS IDENTITY,
    asked_at   timestamptz NOT NULL,
    jobs       bigint[] NOT NULL,
    -- How the jobs stood when they were asked for, in the same order. A job has run once one of them is another:
    -- otherwise, instants of several clocks would have to be compared.
    fences     bigint[] NOT NULL,               -- of `latest`; 0: there was none
    errors_at  timestamptz[] NOT NULL,          -- last_error_at; null: there was none
    PRIMARY KEY (tenant_id, refresh_id)
);
CREATE INDEX refreshes_by_age ON refreshes (asked_at);

-- Webhooks: the addresses to which a tenant's changes are posted, and how far each of them is.

CREATE TABLE webhooks (
    tenant_id       bigint NOT NULL REFERENCES tenants,
    webhook_id      bigint GENERATED ALWAYS AS IDENTITY,
    label           text NOT NULL,
    url             text NOT NULL,
    secrets_sealed  bytea,                          -- by its number, so it is sealed after the row is there
    created_at      timestamptz NOT NULL,
    -- Which changes are posted; null: of any.
    device_ids      bigint[],
    provider        text,
    connection_id   bigint,                         -- no reference: if it is removed, nothing matches any more
    group_key       text,
    -- How far it is: ids of changes in the tenant's stream, `<ms>-<number>`.
    cursor          text,                           -- the last change that was delivered; null: begins at the newest
    batch           bigint NOT NULL DEFAULT 0,      -- number of the last batch
    batch_until     text,                           -- last change of the batch that is not delivered yet; null: none
    batch_resync    boolean NOT NULL DEFAULT false, -- that batch says that changes were missed
    -- How deliveries go.
    attempts        integer NOT NULL DEFAULT 0,     -- that failed in a row
    failing_since   timestamptz,
    next_try_at     timestamptz,                    -- null: as soon as there is something to deliver
    last_status     integer,
    last_error      text,
    delivered_at    timestamptz,
    disabled_at     timestamptz,
    disabled_reason text,
    -- Who delivers: a claim expires, and its number fences what it writes.
    claim           bigint NOT NULL DEFAULT 0,
    claimed_until   timestamptz,
    PRIMARY KEY (tenant_id, webhook_id)
);
CREATE INDEX webhooks_enabled ON webhooks (tenant_id, webhook_id) WHERE disabled_at IS NULL;

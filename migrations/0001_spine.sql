-- The truth. Redis holds nothing that cannot be rebuilt from here.
-- tenant_id leads every key, so that the tables can be distributed by tenant when one Postgres is outgrown.

CREATE TABLE tenants (
    tenant_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE api_keys (
    tenant_id  bigint NOT NULL REFERENCES tenants,
    key_id     bigint GENERATED ALWAYS AS IDENTITY,
    key_hash   bytea NOT NULL UNIQUE,           -- SHA-256 of a key with 256 random bits: nothing to stretch
    hint       text NOT NULL,                   -- its first characters, to tell keys apart in a list
    role       text NOT NULL CHECK (role IN ('reader', 'user', 'operator')),
    label      text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    PRIMARY KEY (tenant_id, key_id)
);

CREATE TABLE connections (
    tenant_id     bigint NOT NULL REFERENCES tenants,
    connection_id bigint GENERATED ALWAYS AS IDENTITY,
    provider      text NOT NULL,
    label         text NOT NULL,
    params        jsonb NOT NULL DEFAULT '{}',  -- what the provider's templates need and nobody need hide
    secret_sealed bytea,                        -- XChaCha20-Poly1305, bound to the connection's id
    state         text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'needs_reauth')),
    state_reason  text,
    state_at      timestamptz NOT NULL DEFAULT now(),
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, connection_id),
    UNIQUE (tenant_id, provider, label)
);
-- Workers are granted calls by connection, of any tenant.
CREATE INDEX connections_by_id ON connections (connection_id);

CREATE TABLE devices (
    tenant_id     bigint NOT NULL,
    device_id     bigint GENERATED ALWAYS AS IDENTITY,
    connection_id bigint NOT NULL,
    external_id   text NOT NULL,
    group_key     text NOT NULL DEFAULT '',     -- the home or site inside the account; '' when it has none
    name          text NOT NULL DEFAULT '',
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, device_id),
    UNIQUE (tenant_id, connection_id, external_id),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections (tenant_id, connection_id)
);

CREATE TABLE jobs (
    tenant_id     bigint NOT NULL,
    job_id        bigint GENERATED ALWAYS AS IDENTITY,
    device_id     bigint NOT NULL,
    resource      text NOT NULL,
    provider      text NOT NULL,                -- the connection's, repeated: a rebuild reads one provider's jobs
    interval_ms   bigint NOT NULL CHECK (interval_ms > 0),
    priority      smallint NOT NULL CHECK (priority BETWEEN 1 AND 5),
    state         text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused', 'parked')),
    state_reason  text,
    failing_since timestamptz,                  -- null while well
    last_error    text,
    last_error_at timestamptz,
    version       bigint NOT NULL DEFAULT 1,    -- of the preference: an older one never overwrites a newer in Redis
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, job_id),
    UNIQUE (tenant_id, device_id, resource),
    FOREIGN KEY (tenant_id, device_id) REFERENCES devices (tenant_id, device_id)
);
CREATE INDEX jobs_by_provider ON jobs (provider, job_id);
CREATE INDEX jobs_by_id ON jobs (job_id);
CREATE INDEX jobs_failing ON jobs (tenant_id) WHERE failing_since IS NOT NULL;

-- The last good value of each resource of each device: never erased by a failure.
CREATE TABLE latest (
    tenant_id    bigint NOT NULL,
    device_id    bigint NOT NULL,
    resource     text NOT NULL,
    job_id       bigint NOT NULL,
    observed_at  timestamptz,                   -- the source's clock; null when it tells none
    fetched_at   timestamptz NOT NULL,          -- ours: when a good answer last came
    changed_at   timestamptz NOT NULL,          -- ours: when the content last differed
    online       boolean NOT NULL,
    "values"     jsonb NOT NULL,
    content_hash bytea NOT NULL,
    fence        bigint NOT NULL,               -- of the call that wrote it: an older call changes nothing
    PRIMARY KEY (tenant_id, device_id, resource)
);

-- History: one row per change.
CREATE TABLE readings (
    tenant_id   bigint NOT NULL,
    device_id   bigint NOT NULL,
    resource    text NOT NULL,
    observed_at timestamptz,
    fetched_at  timestamptz NOT NULL,
    online      boolean NOT NULL,
    "values"    jsonb NOT NULL
) PARTITION BY RANGE (fetched_at);
CREATE INDEX readings_by_device ON readings (tenant_id, device_id, resource, fetched_at DESC);

-- What went wrong, what changed state, and when. Successes are not events.
CREATE TABLE sync_events (
    tenant_id  bigint NOT NULL,
    job_id     bigint NOT NULL,
    at         timestamptz NOT NULL,
    outcome    text NOT NULL,
    detail     text NOT NULL DEFAULT ''
) PARTITION BY RANGE (at);
CREATE INDEX sync_events_by_job ON sync_events (tenant_id, job_id, at DESC);

-- A preference commits together with its row here; any node drains it into Redis.
-- It names the job, not the change: draining reads the job as it is by then, so replays and reorderings are harmless.
CREATE TABLE outbox (
    outbox_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider   text NOT NULL,
    job_id     bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX outbox_by_job ON outbox (job_id);

-- One row per provider whose schedule was ever built: tells "new" from "Redis lost it".
CREATE TABLE schedules (
    provider   text PRIMARY KEY,
    fence      bigint NOT NULL DEFAULT 0,       -- no fence handed out after a rebuild is below this
    built_at   timestamptz NOT NULL DEFAULT now()
);

-- A day's partition of both histories. Safe to call at any time, from any node.
CREATE FUNCTION ensure_history(day date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    parent text;
    clock  text;
    fresh  text;
    starts timestamptz := day::timestamp AT TIME ZONE 'UTC';
    ends   timestamptz := (day + 1)::timestamp AT TIME ZONE 'UTC';
BEGIN
    FOR parent, clock IN VALUES ('readings', 'fetched_at'), ('sync_events', 'at') LOOP
        fresh := parent || '_' || to_char(day, 'YYYYMMDD');
        CONTINUE WHEN to_regclass(fresh) IS NOT NULL;
        -- Nobody else makes the day meanwhile, and no row of it lands in the default partition.
        EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', parent || '_other');
        CONTINUE WHEN to_regclass(fresh) IS NOT NULL;
        -- A default partition that holds rows of the day forbids attaching it: they move first.
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', fresh, parent);
        EXECUTE format(
            'WITH moved AS (DELETE FROM %1$I WHERE %2$I >= %4$L AND %2$I < %5$L RETURNING *)
             INSERT INTO %3$I SELECT * FROM moved',
            parent || '_other', clock, fresh, starts, ends);
        EXECUTE format(
            'ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, fresh, starts, ends);
    END LOOP;
END $$;

-- Rows whose day has no partition land here, so that a clock or a late keeper never loses a reading.
CREATE TABLE readings_other PARTITION OF readings DEFAULT;
CREATE TABLE sync_events_other PARTITION OF sync_events DEFAULT;

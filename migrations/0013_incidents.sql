-- A provider that fails for many of its connections at once is one incident, and no fault of theirs.
CREATE TABLE incidents (
    incident_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider    text NOT NULL,
    outcome     text NOT NULL,                  -- what calls came to, a word of sync_events
    opened_at   timestamptz NOT NULL,
    closed_at   timestamptz,                    -- null while it lasts
    failing     bigint NOT NULL,                -- connections that failed when it was opened
    heard       bigint NOT NULL                 -- of so many that were called
);
CREATE UNIQUE INDEX incidents_open ON incidents (provider) WHERE closed_at IS NULL;

-- Intervals by time of day, and preferences that stand at a connection or a group.

-- `interval_ms` is the interval in force: with windows it changes with the time of day, and `base_ms` holds outside of
-- them.
ALTER TABLE jobs
    ADD COLUMN base_ms   bigint CHECK (base_ms > 0),    -- null: there are no windows
    ADD COLUMN windows   jsonb,                         -- zone and windows: `words/interval/timetable.rs`
    ADD COLUMN in_window boolean NOT NULL DEFAULT false,
    ADD COLUMN turns_at  timestamptz,                   -- when to look whether another interval is in force
    ADD COLUMN origin    text NOT NULL DEFAULT 'device' -- where the preference stands
        CHECK (origin IN ('device', 'group', 'connection', 'provider'));
CREATE INDEX jobs_by_turn ON jobs (turns_at) WHERE turns_at IS NOT NULL;

-- Preferences of a connection's jobs, or of those of a group within it, that have none of their own.
CREATE TABLE default_preferences (
    tenant_id     bigint NOT NULL,
    connection_id bigint NOT NULL,
    group_key     text NOT NULL,    -- empty: of the whole connection
    resource      text NOT NULL,
    interval_ms   bigint NOT NULL CHECK (interval_ms > 0),    -- outside of windows
    priority      smallint NOT NULL CHECK (priority BETWEEN 1 AND 5),
    windows       jsonb,
    PRIMARY KEY (tenant_id, connection_id, group_key, resource),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections (tenant_id, connection_id) ON DELETE CASCADE
);

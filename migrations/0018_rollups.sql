-- How long what stands in the history is known to stand, and roll-ups of it.

ALTER TABLE latest
    ADD COLUMN seen_at timestamptz,  -- until when it is known that this stands, or that the device is offline
    ADD COLUMN stands_ms bigint;       -- an answer that comes later than this after seen_at ends a gap

-- A row of history is also added by the first answer after a gap.
ALTER TABLE readings ADD COLUMN gap_since timestamptz;  -- nothing was known from then to this row; null: all was

-- How long after an answer what stands is known without another: six times the interval, or six times how far apart
-- answers come where quotas make that longer; at least a minute.
CREATE FUNCTION next_stands_ms(stands_ms bigint, distance interval, interval_ms bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT greatest(60000, 6 * interval_ms, 6 * next_pace_ms(stands_ms / 6, distance))
$$;

-- Readings of a stretch of time in one row. Only stretches with a reading have one, as only changes are in the history.
-- Everything is told from the first to the last reading of the stretch: what stands before and after it, the rows
-- before and after tell.
CREATE TABLE rollups (
    tenant_id   bigint NOT NULL,
    device_id   bigint NOT NULL,
    resource    text NOT NULL,
    level       smallint NOT NULL,      -- 1: 5 minutes; 2: an hour; 3: a day of UTC
    bucket      timestamptz NOT NULL,   -- when the stretch begins
    first_at    timestamptz NOT NULL,   -- the first reading in it
    gap_since   timestamptz,            -- as of that reading
    last_at     timestamptz NOT NULL,   -- the last reading in it
    online      boolean NOT NULL,       -- as of that reading
    readings    bigint NOT NULL,
    known_ms    bigint NOT NULL,        -- for how long values were known
    offline_ms  bigint NOT NULL,        -- for how long the device was offline
    "values"    jsonb NOT NULL,         -- by name; `words/series/tally.rs` describes it
    PRIMARY KEY (tenant_id, device_id, resource, level, bucket)
) PARTITION BY LIST (level);
CREATE TABLE rollups_5m PARTITION OF rollups FOR VALUES IN (1) PARTITION BY RANGE (bucket);
CREATE TABLE rollups_1h PARTITION OF rollups FOR VALUES IN (2) PARTITION BY RANGE (bucket);
CREATE TABLE rollups_1d PARTITION OF rollups FOR VALUES IN (3) PARTITION BY RANGE (bucket);

-- How far each level is, so that the next process goes on where the last one stopped.
CREATE TABLE rollup_progress (
    level     smallint PRIMARY KEY,
    until     timestamptz NOT NULL,         -- all before this is rolled up
    ends      timestamptz NOT NULL,         -- the end of what is under way; until: nothing is
    tenant_id bigint NOT NULL DEFAULT 0,    -- the last series of it that is done
    device_id bigint NOT NULL DEFAULT 0,
    resource  text NOT NULL DEFAULT ''
);

-- The partitions of a day's month. Safe to call at any time, from any node.
CREATE FUNCTION ensure_rollups(day date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    parent text;
    fresh  text;
    starts timestamptz := date_trunc('month', day::timestamp) AT TIME ZONE 'UTC';
    ends   timestamptz := (date_trunc('month', day::timestamp) + interval '1 month') AT TIME ZONE 'UTC';
BEGIN
    FOREACH parent IN ARRAY ARRAY['rollups_5m', 'rollups_1h', 'rollups_1d'] LOOP
        fresh := parent || '_' || to_char(day, 'YYYYMM');
        CONTINUE WHEN to_regclass(fresh) IS NOT NULL;
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', fresh, parent);
        EXECUTE format(
            'ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, fresh, starts, ends);
    END LOOP;
END $$;

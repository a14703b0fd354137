-- Which list of a connection's devices is the latest, and when the next one is tried.
ALTER TABLE connections
    ADD COLUMN discovery_claim    bigint NOT NULL DEFAULT 0,  -- the number of the last list that was begun
    ADD COLUMN discovery_kept     bigint NOT NULL DEFAULT 0,  -- the number of the last list that was kept
    ADD COLUMN discovery_retry_at timestamptz,                -- not tried before this; null: as soon as it is due
    ADD COLUMN discovery_failures integer NOT NULL DEFAULT 0; -- attempts in a row that brought no list

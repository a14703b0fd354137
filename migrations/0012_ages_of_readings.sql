-- Observations have an age of their own, beside that of the answer that brought them.

ALTER TABLE latest
    ADD COLUMN pace_ms bigint,              -- how old observations get before newer ones come; null: none has come yet
    ADD COLUMN stale_after_ms bigint,       -- the definition's stale_after; null: six intervals and the pace
    ADD COLUMN older_replaces boolean NOT NULL DEFAULT false,  -- the definition's older_replaces
    ADD COLUMN older_since timestamptz;     -- since when answers have had older observations; null: the last had not

-- Whether the observation that stands is kept: the new one is older, and new ones have not been older for an hour
-- without a break. Caches between us and the device alternate between old copies and new ones; a clock that was set
-- back stays so.
CREATE FUNCTION keeps_observation(
    standing timestamptz, observed timestamptz, older_since timestamptz, fetched timestamptz)
RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(observed < standing AND coalesce(fetched - older_since < interval '1 hour', true), false)
$$;

-- The pace after a newer observation has come, when the one before was so old. It rises at most fourfold, so that a
-- single outage hardly counts, and sinks by an eighth.
CREATE FUNCTION next_pace_ms(pace_ms bigint, age interval) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN pace_ms IS NULL THEN greatest(0, round(extract(epoch FROM age) * 1000))::bigint
                ELSE greatest(pace_ms * 7 / 8,
                              least(round(extract(epoch FROM age) * 1000)::bigint, 4 * greatest(pace_ms, 1000))) END
$$;

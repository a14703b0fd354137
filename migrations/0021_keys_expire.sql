-- Keys that stop working by themselves, and when each was used last.

ALTER TABLE api_keys
    ADD COLUMN expires_at timestamptz,      -- null: never
    ADD COLUMN used_at timestamptz;         -- to the minute; null: not since this column exists

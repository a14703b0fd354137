-- What a cloud tells of an account that its calls need: an id, a region's host. Nobody need hide it.
ALTER TABLE connections
    ADD COLUMN bootstrap jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN bootstrap_at timestamptz;        -- when it was asked for; null: not since the secrets of now were given
-- By what the next call asks only for what is new. It vouches for the reading it stands beside, so it is written with
-- it, under the same fence.
ALTER TABLE latest ADD COLUMN validator jsonb;

-- What the cloud's own list of a connection's devices tells.
ALTER TABLE devices
    ADD COLUMN model         text NOT NULL DEFAULT '',
    ADD COLUMN missing_since timestamptz;             -- the list has left it out since then; it is kept all the same

ALTER TABLE connections
    ADD COLUMN discovery_at    timestamptz,           -- when the list was last asked for
    ADD COLUMN discovery_error text;                  -- why that brought none; null when it did

-- live: whether the schedule may be trusted: it was built, and on this very run of the server.
-- KEYS  1 anchor
-- Returns 1 or 0. After a restart the server may have forgotten its last moments, quotas spent among them.
local meta = redis.call('HMGET', META, 'run', 'built')
return (meta[1] == run_id() and meta[2]) and 1 or 0

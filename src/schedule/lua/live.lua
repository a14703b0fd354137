-- live: whether the schedule may be trusted: it was built on this run of the server, with the layout of this version.
-- KEYS  1 anchor
-- Returns 1 or 0. After a restart the server may have forgotten its last moments, quotas spent among them.
-- Uses: Keys, Clock, Const
local meta = redis.call('HMGET', Keys.meta, 'run', 'built')
local layout = meta[2] and meta[2]:match('^v(%d+) ')
return (meta[1] == Clock.run_id() and layout == Const.layout) and 1 or 0

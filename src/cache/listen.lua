-- listen: keep a tenant's changes for a while, and read them.
-- KEYS  1 the tenant's stream of changes
-- ARGV  1 seconds for which changes are kept though nobody listens
--       2 read what came after this id; empty: nothing
--       3 most entries to read
--       4 1: the first of them if there are more; else there is then nothing to read
-- Returns the id of the newest entry, whether the stream has all that came after ARGV 2 (1 or 0), and those entries
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('XADD', KEYS[1], '*', 'f', 'start') end
redis.call('EXPIRE', KEYS[1], ARGV[1])
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1][1]
if ARGV[2] == '' then return {newest, 1, {}} end
-- What came after an entry that is still there is still there. An id beyond the newest is of another stream.
local before = redis.call('XRANGE', KEYS[1], '-', ARGV[2], 'COUNT', 1)
local beyond = redis.call('XRANGE', KEYS[1], '(' .. ARGV[2], '+', 'COUNT', ARGV[3] + 1)
local known = #beyond > 0 or newest == ARGV[2]
local more = #beyond > tonumber(ARGV[3])
if #before == 0 or not known or more and ARGV[4] ~= '1' then return {newest, 0, {}} end
if more then table.remove(beyond) end
return {newest, 1, beyond}

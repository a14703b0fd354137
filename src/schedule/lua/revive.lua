-- revive: let calls be granted on this run of the server.
-- KEYS  1 anchor
-- ARGV  1 now in ms, or '' for Redis's own
--       2 '1' if calls may have been made before, '0' for a provider that is new
--       3 the last fence that Postgres has seen
-- Returns the epoch: every quota counts as fully spent at that instant, because what was spent is not known. 0 for a
-- new provider.
-- Uses: Keys, Clock
local now, run = Clock.now_ms(ARGV[1]), Clock.run_id()
local meta = redis.call('HMGET', Keys.meta, 'run', 'epoch', 'fence')
local epoch = meta[2]
if meta[1] ~= run then
  epoch = ARGV[2] == '1' and now or 0
  -- Until every job has been put again, the schedule is not built.
  redis.call('HDEL', Keys.meta, 'built')
end
local fence = math.max(tonumber(meta[3] or '0'), tonumber(ARGV[3]))
redis.call('HSET', Keys.meta, 'run', run, 'epoch', epoch, 'fence', string.format('%.0f', fence))
return tonumber(epoch)

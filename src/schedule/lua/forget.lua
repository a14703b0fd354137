-- forget: delete what the schedule keeps of connections that Postgres no longer has, once none of it counts any more.
-- KEYS  1 anchor
-- ARGV  1 now in ms, or '' for Redis's own
--       2 how long a connection must have been gone, ms: longer than any window or hold
--       3 msgpack array of {connection, lane…}: those that are gone
--       4 msgpack array of connections that were gone and are back
-- Returns how many were deleted. A connection that is met for the first time is only marked, in {p}:gone: it may come
-- back, out of a backup, while its provider still counts what it spent.
-- Uses: Keys, Command, Clock
local send = Command.send
local now, keep_ms = Clock.now_ms(ARGV[1]), tonumber(ARGV[2])
local past, lanes, keys, marks = {}, {}, {}, {}
for _, holder in ipairs(cmsgpack.unpack(ARGV[3])) do
  local connection = holder[1]
  local since = redis.call('ZSCORE', Keys.gone, connection)
  if not since then
    marks[#marks + 1] = now
    marks[#marks + 1] = connection
  elseif now - tonumber(since) >= keep_ms then
    past[#past + 1] = connection
    keys[#keys + 1] = Keys.quota .. connection
    for i = 1, #holder do lanes[#lanes + 1] = holder[i] end
  end
end
send('ZADD', Keys.gone, marks)
send('ZREM', Keys.gone, cmsgpack.unpack(ARGV[4]))
for _, key in ipairs({ Keys.quotas, Keys.quota_inputs }) do send('HDEL', key, past) end
send('SREM', Keys.groups, past)
for _, key in ipairs({ Keys.vtime, Keys.weights }) do send('HDEL', key, lanes) end
for _, key in ipairs(keys) do redis.call('DEL', key) end
-- Last, so that an error before it leaves the mark, and the next check goes on.
send('ZREM', Keys.gone, past)
return #past

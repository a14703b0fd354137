-- forget: delete what the schedule keeps of connections that Postgres no longer has, once none of it counts any more.
-- KEYS  1 anchor
-- ARGV  1 now in ms, or '' for Redis's own
--       2 how long a connection must have been gone, ms: longer than any window or hold
--       3 msgpack array of {connection, lane…}: those that are gone
--       4 msgpack array of connections that were gone and are back
-- Returns how many were deleted. A connection that is met for the first time is only marked, in {p}:gone: it may come
-- back, out of a backup, while its provider still counts what it spent.
local now, keep_ms, GONE = now_ms(ARGV[1]), tonumber(ARGV[2]), P .. 'gone'
local past, lanes, keys, marks = {}, {}, {}, {}
for _, holder in ipairs(cmsgpack.unpack(ARGV[3])) do
  local connection = holder[1]
  local since = redis.call('ZSCORE', GONE, connection)
  if not since then
    marks[#marks + 1] = now
    marks[#marks + 1] = connection
  elseif now - tonumber(since) >= keep_ms then
    past[#past + 1] = connection
    keys[#keys + 1] = P .. 'quota:' .. connection
    for i = 1, #holder do lanes[#lanes + 1] = holder[i] end
  end
end
send('ZADD', GONE, marks)
send('ZREM', GONE, cmsgpack.unpack(ARGV[4]))
for _, where in ipairs({ 'quotas', 'terms' }) do send('HDEL', P .. where, past) end
send('SREM', P .. 'homes', past)
for _, where in ipairs({ 'vtime', 'weights' }) do send('HDEL', P .. where, lanes) end
for _, key in ipairs(keys) do redis.call('DEL', key) end
-- Last, so that an error before it leaves the mark, and the next check goes on.
send('ZREM', GONE, past)
return #past

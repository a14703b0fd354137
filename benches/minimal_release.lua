-- minimal_release: the minimum of a settle: leased members become due again, one interval later.
-- KEYS  1 due
--       2 leased
-- ARGV  1 interval, ms
--       2 maximum number of members
-- Returns the number of members moved.
local found = redis.call('ZRANGE', KEYS[2], 0, ARGV[2] - 1, 'WITHSCORES')
if #found == 0 then return 0 end
local members, due = {}, {}
for i = 1, #found, 2 do
  members[(i + 1) / 2] = found[i]
  due[i], due[i + 1] = found[i + 1] + ARGV[1], found[i]
end
redis.call('ZREM', KEYS[2], unpack(members))
redis.call('ZADD', KEYS[1], unpack(due))
return #members

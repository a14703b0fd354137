-- minimal_release: the least it can do to settle: leased members are due again, an interval later.
-- KEYS  1 due
--       2 leased
-- ARGV  1 interval, ms
--       2 how many at most
-- Returns how many there were.
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

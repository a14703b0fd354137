-- minimal_lease: the minimum of a take on a sorted set: due members become leased.
-- KEYS  1 due
--       2 leased
-- ARGV  1 now, ms
--       2 maximum number of members
-- Returns the number of members moved.
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'WITHSCORES', 'LIMIT', 0, ARGV[2])
if #found == 0 then return 0 end
local members, leased = {}, {}
for i = 1, #found, 2 do
  members[(i + 1) / 2] = found[i]
  leased[i], leased[i + 1] = found[i + 1], found[i]
end
redis.call('ZREM', KEYS[1], unpack(members))
redis.call('ZADD', KEYS[2], unpack(leased))
return #members

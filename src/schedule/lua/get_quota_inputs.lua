-- get_quota_inputs: what the schedule knows of connections' quota inputs, for `paceline check`.
-- KEYS  1 anchor
-- ARGV  connections
-- Returns msgpack array, one per connection: [devices, plan]; devices -1: it has none.
-- Uses: Keys
local stored, found = redis.call('HMGET', Keys.quota_inputs, unpack(ARGV)), {}
for i = 1, #ARGV do
  local devices, plan = (stored[i] or ''):match('^(%d+) %d+ %d+ (.*)$')
  found[i] = plan and { tonumber(devices), plan } or { -1, '' }
end
return cmsgpack.pack(found)

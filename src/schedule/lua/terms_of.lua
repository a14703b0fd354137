-- terms_of: what the schedule knows of connections' terms, for `paceline check`.
-- KEYS  1 anchor
-- ARGV  connections
-- Returns msgpack array, one a connection: [devices, plan]; devices -1: it has not heard of it.
local kept, found = redis.call('HMGET', P .. 'terms', unpack(ARGV)), {}
for i = 1, #ARGV do
  local devices, plan = (kept[i] or ''):match('^(%d+) %d+ %d+ (.*)$')
  found[i] = plan and { tonumber(devices), plan } or { -1, '' }
end
return cmsgpack.pack(found)

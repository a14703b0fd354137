-- ids: the jobs the schedule knows, in some buckets, for `paceline check`.
-- KEYS  1 anchor
-- ARGV  1 first bucket  2 last bucket
-- Returns msgpack array of job ids.
local found = {}
for n = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  for _, id in ipairs(redis.call('HKEYS', P .. 'jobs:' .. n)) do found[#found + 1] = tonumber(id) end
end
return cmsgpack.pack(found)

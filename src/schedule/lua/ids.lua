-- ids: the jobs the schedule knows, in some buckets, for `paceline check`.
-- KEYS  1 anchor
-- ARGV  1 first bucket  2 last bucket: job ids without their last two digits, 0 for those that have no more
-- Returns msgpack array of job ids.
local found = {}
for n = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local key = JOBS .. (n > 0 and string.format('%d', n) or '')
  for _, id in ipairs(redis.call('HKEYS', key)) do found[#found + 1] = id end
end
return cmsgpack.pack(found)

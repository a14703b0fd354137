-- ids: the jobs the schedule knows, a page at a time, for `paceline check`.
-- KEYS  1 anchor
-- ARGV  1 first number of a page  2 the last: pages hold 131,072 numbers, those served alone and those that share calls
-- Returns msgpack array of job ids.
local found = {}
local function add(n)
  for _, id in ipairs(redis.call('HKEYS', JOBS .. n)) do found[#found + 1] = id end
end
local first, last = tonumber(ARGV[1]), tonumber(ARGV[2])
for block = math.floor(first / 131072), math.floor(last / 131072) do
  for n = 0, 2047 do add(string.format('%d:%d', block, n)) end
end
for n = math.floor(first / 100), math.floor(last / 100) do add('s' .. (n > 0 and string.format('%d', n) or '')) end
return cmsgpack.pack(found)

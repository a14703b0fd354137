-- ids: the jobs the schedule knows, some hashes at a time, for `paceline check`.
-- KEYS  1 anchor
-- ARGV  1 number of a block of job ids  2 first and  3 last of its hashes of jobs that are served alone
--       4 first and  5 last hash of jobs that can share a call; see Record.bucket
-- Returns msgpack array of job ids.
-- Uses: Keys
local found = {}
local function add(hash)
  for _, id in ipairs(redis.call('HKEYS', Keys.jobs .. hash)) do found[#found + 1] = id end
end
for n = tonumber(ARGV[2]), tonumber(ARGV[3]) do add(string.format('%d:%d', ARGV[1], n)) end
for n = tonumber(ARGV[4]), tonumber(ARGV[5]) do add('s' .. (n > 0 and string.format('%d', n) or '')) end
return cmsgpack.pack(found)

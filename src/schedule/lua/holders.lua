-- holders: of which connections, and lanes of them, the schedule keeps something; a page at a time.
-- KEYS  1 anchor
-- ARGV  1 where to look: quotas, quota_inputs, homes, vtime, weights or gone; or quota, the keys of single connections
--       2 cursor, '0' to begin
-- Returns msgpack {cursor, holders}: cursor '0' at the end. Each holder is a connection, or a lane
-- "<connection>.<group>"; some may be listed twice.
-- Uses: Keys
local where, cursor, found = ARGV[1], ARGV[2], {}
local KINDS = { homes = { 'SSCAN', 1 }, gone = { 'ZSCAN', 2 } }
if where == 'quota' then
  -- The prefix may hold characters that mean something in a pattern.
  local page = redis.call('SCAN', cursor, 'MATCH', Keys.quota:gsub('[%*%?%[%]\\]', '\\%0') .. '*', 'COUNT', 1000)
  cursor = page[1]
  for _, key in ipairs(page[2]) do
    local holder = key:sub(#Keys.quota + 1)
    if holder ~= 'app' then found[#found + 1] = holder end
  end
else
  local command, step = unpack(KINDS[where] or { 'HSCAN', 2 })
  local page = redis.call(command, Keys.anchor .. where, cursor, 'COUNT', 1000)
  cursor = page[1]
  for i = 1, #page[2], step do found[#found + 1] = page[2][i] end
end
return cmsgpack.pack({ cursor, found })

-- terms: make the schedule know what the limits of connections depend on.
-- KEYS  1 anchor
-- ARGV  1 now in ms, or '' for Redis's own
--       2 '1' to believe it whatever is known (for repair), '' otherwise
--       3 msgpack array of [connection, plan, devices, when it was read in µs]: what was read earlier than what is
--         known changes nothing
-- Returns how many have changed.
--
-- Kept as "<devices> <since ms> <read at µs> <plan>". since: the last time that the plan changed or devices went: what
-- was spent before it was of another size, and counts as all there was (see pace.lua). More devices need no such mark.
local now, believe, changed = now_ms(ARGV[1]), ARGV[2] == '1', 0
local TERMS = P .. 'terms'

-- Who waits by the former plan's pace looks again: its lanes, and the links at which they wait in line, which let in
-- those whose own instant is infinite.
local function wake_all(connection)
  local cursor = '0'
  repeat
    local page = redis.call('ZSCAN', BLOCKED, cursor, 'COUNT', 1000)
    local found, wake = page[2], {}
    for i = 1, #found, 2 do
      local member, at = found[i], tonumber(found[i + 1])
      if member:match('^!?(%d+)') == connection and at > now and at < math.huge then
        wake[#wake + 1], wake[#wake + 2] = now, member
      end
    end
    send('ZADD', BLOCKED, wake, 'XX')
    cursor = page[1]
  until cursor == '0'
end

for _, told in ipairs(cmsgpack.unpack(ARGV[3])) do
  local connection, plan, devices, read_at = told[1], told[2], told[3], told[4]
  local known, since, moved = redis.call('HGET', TERMS, connection), 0, false
  local old_devices, old_since, old_read_at, old_plan = (known or ''):match('^(%d+) (%d+) (%d+) (.*)$')
  if believe or not old_plan or tonumber(old_read_at) <= read_at then
    if old_plan then
      moved, since = old_plan ~= plan, old_since
      if moved or devices < tonumber(old_devices) then since = now end
    end
    redis.call('HSET', TERMS, connection, string.format('%d %.0f %.0f %s', devices, since, read_at, plan))
    if moved or not old_plan or devices ~= tonumber(old_devices) then changed = changed + 1 end
    if moved then wake_all(connection) end
  end
end
if changed > 0 then redis.call('PUBLISH', P .. 'wake', '') end
return changed

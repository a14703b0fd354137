-- put_quota_inputs: make the schedule know what the limits of connections depend on.
-- KEYS  1 anchor
-- ARGV  1 now in ms, or '' for Redis's own
--       2 '1' to overwrite whatever is stored (for repair), '' otherwise
--       3 msgpack array of [connection, plan, devices, when it was read in µs]: what was read earlier than what is
--         stored changes nothing
-- Returns how many have changed.
--
-- Stored as "<devices> <since ms> <read at µs> <plan>". since: the last time that the plan changed or devices went:
-- what was spent before it was of another size, and counts as all (see gcra.lua). More devices need no such mark.
-- Uses: Keys, Command, Clock
local now, overwrite, changed, moved, new = Clock.now_ms(ARGV[1]), ARGV[2] == '1', 0, {}, {}

for _, read in ipairs(cmsgpack.unpack(ARGV[3])) do
  local connection, plan, devices, read_at = read[1], read[2], read[3], read[4]
  local stored, since, is_moved = redis.call('HGET', Keys.quota_inputs, connection), 0, false
  local old_devices, old_since, old_read_at, old_plan = (stored or ''):match('^(%d+) (%d+) (%d+) (.*)$')
  if overwrite or not old_plan or tonumber(old_read_at) <= read_at then
    if old_plan then
      is_moved, since = old_plan ~= plan, old_since
      if is_moved or devices < tonumber(old_devices) then since = now end
    end
    local value = string.format('%d %.0f %.0f %s', devices, since, read_at, plan)
    redis.call('HSET', Keys.quota_inputs, connection, value)
    if is_moved or not old_plan or devices ~= tonumber(old_devices) then changed = changed + 1 end
    if is_moved then moved[connection] = true end
    if not old_plan then new[#new + 1] = connection end
  end
end

local function is_timed(at) return at and at > now and at < math.huge end

-- Without inputs a connection has the least amounts, and its lane may wait by their pace.
local function wake_new()
  local has_groups, wake = Command.ask('SMISMEMBER', Keys.groups, new), {}
  local blocked = Command.ask('ZMSCORE', Keys.blocked, new)
  for i = 1, #new do
    if has_groups[i] == 1 then
      moved[new[i]] = true
    elseif is_timed(tonumber(blocked[i])) then
      wake[#wake + 1], wake[#wake + 2] = now, new[i]
    end
  end
  Command.send('ZADD', Keys.blocked, wake, 'XX')
end

-- What waits by the former plan's pace competes again: the connection's lanes, and the links at which they wait, which
-- let in lanes whose own instant is infinite.
local function wake_moved()
  local cursor = '0'
  repeat
    local page = redis.call('ZSCAN', Keys.blocked, cursor, 'COUNT', 1000)
    local found, wake = page[2], {}
    for i = 1, #found, 2 do
      local member, at = found[i], tonumber(found[i + 1])
      if moved[member:match('^!?(%d+)') or ''] and is_timed(at) then
        wake[#wake + 1], wake[#wake + 2] = now, member
      end
    end
    Command.send('ZADD', Keys.blocked, wake, 'XX')
    cursor = page[1]
  until cursor == '0'
end
if #new > 0 then wake_new() end
if next(moved) then wake_moved() end

if changed > 0 then redis.call('PUBLISH', Keys.wake, '') end
return changed

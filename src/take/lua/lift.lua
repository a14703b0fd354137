-- lift: end holds before their time, and let the lanes and jobs that wait for them compete.
-- KEYS  1 anchor
-- ARGV  1 now in ms, or '' for Redis's own
--       2 msgpack, the spec: as for take
--       3 msgpack array of {holder, field}: those to lift; field '' for all of a holder; empty: all of the provider
-- Returns those that were lifted, as holds does
-- Uses: Keys, Command, Record, Due, State, Chain, ActiveHolds
local wanted = cmsgpack.unpack(ARGV[3])
local function is_wanted(g)
  for _, one in ipairs(wanted) do
    if one[1] == g.s.holder and (one[2] == '' or one[2] == g.field) then return true end
  end
  return #wanted == 0
end

local rows, freed, devices, has_app = {}, {}, {}, false
for _, g in ipairs(ActiveHolds.all()) do
  if is_wanted(g) then
    rows[#rows + 1] = ActiveHolds.row(g)
    freed[#freed + 1] = { g.s.holder, g.field }
    local device = g.field:match('#(.*)$')
    if device then devices[device] = true end
    has_app = has_app or g.s.holder == 'app'
    g.ends = 0
    State.touch(g)
  end
end

-- Jobs that the hold of their device had put off are due when they were.
local function bring_back()
  local ids, back = {}, {}
  for _, member in ipairs(redis.call('HKEYS', Keys.why)) do ids[#ids + 1] = member:match('^#(.*)$') end
  for id, j in pairs(Record.find(ids)) do
    local at = j and devices[string.format('%.0f', j.device)] and Due.at(id, j)
    if at and tonumber(at) > j.due then
      Due.add(id, j, j.due)
      back[#back + 1] = '#' .. id
    end
  end
  Due.write()
  Command.send('HDEL', Keys.why, back)
end

if #rows > 0 then
  State.write()
  if next(devices) then bring_back() end
  Chain.wake_freed(freed)
  if has_app then redis.call('HDEL', Keys.meta, 'app_until', 'app_why') end
  redis.call('PUBLISH', Keys.wake, '')
end
return cmsgpack.pack(rows)

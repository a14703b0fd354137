-- ActiveHolds: the holds that are not over.
-- Uses: Keys, Run, Gauge, State
-- Gives: all, row
local now = Run.now

local function all()
  local members, connections, found = redis.call('ZRANGEBYSCORE', Keys.holds, '(' .. now, '+inf'), {}, {}
  local holders, fields = {}, {}
  for i, member in ipairs(members) do
    holders[i], fields[i] = member:match('^(%S+) (.*)$')
    if holders[i] ~= 'app' then connections[#connections + 1] = holders[i] end
  end
  State.prefetch(connections)
  for i, holder in ipairs(holders) do
    local s = State.of(holder)
    State.ensure(s, { fields[i] })
    local g = State.gauge(s, fields[i], Gauge.HOLD, nil, false)
    if g.ends > 0 then found[#found + 1] = g end
  end
  return found
end

local function row(g)
  return { g.s.holder, g.field, g.ends, g.refusals, g.in_flight, g.since, g.reported, g.reason }
end

return { all = all, row = row }

-- Shared by take and settle: the state of quotas and the arithmetic on it. Twin of pace/gauge.rs.
--
-- One hash for the app and one a connection. Fields: <quota>, <quota>@<group>, <quota>#<device> hold a quota's state
--   sliding     theoretical arrival time, ms
--   aligned     <turn of the calendar, ms> <spent since>
--   concurrent  <calls in flight>
--   errors      <errors since the last success> <when the last was, ms> <calls in flight>
--   adaptive    <theoretical arrival time, ms> <rate, per window> <last cut, ms>
-- and !hold, !hold@<group>, !hold#<device> hold "<until ms> <reason>"; !holds tells until when any device is held.
--
-- The spec of a quota, from take/spec.rs: {name, field, scope, kind, background, resources = {} for all, and
--   emission_ms, burst | amount, burst, margin_ms, turns = {t0, t1, t2} | amount | amount, window_ms
--   | ceiling, start, floor, window_ms}. background: it binds only what is not a "refresh now" (the other side of a
--   reserve).
--
-- Whatever is stored, a quota counts as fully spent at the epoch, the instant the schedule was last revived after a
-- restart or a loss: no history can have left it emptier than that. The epoch of one that never was is 0.
local now, spec, epoch = now_ms(ARGV[1]), cmsgpack.unpack(ARGV[2]), 0
local CUT, CUT_PAUSE, RAISE = 0.5, 0.1, 0.02

local states = {}
local function state_of(holder)
  local s = states[holder]
  if not s then
    s = { key = P .. 'quota:' .. holder, holder = holder, has = {}, gauge = {}, dirty = {} }
    states[holder] = s
  end
  return s
end
local function ensure(s, fields)
  local missing = {}
  for i = 1, #fields do if s.has[fields[i]] == nil then missing[#missing + 1] = fields[i] end end
  if #missing == 0 then return end
  local from = 1
  while from <= #missing do
    local to = math.min(from + 3999, #missing)
    local values = redis.call('HMGET', s.key, unpack(missing, from, to))
    for i = from, to do s.has[missing[i]] = values[i - from + 1] end
    from = to + 1
  end
end

local function numbers(raw)
  local a, b, c = raw:match('^(%S+) ?(%S*) ?(%S*)')
  return tonumber(a) or 0, tonumber(b) or 0, tonumber(c) or 0
end

-- By what share of its window between two turns, margins left out, an aligned quota has been given out at an instant.
local function opened(q, turn, next_turn, at)
  local opens, closes = turn + q.margin_ms, next_turn - q.margin_ms
  if at <= opens then return 0 end
  return math.min((at - opens) / (closes - opens), 1)
end

local read = {}
function read.sliding(q, raw, epoch)
  return { tat = math.max(tonumber(raw or 0) or 0, epoch + q.burst * q.emission_ms) }
end
function read.aligned(q, raw, epoch)
  local turn, spent = 0, 0
  if raw then turn, spent = numbers(raw) end
  for i = 1, 2 do
    if epoch >= q.turns[i] and epoch < q.turns[i + 1] then
      local most = math.ceil(q.burst + (q.amount - q.burst) * opened(q, q.turns[i], q.turns[i + 1], epoch))
      if turn < q.turns[i] then turn, spent = q.turns[i], most else spent = math.max(spent, most) end
    end
  end
  return { turn = turn, spent = spent }
end
function read.concurrent(_, raw, epoch)
  return { in_flight = raw and numbers(raw) or 0, lost = epoch }
end
function read.errors(_, raw, epoch)
  local errors, last, in_flight = 0, 0, 0
  if raw then errors, last, in_flight = numbers(raw) end
  if epoch > last then errors, last = 1e9, epoch end
  return { errors = errors, last = last, in_flight = in_flight }
end
function read.adaptive(q, raw, epoch)
  local tat, rate, cut = 0, q.start, 0
  if raw then tat, rate, cut = numbers(raw) end
  rate = math.max(q.floor, math.min(rate, q.ceiling))
  return { tat = math.max(tat, epoch > 0 and epoch + q.window_ms / rate or 0), rate = rate, cut = cut }
end

local function gauge_of(s, field, q)
  local g = s.gauge[field]
  if not g then
    g = read[q.kind](q, s.has[field] or nil, epoch)
    s.gauge[field] = g
  end
  return g
end

local write = {}
function write.sliding(g) return string.format('%.3f', g.tat) end
function write.aligned(g) return string.format('%.0f %.10g', g.turn, g.spent) end
function write.concurrent(g) return string.format('%d', g.in_flight) end
function write.errors(g) return string.format('%d %.0f %d', g.errors, g.last, g.in_flight) end
function write.adaptive(g) return string.format('%.3f %.6g %.0f', g.tat, g.rate, g.cut) end

-- The earliest instant, not before `from`, at which a cost may be spent; math.huge if not before a call ends.
local when = {}
function when.sliding(q, g, cost, from)
  local at = g.tat + (cost - q.burst) * q.emission_ms
  return at > from and at or from
end
function when.adaptive(q, g, cost, from)
  return g.tat > from and g.tat or from
end
function when.aligned(q, g, cost, from)
  for i = 1, 2 do
    local turn, next_turn = q.turns[i], q.turns[i + 1]
    -- One of a later window was granted already: what this one has left is not known any more.
    if from < next_turn and g.turn <= turn then
      local spent = g.turn == turn and g.spent or 0
      local opens, closes = turn + q.margin_ms, next_turn - q.margin_ms
      local wanted, rest, given_out = spent + cost - q.burst, q.amount - q.burst, opens
      if wanted > 0 then given_out = rest > 0 and opens + wanted / rest * (closes - opens) or math.huge end
      local at = math.max(from, given_out)
      if spent + cost <= q.amount and at <= closes then return at end
    end
  end
  -- Past the turns that the asker knows: its clock is off, and our answer tells it the time.
  return math.max(q.turns[3], from + 1000)
end
function when.concurrent(q, g, cost, from)
  if g.in_flight + 1 > q.amount then return math.huge end
  -- Calls that nobody remembers may be in flight for as long as a lease lasts.
  return g.lost > 0 and math.max(from, g.lost + spec.lease_ms) or from
end
function when.errors(q, g, cost, from)
  local known = from >= g.last + q.window_ms and 0 or g.errors
  if known + g.in_flight + 1 <= q.amount then return from end
  return g.in_flight > 0 and math.huge or g.last + q.window_ms
end

local spend = {}
function spend.sliding(q, g, cost, at) g.tat = math.max(g.tat, at) + cost * q.emission_ms end
function spend.adaptive(q, g, cost, at) g.tat = math.max(g.tat, at) + cost * q.window_ms / g.rate end
function spend.aligned(q, g, cost, at)
  local turn = at >= q.turns[2] and q.turns[2] or q.turns[1]
  if turn > g.turn then g.turn, g.spent = turn, 0 end
  g.spent = g.spent + cost
end
function spend.concurrent(q, g) g.in_flight = g.in_flight + 1 end
spend.errors = spend.concurrent

-- What a call spent goes back. A sliding quota takes it only if no later grant was made: it forgets idle time, and
-- taking back a grant that idle time has already covered would let a window overflow. `after`: its arrival time then.
local refund = {}
function refund.sliding(q, g, cost, at, after)
  if math.abs(g.tat - after) < 0.002 then g.tat = after - cost * q.emission_ms end
end
function refund.adaptive(q, g, cost, at, after)
  if math.abs(g.tat - after) < 0.002 then g.tat = math.max(at, after - cost * q.window_ms / g.rate) end
end
function refund.aligned(q, g, cost, at)
  if at >= g.turn then g.spent = math.max(g.spent - cost, 0) end
end

-- How a call ended, where a quota learns from it.
local learn = {}
function learn.concurrent(q, g) g.in_flight = math.max(g.in_flight - 1, 0) end
function learn.errors(q, g, finish)
  g.in_flight = math.max(g.in_flight - 1, 0)
  if finish == 'good' then
    g.errors = 0
  elseif finish ~= 'unsent' then
    g.errors, g.last = g.errors + 1, now
  end
end
function learn.adaptive(q, g, finish, cost)
  if finish == 'throttled' then
    if now >= g.cut + q.window_ms * CUT_PAUSE then g.rate, g.cut = math.max(g.rate * CUT, q.floor), now end
  elseif finish == 'good' then
    g.rate = math.min(g.rate + RAISE * q.ceiling * cost / g.rate, q.ceiling)
  end
end

-- The quotas that count calls of a resource, by scope. Worked out once a script.
local by_resource = {}
local function quotas_of(resource)
  local found = by_resource[resource]
  if found then return found end
  found = { app = {}, connection = {}, group = {}, device = {} }
  for _, q in ipairs(spec.quotas) do
    local counts = #q.resources == 0
    for _, r in ipairs(q.resources) do counts = counts or r == resource end
    if counts then
      local of = found[q.scope]
      of[#of + 1] = q
    end
  end
  by_resource[resource] = found
  return found
end

-- A lane is a connection, or a group inside one.
local function split(lane)
  if lane.connection then return end
  local connection, group = lane.name:match('^(%d+)%.(.*)$')
  lane.connection, lane.group = connection or lane.name, group
end

-- The chain of a call: the links {state, field, quota, device} it must be granted by, the holds {state, field, false,
-- device} it must respect, and whether that is the same for every call of the lane and resource, whatever its devices.
local function chain_of(lane, resource, devices)
  local counts = quotas_of(resource)
  lane.chains = lane.chains or {}
  local chain = lane.chains[resource]
  if not chain then
    split(lane)
    local app, own = state_of('app'), state_of(lane.connection)
    local links, holds = {}, { { app, '!hold' }, { own, '!hold' } }
    local app_fields, own_fields = { '!hold' }, { '!hold', '!holds' }
    for _, q in ipairs(counts.app) do
      links[#links + 1] = { app, q.field, q }
      app_fields[#app_fields + 1] = q.field
    end
    for _, q in ipairs(counts.connection) do
      links[#links + 1] = { own, q.field, q }
      own_fields[#own_fields + 1] = q.field
    end
    for _, q in ipairs(counts.group) do
      local field = lane.group and q.field .. '@' .. lane.group or q.field
      links[#links + 1] = { own, field, q }
      own_fields[#own_fields + 1] = field
    end
    if lane.group then
      own_fields[#own_fields + 1] = '!hold@' .. lane.group
      holds[3] = { own, '!hold@' .. lane.group }
    end
    ensure(app, app_fields)
    ensure(own, own_fields)
    chain = { links = links, holds = holds, own = own }
    lane.chains[resource] = chain
  end
  local own = chain.own
  local held = own.has['!holds'] and tonumber(own.has['!holds']) > now
  if #counts.device == 0 and not held then return chain.links, chain.holds, true end
  -- A device's own limits and holds.
  local links, holds, fields = { unpack(chain.links) }, { unpack(chain.holds) }, {}
  for _, d in ipairs(devices) do
    local tag = '#' .. string.format('%.0f', d)
    for _, q in ipairs(counts.device) do
      links[#links + 1] = { own, q.field .. tag, q, d }
      fields[#fields + 1] = q.field .. tag
    end
    if held then
      holds[#holds + 1] = { own, '!hold' .. tag, false, d }
      fields[#fields + 1] = '!hold' .. tag
    end
  end
  ensure(own, fields)
  return links, holds, false
end

-- The earliest instant, not before `from`, at which the whole chain says yes, and the link that said it last.
local function earliest(links, holds, cost, from, urgent)
  local at, by = from, nil
  for _ = 1, 4 do
    local before = at
    for i = 1, #links do
      local link = links[i]
      local q = link[3]
      if not (urgent and q.background) then
        local t = when[q.kind](q, gauge_of(link[1], link[2], q), cost, at)
        if t > at then at, by = t, link end
      end
    end
    for i = 1, #holds do
      local hold = holds[i]
      local raw = hold[1].has[hold[2]]
      if raw then
        local t = tonumber(raw:match('^%S+'))
        if t > at then at, by = t, hold end
      end
    end
    -- Only a calendar can say yes now and no later.
    if at == before or at == math.huge or not spec.aligned then break end
  end
  return at, by
end

-- What people are told about who said no.
local function name_of(link)
  if link[3] then return link[3].name end
  return 'hold: ' .. (link[1].has[link[2]]:match('^%S+ (.*)$') or '')
end

-- Spends a call's cost in its whole chain. Returns what settle must know beside the instant and the cost: fields that
-- count it as in flight, and arrival times that the two do not tell.
local function spend_all(links, cost, at, urgent)
  local held, after = false, false
  for i = 1, #links do
    local link = links[i]
    local s, field, q = link[1], link[2], link[3]
    if not (urgent and q.background) then
      local g = gauge_of(s, field, q)
      local early = g.tat and g.tat > at
      spend[q.kind](q, g, cost, at)
      s.dirty[field] = q
      if g.in_flight then
        held = held or {}
        held[#held + 1] = { s.holder, field, q.kind }
      elseif early then
        after = after or {}
        after[s.holder .. ' ' .. field] = g.tat
      end
    end
  end
  return held, after
end

-- Calls that are counted as in flight are so no more. Returns the holders that have room again.
local function release(held, finish, freed)
  for _, place in ipairs(held) do
    local s, field, kind = state_of(place[1]), place[2], place[3]
    ensure(s, { field })
    local g = s.gauge[field] or read[kind](nil, s.has[field] or nil, epoch)
    s.gauge[field] = g
    learn[kind](nil, g, finish)
    s.dirty[field] = { kind = kind }
    freed[place[1]] = true
  end
end

-- Writes the state that changed, a call a holder.
local function write_states()
  for _, s in pairs(states) do
    local args = {}
    for field, q in pairs(s.dirty) do
      args[#args + 1] = field
      args[#args + 1] = write[q.kind](s.gauge[field])
    end
    send('HSET', s.key, args)
  end
end

-- Lanes that waited for a call of these holders to end compete again.
local function wake_waiters(freed)
  for holder in pairs(freed) do
    local lanes = redis.call('SMEMBERS', WAITERS .. holder)
    if #lanes > 0 then
      send('ZREM', BLOCKED, lanes)
      wake_lanes(lanes)
      redis.call('DEL', WAITERS .. holder)
    end
  end
end

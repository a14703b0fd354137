-- Shared by take and settle: the state of quotas and the arithmetic on it. Twin of pace/gauge.rs.
--
-- One hash for the app and one a connection. Fields: <quota>, <quota>@<group>, <quota>#<device> hold a quota's state
--   sliding     theoretical arrival time, µs
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
    s = { key = P .. 'quota:' .. holder, holder = holder, has = false, gauges = false, changed = false }
    states[holder] = s
  end
  return s
end
-- Reads these fields, in one call; those that were read before are not asked for again.
local function ensure(s, fields)
  local has, missing = s.has, fields
  if has then
    missing = {}
    for i = 1, #fields do if has[fields[i]] == nil then missing[#missing + 1] = fields[i] end end
    if #missing == 0 then return end
  else
    has = {}
    s.has = has
  end
  for from = 1, #missing, 4000 do
    local to = math.min(from + 3999, #missing)
    local values = redis.call('HMGET', s.key, unpack(missing, from, to))
    for i = from, to do has[missing[i]] = values[i - from + 1] end
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

-- A gauge is what is known of one quota of one holder: its state, read from what is stored, and where it belongs.
local read = {}
function read.sliding(g, raw)
  -- In µs, so that it is a whole number: those are written in half the time.
  local q = g.q
  g.tat = math.max(raw and raw / 1000 or 0, epoch + q.burst * q.emission_ms)
end
function read.aligned(g, raw)
  local turn, spent, q = 0, 0, g.q
  if raw then turn, spent = numbers(raw) end
  for i = 1, 2 do
    if epoch >= q.turns[i] and epoch < q.turns[i + 1] then
      local most = math.ceil(q.burst + (q.amount - q.burst) * opened(q, q.turns[i], q.turns[i + 1], epoch))
      if turn < q.turns[i] then turn, spent = q.turns[i], most else spent = math.max(spent, most) end
    end
  end
  g.turn, g.spent = turn, spent
end
function read.concurrent(g, raw)
  g.in_flight, g.lost = raw and numbers(raw) or 0, epoch
end
function read.errors(g, raw)
  g.errors, g.last, g.in_flight = 0, 0, 0
  if raw then g.errors, g.last, g.in_flight = numbers(raw) end
  if epoch > g.last then g.errors, g.last = 1e9, epoch end
end
function read.adaptive(g, raw)
  local tat, rate, cut, q = 0, g.q.start, 0, g.q
  if raw then tat, rate, cut = numbers(raw) end
  g.rate, g.cut = math.max(q.floor, math.min(rate, q.ceiling)), cut
  g.tat = math.max(tat, epoch > 0 and epoch + q.window_ms / g.rate or 0)
end

-- q: the quota's spec, or for one that is only counted back {kind}. line: see `link_name`.
local function new_gauge(s, field, q, device, line, raw)
  local g = { s = s, field = field, q = q, device = device, line = line, changed = false, tat = 0 }
  read[q.kind](g, raw or nil)
  return g
end
local function gauge_of(s, field, q, device, line)
  local gauges, g = s.gauges, nil
  if not gauges then
    gauges = {}
    s.gauges = gauges
  end
  for i = 1, #gauges do
    if gauges[i].field == field then
      g = gauges[i]
      break
    end
  end
  if not g then
    g = new_gauge(s, field, q, device, line, s.has[field])
    gauges[#gauges + 1] = g
  elseif g.q ~= q and q.name then
    g.q, g.device, g.line = q, device, line -- it was only counted back before
  end
  return g
end

local write = {}
function write.sliding(g) return string.format('%d', g.tat * 1000) end
function write.aligned(g) return string.format('%.0f %.10g', g.turn, g.spent) end
function write.concurrent(g) return string.format('%d', g.in_flight) end
function write.errors(g) return string.format('%d %.0f %d', g.errors, g.last, g.in_flight) end
function write.adaptive(g) return string.format('%.3f %.6g %.0f', g.tat, g.rate, g.cut) end

local function touch(g)
  g.changed = true
  g.s.changed = true
end

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
  local dot = lane.name:find('.', 1, true)
  lane.connection, lane.group = dot and lane.name:sub(1, dot - 1) or lane.name, dot and lane.name:sub(dot + 1)
end

-- A link that lanes share, but not all of them: they wait at it in a line of their own, and are let in by turns. Named
-- by its place; '!' sets it apart from lanes.
local function link_name(holder, field) return '!' .. holder .. ' ' .. field end

-- One step of a chain is a quota's gauge, or a hold with the instant it ends.
local function hold_link(s, field, device, shared)
  local raw = s.has[field]
  if not raw then return nil end
  local ends = tonumber(raw:match('^%S+'))
  if ends <= now then return nil end
  return { s = s, field = field, ends = ends, device = device, line = shared and link_name(s.holder, field) }
end

-- The app's part of every chain for a resource.
local function app_links(counts)
  if counts.links then return counts.links end
  local app, fields, links = state_of('app'), { '!hold' }, {}
  for i = 1, #counts.app do fields[i + 1] = counts.app[i].field end
  ensure(app, fields)
  for i = 1, #counts.app do
    local q = counts.app[i]
    local line = #q.resources > 0 and link_name('app', q.field)
    links[i] = gauge_of(app, q.field, q, nil, line)
    counts.lines = counts.lines or line
  end
  links[#links + 1] = hold_link(app, '!hold', nil, false)
  counts.links = links
  return links
end

-- The usual chain: a connection whose quotas nobody else shares, looked at for the first time.
local function plain_chain(lane, resource, counts, own)
  local connection, fields = counts.connection, counts.fields
  if not fields then
    fields = { '!hold', '!holds' }
    for i = 1, #connection do fields[i + 2] = connection[i].field end
    counts.fields = fields
  end
  local values = redis.call('HMGET', own.key, unpack(fields))
  own.has = { ['!hold'] = values[1], ['!holds'] = values[2] }
  local links = {}
  for i = 1, #connection do
    local q = connection[i]
    links[i] = new_gauge(own, q.field, q, nil, false, values[i + 2])
  end
  own.gauges = links
  if values[1] then
    links = { unpack(links) }
    links[#links + 1] = hold_link(own, '!hold', nil, false)
  end
  local held = values[2] and tonumber(values[2]) > now
  local chain = {
    app = counts.links, own = links, counts = counts, state = own, held = held, lines = counts.lines, alike = not held,
  }
  lane.chain, lane.of = chain, resource
  return chain
end

-- The chain of a lane's calls for a resource: the links of the app, and the lane's own: {app = {link…}, own = {link…},
-- alike = whether they are the same whatever the call's devices, lines = whether others share some of them}.
local function chain_of(lane, resource)
  local chain = lane.chain
  if chain and lane.of == resource then return chain end
  chain = lane.chains and lane.chains[resource]
  if chain then return chain end
  if not lane.connection then split(lane) end
  local counts = quotas_of(resource)
  local all, own, group = app_links(counts), state_of(lane.connection), lane.group
  local connection, links, fields = counts.connection, {}, { '!hold', '!holds' }
  if not (group or own.has or counts.group[1] or counts.device[1]) then return plain_chain(lane, resource, counts, own) end
  for i = 1, #connection do fields[i + 2] = connection[i].field end
  for _, q in ipairs(counts.group) do fields[#fields + 1] = group and q.field .. '@' .. group or q.field end
  if group then fields[#fields + 1] = '!hold@' .. group end
  ensure(own, fields)
  for i = 1, #connection do
    local q = connection[i]
    links[i] = gauge_of(own, q.field, q, nil, group and link_name(own.holder, q.field))
  end
  for _, q in ipairs(counts.group) do
    links[#links + 1] = gauge_of(own, group and q.field .. '@' .. group or q.field, q, nil, false)
  end
  links[#links + 1] = hold_link(own, '!hold', nil, group)
  if group then links[#links + 1] = hold_link(own, '!hold@' .. group, nil, false) end
  local held = own.has['!holds'] and tonumber(own.has['!holds']) > now
  chain = {
    app = all, own = links, counts = counts, state = own, held = held, lines = group or counts.lines,
    alike = #counts.device == 0 and not held,
  }
  lane.chains = lane.chains or {}
  lane.chains[resource] = chain
  return chain
end

-- A call's own links: its lane's, and its devices' limits and holds.
local function own_links(chain, members)
  if chain.alike then return chain.own end
  local own, links, fields, tags = chain.state, { unpack(chain.own) }, {}, {}
  for i = 1, #members do
    tags[i] = '#' .. string.format('%.0f', members[i].device)
    for _, q in ipairs(chain.counts.device) do fields[#fields + 1] = q.field .. tags[i] end
    if chain.held then fields[#fields + 1] = '!hold' .. tags[i] end
  end
  ensure(own, fields)
  for i = 1, #members do
    local device = members[i].device
    for _, q in ipairs(chain.counts.device) do
      links[#links + 1] = gauge_of(own, q.field .. tags[i], q, device, false)
    end
    if chain.held then links[#links + 1] = hold_link(own, '!hold' .. tags[i], device, false) end
  end
  return links
end

-- The earliest instant, not before `from`, at which all these links say yes, and the one that said it last.
local function earliest(links, cost, from, urgent)
  local at, by = from, nil
  for i = 1, #links do
    local link = links[i]
    local q, t = link.q, link.ends
    if q and not (urgent and q.background) then
      if q.kind == 'sliding' then
        t = link.tat + (cost - q.burst) * q.emission_ms
      else
        t = when[q.kind](q, link, cost, at)
      end
    end
    if t and t > at then at, by = t, link end
  end
  return at, by
end

-- Whether all these links say yes at an instant.
local function all_say_yes(links, cost, at, urgent)
  for i = 1, #links do
    local link = links[i]
    local q, t = link.q, link.ends
    if q and not (urgent and q.background) then
      if q.kind == 'sliding' then
        t = link.tat + (cost - q.burst) * q.emission_ms
      else
        t = when[q.kind](q, link, cost, at)
      end
    end
    if t and t > at then return false end
  end
  return true
end

-- What people are told about who said no.
local function name_of(link)
  if link.q then return link.q.name end
  return 'hold: ' .. (link.s.has[link.field]:match('^%S+ (.*)$') or '')
end

-- Spends a call's cost in links of its chain. What settle must know beside the instant and the cost is added to:
-- held: fields that count the call as in flight; after: arrival times that the two do not tell; may be false.
local function spend_all(links, cost, at, urgent, held, after)
  for i = 1, #links do
    local g = links[i]
    local q = g.q
    if q and not (urgent and q.background) then
      if q.kind == 'sliding' then
        local tat = g.tat
        if tat > at then
          after = after or {}
          after[g.s.holder .. ' ' .. g.field] = tat + cost * q.emission_ms
        else
          tat = at
        end
        g.tat = tat + cost * q.emission_ms
      else
        spend[q.kind](q, g, cost, at)
        if g.in_flight then
          held = held or {}
          held[#held + 1] = { g.s.holder, g.field, q.kind }
        end
      end
      g.changed = true
      g.s.changed = true
    end
  end
  return held, after
end

-- Calls that are counted as in flight are so no more. Notes the places that have room again.
local function release(held, finish, freed)
  for _, place in ipairs(held) do
    local s, field = state_of(place[1]), place[2]
    ensure(s, { field })
    local g = gauge_of(s, field, { kind = place[3] }, nil, false)
    learn[place[3]](nil, g, finish)
    touch(g)
    freed[#freed + 1] = place
  end
end

-- Writes the state that changed, a call a holder.
local function write_states()
  for _, s in pairs(states) do
    if s.changed then
      local args, gauges, n = {}, s.gauges, 0
      for i = 1, #gauges do
        local g = gauges[i]
        if g.changed then
          args[n + 1], args[n + 2] = g.field, write[g.q.kind](g)
          n = n + 2
        end
      end
      send('HSET', s.key, args)
    end
  end
end

-- Who waited for a call of these places to end may compete again: a line at a shared link, or the lane itself.
local function wake_freed(freed)
  for _, place in ipairs(freed) do
    local holder, group = place[1], place[2]:match('@(.*)$')
    redis.call('ZADD', BLOCKED, 'XX', now, link_name(holder, place[2]))
    if holder ~= 'app' then redis.call('ZADD', BLOCKED, 'XX', now, group and holder .. '.' .. group or holder) end
  end
end

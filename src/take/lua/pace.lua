-- Shared by take and settle: the state of quotas and the arithmetic on it. Twin of pace/gauge.rs.
--
-- What counts for a connection as a whole lies in one field of `quotas`, as msgpack field, value, field …: so the
-- state of many connections is read, and written, in one call. What counts for the app, or for a connection's groups
-- and devices, lies in a hash of its own. Fields: <quota>, <quota>@<group>, <quota>#<device> hold a quota's state
--   sliding     theoretical arrival time: in `quotas` a number, ms; elsewhere text, µs
--   aligned     <turn of the calendar, ms> <spent since>
--   concurrent  <calls in flight>
--   errors      <errors since the last success> <when the last was, ms> <calls in flight>
--   adaptive    <theoretical arrival time, ms> <rate, per window> <last cut, ms>
-- and !hold, !hold@<group>, !hold#<device> hold "<until ms> <reason>"; !holds tells until when any device is held.
--
-- The spec of a quota, from take/spec.rs: {name, field, scope, kind, background, resources = {} for all, and
--   emission_ms, burst | amount, burst, margin_ms, turns = {t0, t1, t2} | amount | amount, window_ms
--   | ceiling, start, floor, window_ms}. background: it binds only what is not a "refresh now" (the other side of a
--   reserve). varies = {plans = {plan -> amount}, least, per_device, per_devices, share, burst, span_ms}: its amount
--   depends on the terms of the connection, `terms` (see schedule/lua/terms.lua), and what it says beside is for one of
--   which nothing is known.
--
-- Whatever is stored, a quota counts as fully spent at the epoch, the instant the schedule was last revived after a
-- restart or a loss: no history can have left it emptier than that. The epoch of one that never was is 0.

-- The number after this fence at which a take's leases begin. It grows across a loss of Redis too: it is never below
-- the time in µs.
local function next_lease(fence)
  return (math.floor(math.max(tonumber(fence or 0), now * 1000) / 1024) + 1) * 1024
end

local QUOTAS, packed, states, NOTHING = P .. 'quotas', {}, {}, {}

-- Reads what is kept of these connections, in one call. Whoever is met later is read alone.
local function prefetch(connections)
  local missing = {}
  for i = 1, #connections do
    local connection = connections[i]
    if packed[connection] == nil then
      missing[#missing + 1] = connection
      packed[connection] = false
    end
  end
  for from = 1, #missing, 4000 do
    local to = math.min(from + 3999, #missing)
    local values = redis.call('HMGET', QUOTAS, unpack(missing, from, to))
    for i = from, to do packed[missing[i]] = values[i - from + 1] end
    if spec.terms then
      values = redis.call('HMGET', P .. 'terms', unpack(missing, from, to))
      for i = from, to do raw_terms[missing[i]] = values[i - from + 1] end
    end
  end
end

local state_of
do
local kept = usual.kept
-- The instants of another declaration, or of a connection that never was called, in the order of this one.
local function in_order(flat)
  local has, all = {}, {}
  for i = 1, #flat, 2 do has[flat[i]] = flat[i + 1] end
  for k = 1, #kept do
    local field = kept[k].field
    all[2 * k - 1], all[2 * k] = field, tonumber(has[field]) or 0
    has[field] = nil
  end
  for field, value in pairs(has) do
    all[#all + 1] = field
    all[#all + 1] = value
  end
  return all
end
-- Sliding quotas are no emptier than if they had been fully spent at that instant. terms: where limits depend on them.
local function spent_at(instant, flat, terms)
  if terms then
    local own, is_less = terms.set.kept, false
    for k = 1, #own do
      local tat = tat_on(terms, own[k], flat[2 * k], instant)
      -- Kept, or it would move with the time.
      is_less = is_less or tat < flat[2 * k]
      flat[2 * k] = tat
    end
    return flat, is_less
  end
  for k = 1, #kept do
    local q = kept[k]
    local least = instant + q.burst * q.emission_ms
    if flat[2 * k] < least then flat[2 * k] = least end
  end
  return flat, false
end
-- Once a hold is over, the connection is a usual one again: see chain_of.
local function without_past_holds(flat)
  local left = {}
  for i = 1, #flat, 2 do
    local field, value = flat[i], flat[i + 1]
    local is_past = field:sub(1, 5) == '!hold' and tonumber(value:match('^%S+')) <= now
    if not is_past then left[#left + 1], left[#left + 2] = field, value end
  end
  return left
end
local function flat_of(...)
  local flat = { ... }
  for k = 1, #kept do
    if flat[2 * k - 1] ~= kept[k].field then
      flat = in_order(flat)
      break
    end
  end
  if #flat > 2 * #kept then flat = without_past_holds(flat) end
  return flat
end
local function read_flat(raw, terms) return spent_at(epoch, flat_of(cmsgpack.unpack(raw)), terms) end

-- holder: 'app' or a connection. flat: what is kept of a whole connection, {field, value, …}. has: field → value, or
-- false, of what was asked for. In the usual case it is its own chain: see chain_of.
function state_of(holder)
  local s = states[holder]
  if not s then
    s = { holder = holder, flat = false, changed = false, app = false, own = false, counts = false, alike = false,
      state = false }
    if holder ~= 'app' then
      local raw, ok, terms = packed[holder], nil, spec.terms and terms_of(holder)
      if raw == nil then raw = redis.call('HGET', QUOTAS, holder) end
      if raw then ok, s.flat, s.changed = pcall(read_flat, raw, terms) end
      -- What cannot be read may have been anything: the sliding quotas count as spent, once; of the others and of
      -- holds, the cloud's refusals tell again.
      if not ok then
        s.flat = spent_at(raw and now or epoch, flat_of(), terms)
        s.changed = raw and true or false
      end
    end
    states[holder] = s
  end
  return s
end
end

local function state_key(s) return P .. 'quota:' .. s.holder end
local function of_all(field) return not field:find('[@#]') end

-- Reads these fields, in one call; those that were read before are not asked for again.
local function ensure(s, fields)
  local has, flat, missing = s.has, s.flat, {}
  if not has then
    has = {}
    for i = 1, flat and #flat or 0, 2 do has[flat[i]] = flat[i + 1] end
    s.has = has
  end
  for i = 1, #fields do
    local field = fields[i]
    if has[field] == nil then
      if flat and of_all(field) then has[field] = false else missing[#missing + 1] = field end
    end
  end
  for from = 1, #missing, 4000 do
    local to = math.min(from + 3999, #missing)
    local values = redis.call('HMGET', state_key(s), unpack(missing, from, to))
    for i = from, to do has[missing[i]] = values[i - from + 1] end
  end
end

-- Notes what is to be written: see write_states.
local function keep_state(s, field, value)
  s.changed = true
  local flat = s.flat
  if flat and of_all(field) then
    for i = 1, #flat, 2 do
      if flat[i] == field then
        flat[i + 1] = value
        return
      end
    end
    flat[#flat + 1] = field
    flat[#flat + 1] = value
  else
    local rest = s.rest or {}
    s.rest = rest
    rest[#rest + 1] = field
    rest[#rest + 1] = value
  end
end

local function numbers(raw)
  -- A number is an instant of a sliding quota: this one's kind was changed.
  if type(raw) == 'number' then return 0, 0, 0 end
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
  local tat, least = (tonumber(raw) or 0) / 1000, epoch + q.burst * q.emission_ms
  if q.varies then
    g.tat = tat_on(terms_of(g.s.holder), q, tat, epoch)
    if g.tat < tat then g.changed, g.s.changed = true, true end
  else
    g.tat = tat > least and tat or least
  end
end
function read.aligned(g, raw)
  local turn, spent, q, instant = 0, 0, g.q, epoch
  if raw then turn, spent = numbers(raw) end
  -- Nor is it given out at once what another plan would have given out by then.
  if q.varies then instant = math.max(epoch, terms_of(g.s.holder).since) end
  for i = 1, 2 do
    if instant >= q.turns[i] and instant < q.turns[i + 1] then
      local most = math.ceil(q.burst + (q.amount - q.burst) * opened(q, q.turns[i], q.turns[i + 1], instant))
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
    g = { s = s, field = field, q = q, device = device, line = line, changed = false, tat = 0 }
    read[q.kind](g, s.has[field] or nil)
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

-- The earliest instant, not before `from`, at which a cost may be spent; math.huge if not before a call ends. Sliding
-- quotas, the usual ones, are computed where they are met: see `earliest` and `spend_all` in chain.lua.
local when = {}
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
  -- Past the turns that the asker knows. What is beyond every grant is asked about again when it comes near; else the
  -- asker's clock is off, and our answer tells it the time.
  if from >= q.turns[3] and from > now + spec.horizon_ms then return from end
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
do
local CUT, CUT_PAUSE, RAISE = 0.5, 0.1, 0.02
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
end

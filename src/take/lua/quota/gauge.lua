-- Gauge: the arithmetic of each kind of quota on its state. Twin of pace/gauge.rs. A gauge is what is known of one
-- quota of one holder: {s = its holder's state, field, q = the quota's spec, device, waitlist, changed, and by its kind
-- tat, or window and spent, or in_flight …}. What is stored of it:
--   sliding     theoretical arrival time: in `quotas` a number, ms; elsewhere text, µs
--   aligned     <window boundary, ms> <spent since>
--   concurrent  <calls in flight>
--   errors      <errors since the last success> <when the last was, ms> <calls in flight>
--   adaptive    <theoretical arrival time, ms> <rate, per window> <last cut, ms>
--   hold        <until, ms> <refusals in a row> <calls in flight that try whether it is over> <since, ms>
--               <reported until, ms> <reason>; 0 refusals: nothing was refused. After refusals one call goes first: it
--               is over once that went well, or spec.hold.cap_ms after its end.
-- Uses: Run, Gcra, VariableLimit
-- Gives: HOLD, expiry, is_over, read, write, earliest, spend, refund, learn
local now, spec, epoch = Run.now, Run.spec, Run.epoch
local inputs_of, tat_of = VariableLimit.inputs_of, VariableLimit.tat_of

-- The spec of all holds.
local HOLD = { kind = 'hold', name = 'hold', resources = {} }
-- When a hold is forgotten.
local function expiry(ends, refusals) return refusals > 0 and ends + spec.hold.cap_ms or ends end
-- Whether a stored hold is over.
local function is_over(raw)
  local ends, refusals = raw:match('^(%S+) ?(%d*)')
  return expiry(tonumber(ends) or 0, tonumber(refusals) or 0) <= now
end

local function numbers(raw)
  -- A number is the instant of a sliding quota: the quota's kind was changed.
  if type(raw) == 'number' then return 0, 0, 0 end
  local a, b, c = raw:match('^(%S+) ?(%S*) ?(%S*)')
  return tonumber(a) or 0, tonumber(b) or 0, tonumber(c) or 0
end

-- The share of an aligned quota's window between two boundaries, margins left out, that has passed at an instant.
local function passed(q, boundary, next_boundary, at)
  local opens, closes = boundary + q.margin_ms, next_boundary - q.margin_ms
  if at <= opens then return 0 end
  return math.min((at - opens) / (closes - opens), 1)
end

-- From what is stored; nil for nothing.
local read = {}
function read.sliding(g, raw)
  -- In µs, so that it is a whole number: those are written in half the time.
  local q = g.q
  local tat = (tonumber(raw) or 0) / 1000
  if q.varies then
    g.tat = tat_of(inputs_of(g.s.holder), q, tat, Run.spent)
    if g.tat < tat then g.changed, g.s.changed = true, true end
  else
    local least = Gcra.spent_at(Run.spent, q.burst, q.emission_ms)
    g.tat = tat > least and tat or least
  end
end
function read.aligned(g, raw)
  local window, spent, q, instant = 0, 0, g.q, epoch
  if raw then window, spent = numbers(raw) end
  -- Nor is it given out at once what another plan would have given out by then.
  if q.varies then instant = math.max(epoch, inputs_of(g.s.holder).since) end
  for i = 1, 2 do
    local boundary, next_boundary = q.boundaries[i], q.boundaries[i + 1]
    if instant >= boundary and instant < next_boundary then
      local most = math.ceil(q.burst + (q.amount - q.burst) * passed(q, boundary, next_boundary, instant))
      if window < boundary then window, spent = boundary, most else spent = math.max(spent, most) end
    end
  end
  g.window, g.spent = window, spent
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

function read.hold(g, raw)
  g.ends, g.refusals, g.in_flight, g.since, g.reported, g.reason = 0, 0, 0, 0, 0, ''
  local ends, refusals, in_flight, since, reported, reason = (raw or ''):match('^(%d+) (%d+) (%d+) (%d+) (%d+) (.*)$')
  if ends and not is_over(raw) then
    g.ends, g.refusals, g.in_flight = tonumber(ends), tonumber(refusals), tonumber(in_flight)
    g.since, g.reported, g.reason = tonumber(since), tonumber(reported), reason
  end
end

-- To what is stored; false for nothing.
local write = {}
function write.sliding(g) return string.format('%d', g.tat * 1000) end
function write.aligned(g) return string.format('%.0f %.10g', g.window, g.spent) end
function write.concurrent(g) return string.format('%d', g.in_flight) end
function write.errors(g) return string.format('%d %.0f %d', g.errors, g.last, g.in_flight) end
function write.adaptive(g) return string.format('%.3f %.6g %.0f', g.tat, g.rate, g.cut) end

function write.hold(g)
  if g.ends == 0 then return false end
  return string.format('%.0f %d %d %.0f %.0f %s', g.ends, g.refusals, g.in_flight, g.since, g.reported, g.reason)
end

-- The earliest instant, not before `from`, at which a cost may be spent; math.huge if not before a call ends. Sliding
-- quotas, the usual ones, are computed where they are met: see earliest and spend_all in chain.lua.
local earliest = {}
function earliest.adaptive(_, g, _, from)
  return g.tat > from and g.tat or from
end
function earliest.aligned(q, g, cost, from)
  for i = 1, 2 do
    local boundary, next_boundary = q.boundaries[i], q.boundaries[i + 1]
    -- Once a call of a later window was granted, what this window has left is not known any more.
    if from < next_boundary and g.window <= boundary then
      local spent = g.window == boundary and g.spent or 0
      local opens, closes = boundary + q.margin_ms, next_boundary - q.margin_ms
      local wanted, rest, given_out = spent + cost - q.burst, q.amount - q.burst, opens
      if wanted > 0 then given_out = rest > 0 and opens + wanted / rest * (closes - opens) or math.huge end
      local at = math.max(from, given_out)
      if spent + cost <= q.amount and at <= closes then return at end
    end
  end
  -- Past the boundaries that the caller knows. An instant beyond every grant is computed again when it comes near; else
  -- the caller's clock is off, and our answer gives it the time.
  if from >= q.boundaries[3] and from > Run.limit then return from end
  return math.max(q.boundaries[3], from + 1000)
end
function earliest.concurrent(q, g, _, from)
  if g.in_flight + 1 > q.amount then return math.huge end
  -- Calls that a loss forgot may be in flight for as long as a lease lasts.
  return g.lost > 0 and math.max(from, g.lost + spec.lease_ms) or from
end
function earliest.errors(q, g, _, from)
  local counted = from >= g.last + q.window_ms and 0 or g.errors
  if counted + g.in_flight + 1 <= q.amount then return from end
  return g.in_flight > 0 and math.huge or g.last + q.window_ms
end

function earliest.hold(_, g, _, from)
  return g.in_flight > 0 and math.huge or math.max(from, g.ends)
end

local spend = {}
function spend.adaptive(q, g, cost, at) g.tat = math.max(g.tat, at) + cost * q.window_ms / g.rate end
function spend.aligned(q, g, cost, at)
  local boundary = at >= q.boundaries[2] and q.boundaries[2] or q.boundaries[1]
  if boundary > g.window then g.window, g.spent = boundary, 0 end
  g.spent = g.spent + cost
end
function spend.concurrent(_, g) g.in_flight = g.in_flight + 1 end
spend.errors = spend.concurrent
spend.hold = spend.concurrent

-- Gives back what a call spent. after: the theoretical arrival time it left; see Gcra.refund.
local refund = {}
function refund.sliding(q, g, cost, _, after) g.tat = Gcra.refund(g.tat, cost, after, q.emission_ms) end
function refund.adaptive(q, g, cost, at, after)
  local tat = Gcra.refund(g.tat, cost, after, q.window_ms / g.rate)
  if tat < g.tat then g.tat = math.max(at, tat) end
end
function refund.aligned(_, g, cost, at)
  if at >= g.window then g.spent = math.max(g.spent - cost, 0) end
end

-- Learns how a call ended: 'unsent', 'good', 'error', 'throttled' or 'lost'.
local learn = {}
function learn.concurrent(_, g) g.in_flight = math.max(g.in_flight - 1, 0) end
function learn.errors(_, g, finish)
  g.in_flight = math.max(g.in_flight - 1, 0)
  if finish == 'good' then
    g.errors = 0
  elseif finish ~= 'unsent' then
    g.errors, g.last = g.errors + 1, now
  end
end
-- A refusal meanwhile of a call that was sent earlier stands: feedback only tightens.
function learn.hold(_, g, finish)
  g.in_flight = math.max(g.in_flight - 1, 0)
  if finish == 'good' and g.ends <= now then g.ends, g.refusals = 0, 0 end
end
function learn.adaptive(q, g, finish, cost)
  if finish == 'throttled' then
    if now >= g.cut + q.cut_pause_ms then g.rate, g.cut = math.max(g.rate * q.cut, q.floor), now end
  elseif finish == 'good' then
    g.rate = math.min(g.rate + q.raise * cost / g.rate, q.ceiling)
  end
end

return {
  HOLD = HOLD, expiry = expiry, is_over = is_over, read = read, write = write, earliest = earliest, spend = spend,
  refund = refund, learn = learn,
}

-- VariableLimit: quotas as a connection has them, where their amounts depend on its quota inputs: its plan and how many
-- devices it has (see schedule/lua/put_quota_inputs.lua).
--
-- The spec of a quota, from take/spec.rs: {name, field, scope, kind, background, resources = {} for all, and
--   emission_ms, burst, span_ms | amount, burst, margin_ms, boundaries = {t0, t1, t2} | amount | amount, window_ms
--   | ceiling, start, floor, window_ms, cut, cut_pause_ms, raise}. background: it binds only what is not a "refresh
--   now" (the other side of a reserve). varies = {plans = {plan -> amount}, least, per_device, per_devices, share,
--   burst, span_ms}: its amount depends on the quota inputs, and the other fields are for a connection without any.
-- Uses: Keys, Run, Gcra
-- Gives: usual, prefetched, inputs_of, tat_of
local QUOTA_INPUTS, spec, limit = Keys.quota_inputs, Run.spec, Run.limit

-- The sliding quotas of connections, the usual ones, come first in what is stored, as they are declared: each knows its
-- place, `at`, and a link to it is the same for all connections of the set.
local function set_of(quotas)
  local stored = {}
  for _, q in ipairs(quotas) do
    if q.scope == 'connection' and q.kind == 'sliding' then
      stored[#stored + 1] = q
      q.at = 2 * #stored
      q.link = { q = q, at = q.at }
    end
  end
  return { quotas = quotas, stored = stored, by_resource = {} }
end
local usual = set_of(spec.quotas)

-- The quota of a connection on this plan with so many devices. Twin of provider/quota.rs.
local function varied(q, plan, devices)
  local varies, own = q.varies, {}
  if not varies then return q end
  for key, value in pairs(q) do own[key] = value end
  own.cost = nil -- what Gcra.prepare noted is for another amount
  local more = math.ceil(devices / varies.per_devices) * varies.per_device
  local amount = math.min((varies.plans[plan] or varies.least) + more, 4294967295)
  if q.kind == 'sliding' then
    own.emission_ms = varies.span_ms / math.max(amount - q.burst + 1, 1) / varies.share
  else
    own.amount = math.max(math.floor(amount * varies.share + 1e-9), 1)
    own.burst = math.min(varies.burst, own.amount)
  end
  return own
end

local known, sets, raws = {}, {}, {}
-- Notes what is stored of a connection.
local function prefetched(connection, raw) raws[connection] = raw end

-- {set = the connection's quotas, since = until when what it had spent counts as all, key = what tells these inputs
-- from others}. Quotas are computed once per script for all connections with the same inputs.
local function inputs_of(connection)
  local inputs = known[connection]
  if inputs then return inputs end
  local raw = raws[connection]
  if raw == nil then raw = redis.call('HGET', QUOTA_INPUTS, connection) end
  local devices, since, plan = (raw or ''):match('^(%d+) (%d+) %d+ (.*)$')
  inputs = { set = usual, since = 0, key = '' }
  if plan then
    local name = devices .. ' ' .. plan
    if not sets[name] then
      local quotas = {}
      for i, q in ipairs(spec.quotas) do quotas[i] = varied(q, plan, tonumber(devices)) end
      sets[name] = set_of(quotas)
    end
    since = tonumber(since)
    inputs.set, inputs.key = sets[name], name .. ' ' .. since
    inputs.since = since > 0 and since + Run.horizon or 0
  end
  known[connection] = inputs
  return inputs
end

-- The tat of a quota by these inputs, if it was fully spent at that instant.
local function tat_of(inputs, q, tat, instant)
  if not q.varies then return math.max(tat, Gcra.spent_at(instant, q.burst, q.emission_ms)) end
  return Gcra.changed(tat, q.burst, q.emission_ms, math.max(instant, inputs.since), limit)
end

return { usual = usual, prefetched = prefetched, inputs_of = inputs_of, tat_of = tat_of }

-- Shared by take and settle, before all else: what they are told, and quotas as a connection's terms have them.
--
-- A sliding quota whose T changes while it runs keeps every window. It is a bucket that holds b and fills by one a T:
-- if the change itself puts nothing in, a window holds no more than was in the bucket and what came back meanwhile,
-- which is at most the greatest of the amounts in force during it; and one that begins after the change holds at most
-- the new. By its TAT there are b - (TAT - t) / T in it. With a longer T that is more than there was: so when a
-- connection may have less than before, all counts as spent, at the last instant that can have been granted by then
-- (`since`). With a shorter T it is less than there was, which is safe. Lest somebody waits for long by the former T,
-- never is more missing at the last instant that can have been granted than the bucket holds.
local now, spec, epoch = now_ms(ARGV[1]), cmsgpack.unpack(ARGV[2]), 0

local usual, terms_of, raw_terms
do
-- The sliding quotas of connections, the usual ones, come first in what is kept, as they are declared: each knows its
-- place, `at`, and a link to it is the same for all connections on these terms.
local function set_of(quotas)
  local kept = {}
  for _, q in ipairs(quotas) do
    if q.scope == 'connection' and q.kind == 'sliding' then
      kept[#kept + 1] = q
      q.at = 2 * #kept
      q.link = { q = q, at = q.at }
    end
  end
  return { quotas = quotas, kept = kept, by_resource = {} }
end
usual = set_of(spec.quotas)

-- The quota as a connection on this plan and with so many devices has it. As provider/quota.rs computes it.
local function on_terms(q, plan, devices)
  local varies, own = q.varies, {}
  if not varies then return q end
  for key, value in pairs(q) do own[key] = value end
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

-- A connection's terms: {set = its quotas, since = when what it had spent began to count as all, key = what tells them
-- from others}. Quotas are worked out once a script for all that are on the same.
local known, sets = {}, {}
raw_terms = {}
function terms_of(connection)
  local terms = known[connection]
  if terms then return terms end
  local raw = raw_terms[connection]
  if raw == nil then raw = redis.call('HGET', P .. 'terms', connection) end
  local devices, since, plan = (raw or ''):match('^(%d+) (%d+) %d+ (.*)$')
  terms = { set = usual, since = 0, key = '' }
  if plan then
    local name = devices .. ' ' .. plan
    if not sets[name] then
      local quotas = {}
      for i, q in ipairs(spec.quotas) do quotas[i] = on_terms(q, plan, tonumber(devices)) end
      sets[name] = set_of(quotas)
    end
    since = tonumber(since)
    terms.set, terms.key = sets[name], name .. ' ' .. since
    terms.since = since > 0 and since + spec.horizon_ms or 0
  end
  known[connection] = terms
  return terms
end
end

-- A theoretical arrival time as it counts on terms of its own, if all had been spent at that instant.
local function tat_on(terms, q, tat, instant)
  local spent = q.burst * q.emission_ms
  if not q.varies then return math.max(tat, instant + spent) end
  return math.min(math.max(tat, math.max(instant, terms.since) + spent), now + spec.horizon_ms + spent)
end

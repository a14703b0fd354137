-- Quotas: what quotas learn from how calls ended.
-- Uses: Keys, Lease, Run, VariableLimit, Gauge, State, Chain, Jobs
-- Gives: freed, woken, release, learn, hold, has_gains
local BLOCKED, now, spec = Keys.blocked, Run.now, Run.spec
local LANE, RESOURCE, AT, COST = Lease.LANE, Lease.RESOURCE, Lease.AT, Lease.COST

-- Places that count fewer calls in flight, and lanes that may go because something was given back.
local freed, woken, has_given_back = {}, {}, false

local function release(held, finish) Chain.release(held, finish, freed) end

-- The links of a call's whole chain, and the state of its connection.
local function chain_links(leased)
  local members, jobs = {}, Lease.jobs_of(leased)
  for i = 1, #jobs, 2 do members[#members + 1] = Jobs.job_of(jobs[i], jobs[i + 1]) or nil end
  local chain = Chain.of({ name = leased[LANE] }, leased[RESOURCE])
  local links = { unpack(chain.app) }
  for _, link in ipairs(Chain.own_links(chain, members)) do links[#links + 1] = link end
  return links, chain.state
end

-- Gives back what a call spent in one link. after: theoretical arrival times by holder and field, see Chain.spend.
local function give_back_link(link, state, leased, after)
  local q, at, cost = link.q, leased[AT], leased[COST]
  local g = link.at and { tat = state.flat[link.at], s = state, field = q.field } or link
  local step = q.emission_ms or q.window_ms and q.window_ms / g.rate
  Gauge.refund[q.kind](q, g, cost, at, after[g.s.holder .. ' ' .. g.field] or step and at + cost * step)
  if link.at then state.flat[link.at] = g.tat end
  State.touch(g)
  -- Lanes that waited for it may compete again.
  if link.waitlist then redis.call('ZADD', BLOCKED, 'XX', now, link.waitlist) end
end

local function give_back(leased, finish)
  local after, lane = leased[Lease.AFTER] or {}, leased[LANE]
  local links, state = chain_links(leased)
  -- By other quota inputs what it had spent was of another size: it stays spent, but for a count.
  local is_other = spec.has_quota_inputs and after['!inputs'] ~= VariableLimit.inputs_of(state.holder).key
  for _, link in ipairs(links) do
    local q = link.q
    if is_other and q and q.varies and q.emission_ms then q = nil end
    if q and Gauge.refund[q.kind] and not (leased[Lease.URGENT] and q.background)
      and (finish == 'unsent' or q.free_errors) then
      give_back_link(link, state, leased, after)
    end
  end
  if redis.call('ZREM', BLOCKED, lane) == 1 then woken[#woken + 1] = lane end
  has_given_back = true
end

local function adapt(leased, finish)
  for _, link in ipairs(chain_links(leased)) do
    if link.q and link.q.kind == 'adaptive' then
      Gauge.learn.adaptive(link.q, link, finish, leased[COST])
      State.touch(link)
    end
  end
end

-- finish: how a call ended, as far as quotas are concerned.
local function learn(leased, finish)
  if leased[Lease.HELD] then release(leased[Lease.HELD], finish) end
  if finish == 'unsent' or (finish == 'error' and spec.has_free_errors) then give_back(leased, finish) end
  if spec.has_adaptive and finish ~= 'unsent' then adapt(leased, finish) end
end

-- Whether a call was the one that tries whether a hold is over.
local function tried(leased, g)
  for _, place in ipairs(leased[Lease.HELD] or {}) do
    if place[1] == g.s.holder and place[2] == g.field and place[4] == g.since then return true end
  end
end

-- When the hold after a refusal ends: after the reported wait, and at least a wait that doubles with each refusal in a
-- row. A reported wait that was capped doubles too, up to itself: a provider may restart it at each refusal.
local function ends_after(refusals, until_ms, reported_ms)
  local hold, reported_wait, doubled = spec.hold, math.max(until_ms - now, 0), 2 ^ math.min(refusals - 1, 40)
  local wait = math.max(reported_wait, math.min(hold.first_ms * doubled, hold.cap_ms))
  if reported_ms > until_ms then
    local longer = math.min(reported_ms - now, reported_wait * doubled, math.max(reported_wait, hold.reported_cap_ms))
    wait = math.max(wait, longer)
  end
  return now + math.floor(wait)
end

-- Notes a hold that a call's answer asks for. Feedback only tightens: a hold is extended, never shortened. reported_ms:
-- after a refusal, 0 if the provider did not say how long. Calls in flight at the first refusal count with it.
local function hold(leased, scope, until_ms, reason, device, reported_ms)
  local lane = leased[LANE]
  local connection, group = lane:match('^(%d+)%.(.*)$')
  local s, field = State.of(scope == 'app' and 'app' or connection or lane), '!hold'
  if scope == 'group' and group then field = '!hold@' .. group end
  if scope == 'device' then field = '!hold#' .. string.format('%.0f', device) end
  State.ensure(s, { field, '!holds' })
  local g = State.gauge(s, field, Gauge.HOLD, nil, false)
  local ends, is_first = until_ms, g.refusals == 0
  if g.ends == 0 then g.since = now end
  if reported_ms then
    local is_again = not is_first and tried(leased, g)
    g.refusals = is_first and 1 or is_again and g.refusals + 1 or g.refusals
    g.reported = (is_first or is_again) and reported_ms or math.max(g.reported, reported_ms)
    ends = ends_after(g.refusals, until_ms, reported_ms)
  end
  if ends > g.ends then g.ends, g.reason = ends, reason end
  State.touch(g)
  local forgotten = Gauge.expiry(g.ends, g.refusals)
  if scope == 'device' and tonumber(s.has['!holds'] or 0) < forgotten then
    s.has['!holds'] = string.format('%.0f', forgotten)
    State.set(s, '!holds', s.has['!holds'])
  end
end

-- Whether other workers can do more because of this settle.
local function has_gains() return has_given_back or #freed > 0 end

return {
  freed = freed, woken = woken, release = release, learn = learn, hold = hold, has_gains = has_gains,
}

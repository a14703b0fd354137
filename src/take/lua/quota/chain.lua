-- Chain: the limits and holds that a call must be granted by, from the whole app's to the device's own. A link is the
-- gauge of a quota or of a hold after refusals; another hold, with the instant it `ends`; or, for a sliding quota of a
-- connection, only its place `at` in the connection's state.
-- Uses: Keys, Run, Gcra, VariableLimit, Gauge, State, Places
-- Gives: prefetch, link_name, of, own_links, earliest, agreed, name_of, spend, release, wake_freed
local BLOCKED, now, spec = Keys.blocked, Run.now, Run.spec
local prepare = Gcra.prepare
local usual, inputs_of = VariableLimit.usual, VariableLimit.inputs_of
local HOLD, earliest_of, spend_of, learn = Gauge.HOLD, Gauge.earliest, Gauge.spend, Gauge.learn
local state_of, ensure, gauge, touch = State.of, State.ensure, State.gauge, State.touch
local has_places, later = Places.any, Places.later

-- The quotas of a set that count calls of a resource, by scope. Computed once per script.
local function quotas_of(set, resource)
  local found = set.by_resource[resource]
  if found then return found end
  found = { app = {}, connection = {}, group = {}, device = {} }
  for _, q in ipairs(set.quotas) do
    local counts = #q.resources == 0 and resource ~= 'token' -- a request for one
    for _, r in ipairs(q.resources) do counts = counts or r == resource end
    if counts then
      local of = found[q.scope]
      of[#of + 1] = q
    end
  end
  local plain = found.group[1] == nil and found.device[1] == nil and {}
  for _, q in ipairs(found.connection) do
    if plain and q.at then plain[#plain + 1] = q.link else plain = false end
  end
  found.plain = plain
  set.by_resource[resource] = found
  return found
end

-- A lane is a connection, or a group inside one.
local function split(lane)
  local name = lane.name
  local dot = name:find('.', 1, true)
  if dot then
    lane.connection, lane.group = name:sub(1, dot - 1), name:sub(dot + 1)
  else
    lane.connection = name
  end
end

-- Reads the state of these lanes' connections with one command.
local function prefetch(lanes)
  local connections = {}
  for i = 1, #lanes do
    local lane = lanes[i]
    if not lane.busy then
      if not lane.connection then split(lane) end
      connections[#connections + 1] = lane.connection
    end
  end
  State.prefetch(connections)
end

-- A shared link is one that lanes share, but not all of them: they wait at it in a waitlist of its own, named so; '!'
-- tells it from lanes.
local function link_name(holder, field) return '!' .. holder .. ' ' .. field end

-- A request for a token tries nothing: the call that does may be waiting for it.
local function hold_link(s, field, device, is_shared, resource)
  if not s.has[field] then return nil end
  local waitlist = is_shared and link_name(s.holder, field)
  local g = gauge(s, field, HOLD, device, waitlist)
  if g.refusals > 0 and g.ends > 0 and resource ~= 'token' then return g end
  if g.ends <= now then return nil end
  return {
    s = s, field = field, ends = g.ends, device = device, waitlist = waitlist, reason = g.reason,
    refusals = g.refusals,
  }
end

-- Whether lanes share a connection: it has groups, and perhaps devices in none.
local with_groups
local function has_groups(connection)
  if with_groups == nil then with_groups = redis.call('EXISTS', Keys.groups) == 1 and {} end
  if not with_groups then return false end
  local has = with_groups[connection]
  if has == nil then
    has = redis.call('SISMEMBER', Keys.groups, connection) == 1
    with_groups[connection] = has
  end
  return has
end

-- The app's part of every chain for a resource. by_turns: its sliding links that count only some resources.
local function app_links(counts, resource)
  if counts.links then return counts.links end
  local app, fields, links = state_of('app'), { '!hold' }, {}
  for i = 1, #counts.app do fields[i + 1] = counts.app[i].field end
  ensure(app, fields)
  for i = 1, #counts.app do
    local q = counts.app[i]
    local waitlist = #q.resources > 0 and link_name('app', q.field)
    links[i] = gauge(app, q.field, q, nil, waitlist)
    counts.has_waitlist = counts.has_waitlist or waitlist
    if waitlist and q.kind == 'sliding' then
      counts.by_turns = counts.by_turns or {}
      counts.by_turns[#counts.by_turns + 1] = links[i]
    end
  end
  links[#links + 1] = hold_link(app, '!hold', nil, false, resource)
  counts.links = links
  return links
end

local function is_held(flat)
  for i = 2 * #usual.stored + 1, #flat, 2 do if flat[i]:sub(1, 5) == '!hold' then return true end end
end

-- The chain of a lane's calls for a resource: {app = the app's links, own = the lane's own, counts = its quotas by
-- scope, state = its connection's, alike = whether the links are the same for all devices, shared = whether lanes share
-- some}.
local function chain_of(lane, resource)
  local chain = lane.chain
  if chain and lane.of == resource then return chain end
  chain = lane.chains and lane.chains[resource]
  if chain then return chain end
  if not lane.connection then split(lane) end
  local counts = quotas_of(spec.has_quota_inputs and inputs_of(lane.connection).set or usual, resource)
  local app, own, group = app_links(counts, resource), state_of(lane.connection), lane.group
  local shared = group or has_groups(lane.connection)
  if counts.plain and not (shared or own.state or own.has or is_held(own.flat)) then
    -- Nothing but sliding quotas of the whole connection, and no hold: the state is the chain.
    own.app, own.own, own.counts, own.alike, own.state = app, counts.plain, counts, true, own
    lane.chain, lane.of = own, resource
    return own
  end
  local connection, links, fields = counts.connection, {}, { '!hold', '!holds' }
  for i = 1, #connection do fields[i + 2] = connection[i].field end
  for _, q in ipairs(counts.group) do fields[#fields + 1] = group and q.field .. '@' .. group or q.field end
  if group then fields[#fields + 1] = '!hold@' .. group end
  ensure(own, fields)
  for i = 1, #connection do
    local q = connection[i]
    local waitlist = shared and link_name(own.holder, q.field)
    if not q.at then
      links[i] = gauge(own, q.field, q, nil, waitlist)
    else
      links[i] = waitlist and { q = q, at = q.at, waitlist = waitlist } or q.link
    end
  end
  for _, q in ipairs(counts.group) do
    links[#links + 1] = gauge(own, group and q.field .. '@' .. group or q.field, q, nil, false)
  end
  links[#links + 1] = hold_link(own, '!hold', nil, shared, resource)
  if group then links[#links + 1] = hold_link(own, '!hold@' .. group, nil, false, resource) end
  local held = own.has['!holds'] and tonumber(own.has['!holds']) > now
  chain = {
    app = app, own = links, counts = counts, state = own, held = held, shared = shared,
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
      links[#links + 1] = gauge(own, q.field .. tags[i], q, device, false)
    end
    if chain.held then links[#links + 1] = hold_link(own, '!hold' .. tags[i], device, false) end
  end
  return links
end

-- The earliest instant, not before `from`, that all these links allow, and the link that allows it last. state: the
-- connection's, for links that are only places in it.
local function earliest(links, state, cost, from, urgent)
  local at, by = from, nil
  for i = 1, #links do
    local link = links[i]
    local q, t = link.q, link.ends
    if q and not (urgent and q.background) then
      if q.kind == 'sliding' then
        local place = link.at
        if q.cost ~= cost then prepare(q, cost) end
        t = (place and state.flat[place] or link.tat) + q.wait_ms
      else
        t = earliest_of[q.kind](q, link, cost, at)
      end
      if has_places then t = later(t, link, state, cost, at) end
    end
    if t and t > at then at, by = t, link end
  end
  return at, by
end

-- The instant that both parts of a chain allow, and the link that allows it last; then that of each part. Only an
-- aligned quota can allow an instant and no later one: then both are asked again.
local function agreed(app, own, state, cost, from, urgent)
  local app_at, by = earliest(app, state, cost, from, urgent)
  local own_at, own_by = earliest(own, state, cost, from, urgent)
  local at = app_at
  if own_at > at then at, by = own_at, own_by end
  for _ = 1, spec.has_aligned and 3 or 0 do
    local again, again_by = earliest(app, state, cost, at, urgent)
    local last, last_by = earliest(own, state, cost, again, urgent)
    by = last > again and last_by or again > at and again_by or by
    if last == at or last == math.huge then break end
    at = last
  end
  return at, by, app_at, own_at
end

-- The quota or hold, for people.
local function name_of(link)
  local q = link.q
  if q and q ~= HOLD then return q.name end
  local again = link.refusals > 1 and ', ' .. link.refusals .. ' refusals in a row' or ''
  local trying = q and link.in_flight > 0 and '; one call tries whether it is over' or ''
  return 'hold: ' .. link.reason .. again .. trying
end

local function spend_links(links, state, cost, at, urgent, held, after)
  for i = 1, #links do
    local g = links[i]
    local q = g.q
    if q and not (urgent and q.background) then
      local s, flat = g.s or state, g.at and state.flat
      if q.kind == 'sliding' then
        local tat = flat and flat[g.at] or g.tat
        if q.cost ~= cost then prepare(q, cost) end
        local next_tat = at + q.step_ms
        if tat > at then
          next_tat = tat + q.step_ms
          after = after or {}
          after[s.holder .. ' ' .. (g.field or q.field)] = next_tat
        end
        if flat then flat[g.at] = next_tat else g.tat = next_tat end
      else
        spend_of[q.kind](q, g, cost, at)
        if g.in_flight then
          held = held or {}
          held[#held + 1] = { g.s.holder, g.field, q.kind, g.since }
        end
      end
      if not flat then g.changed = true end
      s.changed = true
    end
  end
  return held, after
end

-- Spends a call's cost in all links of its chain. Returns what settle must know beside the instant and the cost, each
-- may be false: held, {holder, field, kind, of a hold since when} of what counts the call as in flight; after,
-- arrival times that these two do not give, and under '!inputs' the quota inputs that they were computed by.
local function spend(chain, own, cost, at, urgent)
  local state = chain.state
  local held, after = spend_links(chain.app, state, cost, at, urgent, false, false)
  held, after = spend_links(own, state, cost, at, urgent, held, after)
  if spec.has_quota_inputs then
    after = after or {}
    after['!inputs'] = inputs_of(state.holder).key
  end
  return held, after
end

-- Calls that are counted as in flight are so no more. Adds the places that have room again to freed.
local function release(held, finish, freed)
  for _, place in ipairs(held) do
    local s, field = state_of(place[1]), place[2]
    ensure(s, { field })
    local g = gauge(s, field, { kind = place[3] }, nil, false)
    -- Of a hold that was forgotten meanwhile, another one has nothing to learn.
    if not place[4] or place[4] == g.since then
      learn[place[3]](nil, g, finish)
      touch(g)
    end
    freed[#freed + 1] = place
  end
end

-- Lets those compete again who wait for a call of these places to end: a shared link, or the lane itself.
local function wake_freed(freed)
  for _, place in ipairs(freed) do
    local holder, group = place[1], place[2]:match('@(.*)$')
    redis.call('ZADD', BLOCKED, 'XX', now, link_name(holder, place[2]))
    if holder ~= 'app' then redis.call('ZADD', BLOCKED, 'XX', now, group and holder .. '.' .. group or holder) end
  end
end

return {
  prefetch = prefetch, link_name = link_name, of = chain_of, own_links = own_links, earliest = earliest,
  agreed = agreed, name_of = name_of, spend = spend, release = release, wake_freed = wake_freed,
}

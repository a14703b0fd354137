-- Shared by take and settle: the chain of limits and holds that a call must be granted by, from the whole app's to the
-- device's own.

-- The quotas of a set that count calls of a resource, by scope. Worked out once a script.
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
local function prefetch_lanes(lanes)
  local connections = {}
  for i = 1, #lanes do
    local lane = lanes[i]
    if not lane.busy then
      if not lane.connection then split(lane) end
      connections[#connections + 1] = lane.connection
    end
  end
  prefetch(connections)
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

local chain_of
do
-- Whether lanes share an account: it has homes, and perhaps devices in none.
local known_homes
local function is_shared(connection)
  if known_homes == nil then known_homes = redis.call('EXISTS', HOMES) == 1 and {} end
  local homes = known_homes
  if not homes then return false end
  local is = homes[connection]
  if is == nil then
    is = redis.call('SISMEMBER', HOMES, connection) == 1
    homes[connection] = is
  end
  return is
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
    if line and q.kind == 'sliding' then
      counts.turns = counts.turns or {}
      counts.turns[#counts.turns + 1] = links[i]
    end
  end
  links[#links + 1] = hold_link(app, '!hold', nil, false)
  counts.links = links
  return links
end

local function is_held(flat)
  for i = 2 * #usual.kept + 1, #flat, 2 do if flat[i]:sub(1, 5) == '!hold' then return true end end
end

-- The chain of a lane's calls for a resource: the links of the app, and the lane's own: {app = {link…}, own = {link…},
-- state, alike = whether they are the same whatever the call's devices, lines = whether others share some of them}.
function chain_of(lane, resource)
  local chain = lane.chain
  if chain and lane.of == resource then return chain end
  chain = lane.chains and lane.chains[resource]
  if chain then return chain end
  if not lane.connection then split(lane) end
  local counts = quotas_of(spec.terms and terms_of(lane.connection).set or usual, resource)
  local all, own, group = app_links(counts), state_of(lane.connection), lane.group
  local shared = group or is_shared(lane.connection)
  if counts.plain and not (shared or own.state or own.has or is_held(own.flat)) then
    -- Nothing but sliding quotas of the whole connection, and no hold: it needs no links of its own.
    own.app, own.own, own.counts, own.alike, own.state = all, counts.plain, counts, true, own
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
    local line = shared and link_name(own.holder, q.field)
    if not q.at then
      links[i] = gauge_of(own, q.field, q, nil, line)
    else
      links[i] = line and { q = q, at = q.at, line = line } or q.link
    end
  end
  for _, q in ipairs(counts.group) do
    links[#links + 1] = gauge_of(own, group and q.field .. '@' .. group or q.field, q, nil, false)
  end
  links[#links + 1] = hold_link(own, '!hold', nil, shared)
  if group then links[#links + 1] = hold_link(own, '!hold@' .. group, nil, false) end
  local held = own.has['!holds'] and tonumber(own.has['!holds']) > now
  chain = {
    app = all, own = links, counts = counts, state = own, held = held, lines = shared,
    alike = #counts.device == 0 and not held,
  }
  lane.chains = lane.chains or {}
  lane.chains[resource] = chain
  return chain
end
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
-- state: the connection's, where links are only places in what is kept of it.
local function earliest(links, state, cost, from, urgent)
  local at, by = from, nil
  for i = 1, #links do
    local link = links[i]
    local q, t = link.q, link.ends
    if q and not (urgent and q.background) then
      if link.at then
        t = state.flat[link.at] + (cost - q.burst) * q.emission_ms
      elseif q.kind == 'sliding' then
        t = link.tat + (cost - q.burst) * q.emission_ms
      else
        t = when[q.kind](q, link, cost, at)
      end
    end
    if t and t > at then at, by = t, link end
  end
  return at, by
end

-- The instant at which both parts of a chain say yes, and who said it last. Only a calendar can say yes now and no
-- later: then it is asked again.
local function agreed(app, own, state, cost, from, urgent)
  local app_at, by = earliest(app, state, cost, from, urgent)
  local own_at, own_by = earliest(own, state, cost, from, urgent)
  local at = app_at
  if own_at > at then at, by = own_at, own_by end
  for _ = 1, spec.aligned and 3 or 0 do
    local again, app_says = earliest(app, state, cost, at, urgent)
    local last, own_says = earliest(own, state, cost, again, urgent)
    by = last > again and own_says or again > at and app_says or by
    if last == at or last == math.huge then break end
    at = last
  end
  return at, by, app_at, own_at
end

-- What people are told about who said no.
local function name_of(link)
  if link.q then return link.q.name end
  return 'hold: ' .. (link.s.has[link.field]:match('^%S+ (.*)$') or '')
end

-- Spends a call's cost in links of its chain. What settle must know beside the instant and the cost is added to:
-- held: fields that count the call as in flight; after: arrival times that the two do not tell; may be false.
local function spend_all(links, state, cost, at, urgent, held, after)
  for i = 1, #links do
    local g = links[i]
    local q = g.q
    if q and not (urgent and q.background) then
      local s, flat = g.s or state, g.at and state.flat
      if q.kind == 'sliding' then
        local tat = flat and flat[g.at] or g.tat
        local next_tat = (tat > at and tat or at) + cost * q.emission_ms
        if tat > at then
          after = after or {}
          after[s.holder .. ' ' .. (g.field or q.field)] = next_tat
        end
        if flat then flat[g.at] = next_tat else g.tat = next_tat end
      else
        spend[q.kind](q, g, cost, at)
        if g.in_flight then
          held = held or {}
          held[#held + 1] = { g.s.holder, g.field, q.kind }
        end
      end
      if not flat then g.changed = true end
      s.changed = true
    end
  end
  return held, after
end

-- Notes beside the arrival times on which terms they were.
local function with_terms(after, state)
  after = after or {}
  after['!terms'] = terms_of(state.holder).key
  return after
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

-- Writes the state that changed.
local function write_states()
  local whole, n = {}, 0
  for holder, s in pairs(states) do
    if s.changed then
      local gauges, flat = s.gauges or NOTHING, s.flat
      for i = 1, #gauges do
        local g = gauges[i]
        if g.changed then
          keep_state(s, g.field, write[g.q.kind](g))
        end
      end
      if flat and flat[1] then
        whole[n + 1], whole[n + 2] = holder, cmsgpack.pack(unpack(flat))
        n = n + 2
      end
      if s.rest then send('HSET', state_key(s), s.rest) end
    end
  end
  send('HSET', QUOTAS, whole)
end

-- Who waited for a call of these places to end may compete again: a line at a shared link, or the lane itself.
local function wake_freed(freed)
  for _, place in ipairs(freed) do
    local holder, group = place[1], place[2]:match('@(.*)$')
    redis.call('ZADD', BLOCKED, 'XX', now, link_name(holder, place[2]))
    if holder ~= 'app' then redis.call('ZADD', BLOCKED, 'XX', now, group and holder .. '.' .. group or holder) end
  end
end

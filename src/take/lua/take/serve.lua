-- Serve: one call of a lane: its best jobs that its chain lets go.
-- Uses: Keys, Record, Due, Lanes, Run, Chain, Found, Rank, Waitlist, Contenders, Grant, Room
-- Gives: serve, has_room
local now, spec, limit, min = Run.now, Run.spec, Run.limit, math.min
local ranks_before, list_of, heap, later = Rank.before, Waitlist.of, Contenders.heap, Contenders.later
local chain_of, own_links, agreed, earliest = Chain.of, Chain.own_links, Chain.agreed, Chain.earliest
local departed, deferred, corrupt = Found.departed, Found.deferred, Found.corrupt
local remove_due, name_of, grant = Due.remove, Chain.name_of, Grant.grant

-- Ids that leave a ready set, whether or not their lane comes to be served.
local function depart(key, id)
  local ids = departed[key]
  if ids then ids[#ids + 1] = id else departed[key] = { id } end
end

-- How much of a backlog this take may still look at: jobs, and one more per lane.
local left = spec.jobs_max
local function has_room() return left > 0 end

-- A backlog's jobs for this take, by resource and in rank order: as many as its share of the calls may serve.
local waiting_lanes
local function load_lane(lane, calls_left)
  lane.queues = {}
  left = left - 1
  waiting_lanes = waiting_lanes or redis.call('ZCARD', Keys.lanes)
  local share = math.max(math.ceil(calls_left / math.max(#heap, waiting_lanes)), Contenders.CALLS_PER_LOOK)
  for resource, r in pairs(spec.resources) do
    local most = math.min(r.max * share, math.max(r.max, left), 1000)
    local found, has_more = Rank.best(resource .. ':' .. lane.name, most)
    if #found > 0 then
      local queue, ids = { resource = resource, more = has_more, first = 1 }, {}
      for i = 1, #found do ids[i] = found[i].id end
      left = left - #ids
      local jobs = Record.read(ids, r.max > 1)
      for i = 1, #ids do
        local id = ids[i]
        local j = jobs[id]
        if j then
          j.score, j.key = found[i].score, found[i].key
          queue[#queue + 1] = j
        else
          depart(found[i].key, id)
          corrupt[#corrupt + 1] = id
        end
      end
      lane.queues[resource] = queue
    end
  end
end

-- The queue whose head ranks best.
local function best_of(lane, skip)
  local best
  for resource, queue in pairs(lane.queues) do
    local head = queue[queue.first]
    if head and not (skip and skip[resource]) then
      if not best or ranks_before(head, best[best.first]) then best = queue end
    end
  end
  return best
end

-- A device's own limit: its jobs of this call are put off until they can compete again, and the lane goes on.
local function put_off(queue, members, link, at)
  -- As far ahead as others may be granted that instant, so that all that want it are ranked for it.
  local again = math.max(at == math.huge and Run.limit or at - Run.horizon, now + 1)
  local rest, off = {}, {}
  for i = 1, #members do
    local j = members[i]
    if j.device == link.device then off[j.id] = true end
  end
  for i = queue.first, #queue do
    local j = queue[i]
    if off[j.id] then
      if not queue.fresh then depart(j.key, j.id) end
      deferred[#deferred + 1] = { j, again, name_of(link) }
    else
      rest[#rest + 1] = j
    end
  end
  for i = 1, #queue do queue[i] = rest[i] end
  queue.first = 1
end

-- Whether what stops the best queue of a lane counts another resource too: no queue goes ahead of a better one by
-- costing less, or the expensive one would wait for ever.
local function stops(by, resource, other)
  if other == resource or not by.q or #by.q.resources == 0 then return true end
  for _, r in ipairs(by.q.resources) do if r == other then return true end end
end

-- Takes a call's jobs out of their queue and grants it.
local function grant_first(lane, chain, own, queue, members, cost, at, urgent)
  queue.first, lane.waited = queue.first + #members, false
  for i = 1, #members do
    local j = members[i]
    if queue.fresh then remove_due(j.id, j) else depart(j.key, j.id) end
  end
  grant(lane, chain, own, queue.resource, members, cost, at, urgent)
  Found.app_opens = earliest(chain.app, chain.state, cost, now, false)
  if lane.hot then
    local head = best_of(lane, nil)
    if not (head and head[head.first].urgent) then lane.start, lane.hot = lane.start + Lanes.HOT_LEAD, false end
  end
end

-- No call of the lane can go until `soonest`, which the link `why` says.
local function block(lane, soonest, why, partly)
  lane.until_ms, lane.why, lane.partly = soonest, name_of(why), partly
  if why.waitlist then
    local list = list_of(why.waitlist)
    list.opens_at = math.min(list.opens_at or math.huge, soonest)
    list.blocked[#list.blocked + 1] = lane
    lane.waits_at = why.waitlist
  end
end

-- Serves one call of the lane. Returns 'granted', 'later' (others can go sooner), 'blocked', 'empty', 'full' (there is
-- no room for more calls of its connection), 'waits' (the link that let it in has closed) or 'app' (no lane can be
-- served).
local function serve(lane)
  if Room.is_full(lane) then return 'full' end
  if lane.let_in and Waitlist.is_closed(lane.let_in.name) and not lane.hot then return 'waits' end
  if not lane.queues then load_lane(lane, Found.calls_max - #Found.calls) end
  local skip, soonest, why, partly
  while true do
    local queue = best_of(lane, skip)
    if not queue then break end
    local r, resource, first = spec.resources[queue.resource], queue.resource, queue.first
    if not r then
      -- The definition does not have this resource: another process, with an older or newer one, may.
      skip = skip or {}
      skip[resource] = true
    else
      local members = { queue[first] }
      for i = 2, min(r.max, #queue - first + 1) do members[i] = queue[first + i - 1] end
      local urgent, chain = members[1].urgent or false, chain_of(lane, resource)
      local own, cost = own_links(chain, members), r.cost + r.cost_per_device * #members
      local at, by, app_at, own_at = agreed(chain.app, own, chain.state, cost, Run.from, urgent)
      local by_turns = not urgent and chain.counts.by_turns
      local others = by_turns and at <= limit and Waitlist.behind_at(lane, by_turns)
      if others then at, by = math.max(at, others.tat), others end
      if at <= limit then
        -- The app's instants are not kept waiting for a lane whose own comes later, while others could go.
        if own_at > app_at + 0.01 and not lane.waited and #chain.app > 0 and (#heap > 1 or #later > 0) then
          lane.own_at = own_at
          return 'later'
        end
        grant_first(lane, chain, own, queue, members, cost, at, urgent)
        return 'granted'
      end
      local is_of_some = by.q and #by.q.resources > 0
      if by.s and by.s.holder == 'app' and not by.waitlist then
        Found.app_until, Found.app_why = at, name_of(by)
        return 'app'
      elseif by.device then
        put_off(queue, members, by, at)
      else
        skip = skip or {}
        for other in pairs(lane.queues) do skip[other] = skip[other] or stops(by, resource, other) end
        partly = partly or is_of_some
        for i = 1, by_turns and #by_turns or 0 do list_of(by_turns[i].waitlist).keeping[lane.name] = lane end
        if by.waitlist then list_of(by.waitlist).is_scarce = true end
        if not soonest or at < soonest then soonest, why = at, by end
      end
    end
  end
  if not soonest then return 'empty' end
  block(lane, soonest, why, partly)
  return 'blocked'
end

return { serve = serve, has_room = has_room }

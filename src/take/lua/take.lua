-- take: grant the calls that may be sent now, or within the horizon: reap, promote, choose, rank, pace, lease.
-- KEYS  1 anchor "<prefix>{<provider>}:"
-- ARGV  1 now in ms, or '' for Redis's own
--       2 msgpack {horizon_ms, ahead_ms, lease_ms, promote, ride_share, ride_ms, k, base = {b1..b5}, aligned,
--                  quotas (see pace.lua), resources = {name -> {max, cost, cost_per_device}}}
--       3 how many calls
-- Returns msgpack {live, now, wake_ms or -1, reaped, calls, bound, corrupt}
--   calls = {[number, lane, resource, send_in_ms, id, due, attempts, kind of the last failure, version, id, …]…}: the
--           number is the call's fence; those that share a lease are counted from a multiple of 32, which names it
--   bound = {[lane, or '' for all, quota or hold, until_ms, or -1 until a call ends]…}
--   corrupt = {id…}: jobs set aside because their records cannot be read
--   wake_ms: when to ask again if nothing else happens; -1: when something is put or a call ends.
--   live: false when the schedule was not built on this run of the server (see revive.lua); nothing is granted then.
-- All quotas of a call's scope chain are spent together, or none is.
-- What is due within `ahead` is granted for its instant if nothing at all stands in its way, so that it is not late.
-- Lanes with a backlog enter in order of virtual time, so the least of those on the heap is the least of all.
local opened, loaded, more_lanes, frontier = {}, 0, true, -math.huge
for i = 1, #fresh do
  if not fresh[i].busy then opened[fresh[i].name] = fresh[i] end
end
local function enter(names, starts, line)
  local weights, entered = ask('HMGET', WEIGHTS, names), {}
  for i = 1, #names do
    local name, start = names[i], starts[i]
    if not opened[name] then
      local lane = {
        name = name, start = start, hot = start < 0, weight = tonumber(weights[i] or 1), backlog = true,
        connection = false, chain = false, of = false, queues = false,
      }
      opened[name] = lane
      entered[#entered + 1] = lane
      if line then
        lane.line, lane.turn = line, line.from + i
        line.pending = line.pending + 1
      end
      push(lane)
    end
  end
  prefetch_lanes(entered)
end
local function open_more()
  local got, names, starts = redis.call('ZRANGE', LANES, loaded, loaded + 31, 'WITHSCORES'), {}, {}
  loaded = loaded + #got / 2
  more_lanes = #got == 64
  for i = 1, #got, 2 do
    names[#names + 1], starts[#starts + 1] = got[i], tonumber(got[i + 1])
  end
  frontier = starts[#starts] or frontier
  enter(names, starts, nil)
end
open_more()

-- Lets a few of those in who wait at a link that has opened, the one that had least of it first.
local function pull(line)
  local got, names = redis.call('ZRANGE', WAIT .. line.name, line.from, line.from + 7), {}
  for i = 1, #got do names[i] = got[i] end
  local left, hot, starts = ask('HMGET', VTIME, names), ask('SMISMEMBER', HOT, names), {}
  for i = 1, #names do starts[i] = start_of(v, left[i]) - (hot[i] == 1 and AHEAD or 0) end
  -- Against others they compete as what they had of everything says; among themselves, of this.
  table.sort(starts)
  enter(names, starts, line)
  line.from, line.more = line.from + #got, #got == 8
end
for _, line in ipairs(open_links) do
  line.from, line.pending = 0, 0
  pull(line)
end

-- A backlog's jobs for this take, by resource and in rank order: as many as its share of the calls may serve; those
-- beyond are left for the next.
-- While the app's own limit stops nobody, a lane that is looked at gets up to so many calls: what is fair is decided by
-- its start tag all the same, and most of what a call costs is the look.
local TURNS = 8
local in_line
-- Who leaves a ready set, by its key: written for every lane, whether or not it came to its turn.
local departed = {}
local function depart(key, id)
  local ids = departed[key]
  if ids then ids[#ids + 1] = id else departed[key] = { id } end
end
local function load_lane(lane, calls_left)
  lane.queues = {}
  in_line = in_line or redis.call('ZCARD', LANES)
  local turns = math.max(math.ceil(calls_left / math.max(#heap, in_line)), TURNS)
  for resource, r in pairs(spec.resources) do
    local found, more = ranked(resource .. ':' .. lane.name, math.min(r.max * turns, 1000))
    if #found > 0 then
      local queue, ids = { resource = resource, more = more }, {}
      for i = 1, #found do ids[i] = found[i].id end
      local jobs = r.max > 1 and read_jobs(ids, true) or read_jobs(ids, false)
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
    if queue[queue.first or 1] and not (skip and skip[resource]) then
      if not best or ranks_before(queue[queue.first or 1], best[best.first or 1]) then best = queue end
    end
  end
  return best
end

-- Jobs that leave a queue are noted: where they are taken from is written at the end.
local function leave(queue, j)
  if queue.fresh then leave_due(j.id, j) else depart(j.key, j.id) end
end

local serve
do
-- A device's own limit: its jobs of this call step aside until they can compete again, and the lane goes on.
local function put_off(queue, members, link, at)
  -- As far ahead as others may be granted that instant: who waits longest shall be among those who ask for it.
  local again = math.max(at == math.huge and now + spec.horizon_ms or at - spec.horizon_ms, now + 1)
  local rest, off = {}, {}
  for i = 1, #members do
    local j = members[i]
    if j.device == link.device then off[j.id] = true end
  end
  for i = queue.first or 1, #queue do
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

-- Whether what stops the best of a lane counts a resource too: nobody goes ahead of a better one by costing less, or
-- who is dear would wait for ever.
local function stops(by, resource, other)
  if other == resource or not by.q or #by.q.resources == 0 then return true end
  for _, r in ipairs(by.q.resources) do if r == other then return true end end
end

-- Where a lane stands in a line: its virtual time there, with what it had in this take.
local function tag_of(line, name, lane)
  local tag = line.tags[lane]
  if not tag then
    tag = tonumber(redis.call('ZSCORE', WAIT .. name, lane)) or start_of(line.v, redis.call('HGET', LEFT .. name, lane))
    if tag < 0 then tag = tag + AHEAD end
    line.tags[lane] = tag
  end
  return tag + (line.charges[lane] or 0)
end
local function is_behind(name, lane)
  local line = line_of(name)
  if not line.tags then
    line.tags, line.first = {}, redis.call('ZRANGE', WAIT .. name, 0, 7)
    line.v = tonumber(redis.call('HGET', LINKS, name) or 0)
  end
  for _, other in ipairs(line.first) do
    if other ~= lane.name and tag_of(line, name, other) < tag_of(line, name, lane.name) - 1e-6 then return true end
  end
  return false
end

-- The app's link for some resources at which others stand ahead of this lane, who may be held up by limits of their
-- own. It is left to them while that loses nothing: until it has room for a whole burst.
local function ahead_of(lane, turns)
  for i = 1, #turns do
    local link = turns[i]
    if link.tat > limit and is_behind(link.line, lane) then return link end
  end
end

-- Serves one call of the lane. Returns 'granted', 'later' (others can go sooner), 'blocked', 'empty', 'waits' (its link
-- has closed) or 'app' (nobody can be served).
function serve(lane)
  if lane.line and lines[lane.line.name] and lines[lane.line.name].at and not lane.hot then return 'waits' end
  if not lane.queues then load_lane(lane, calls_max - #calls) end
  local skip, soonest, why, partly
  while true do
    local queue = best_of(lane, skip)
    if not queue then break end
    local r, resource, first = spec.resources[queue.resource], queue.resource, queue.first or 1
    if not r then
      -- A resource that the definition has no more: another process, with an older or newer one, may know it.
      skip = skip or {}
      skip[resource] = true
    else
      local members = {}
      for i = 1, math.min(r.max, #queue - first + 1) do members[i] = queue[first + i - 1] end
      local urgent, chain = members[1].urgent or false, chain_of(lane, resource)
      local own, cost = own_links(chain, members), r.cost + r.cost_per_device * #members
      local at, by, app_at, own_at = agreed(chain.app, own, chain.state, cost, now, urgent)
      local turns = not urgent and chain.counts.turns
      local others = turns and at <= limit and ahead_of(lane, turns)
      if others then at, by = others.tat, others end
      if at <= limit then
        -- The app's own instants are not to be kept waiting for a lane whose time comes later, while others could go.
        if own_at > app_at + 0.01 and not lane.waited and #chain.app > 0 and (#heap > 1 or #later > 0) then
          lane.own_at = own_at
          return 'later'
        end
        queue.first, lane.waited = first + #members, false
        for i = 1, #members do leave(queue, members[i]) end
        grant(lane, chain, own, resource, members, cost, at, urgent)
        tau = earliest(chain.app, chain.state, cost, now, false)
        if lane.hot then
          local head = best_of(lane, nil)
          if not (head and head[head.first or 1].urgent) then lane.start, lane.hot = lane.start + AHEAD, false end
        end
        return 'granted'
      end
      local of_some = by.q and #by.q.resources > 0
      if by.s and by.s.holder == 'app' and not by.line then
        app_until, app_why = at, name_of(by)
        return 'app'
      elseif by.device then
        put_off(queue, members, by, at)
      else
        skip = skip or {}
        for other in pairs(lane.queues) do skip[other] = skip[other] or stops(by, resource, other) end
        partly = partly or of_some
        for i = 1, turns and #turns or 0 do line_of(turns[i].line).standing[lane.name] = lane end
        if by.line then line_of(by.line).is_scarce = true end
        if not soonest or at < soonest then soonest, why = at, by end
      end
    end
  end
  if not soonest then return 'empty' end
  lane.until_ms, lane.why, lane.partly = soonest, name_of(why), partly
  if why.line then
    local line = line_of(why.line)
    line.at = math.min(line.at or math.huge, soonest)
    line.blocked[#line.blocked + 1] = lane
    lane.wait_line = why.line
  end
  return 'blocked'
end
end

-- Serves calls until there are enough, or nobody is left, or the app's own limit stops everybody.
local function earlier(a, b)
  local of_a, of_b = a.hot or false, b.hot or false
  if of_a ~= of_b then return of_a end
  if a.own_at ~= b.own_at then return a.own_at < b.own_at end
  return starts_before(a, b)
end
local stopped = false
do
-- Whom a link let in may all have come by another: then it lets in more only once nobody else is left.
local function pull_more()
  for _, line in ipairs(open_links) do
    local closed = lines[line.name] and lines[line.name].at
    if line.pending == 0 and line.more and not closed then
      pull(line)
      return true
    end
  end
end
while #calls < calls_max do
  -- "Refresh now" steps aside for its like alone: what others spend meanwhile could make it wait.
  while later[1] and (later[1].own_at <= tau or later[1].hot and not (heap[1] and heap[1].hot)) do
    -- Waited: the app's instant for its own cost may be sooner than tau, and it would step aside again, for ever.
    local lane = pop(later, earlier)
    lane.waited = true
    push(lane)
  end
  if more_lanes and (not heap[1] or heap[1].start > frontier) then
    open_more()
  elseif not (heap[1] or later[1]) then
    if not pull_more() then break end
  elseif not heap[1] then
    local lane = pop(later, earlier)
    lane.waited = true
    push(lane)
  else
    local lane = heap[1]
    local answer = serve(lane)
    if answer == 'app' then
      stopped = true
      break
    end
    if answer ~= 'later' then
      local line = lane.line
      if line and not lane.served then
        lane.served, line.pending = true, line.pending - 1
        local closed = lines[line.name] and lines[line.name].at
        if line.pending == 0 and line.more and not closed then pull(line) end
      end
      if answer ~= 'waits' then touched[lane.name] = lane end
      lane.answer = answer
    end
    if answer == 'granted' then
      lane.turns = (lane.turns or 0) + 1
      if tau > now or lane.turns % TURNS == 0 or lane.hot then sink() end
    else
      pop(heap, starts_before)
      if answer == 'later' then push(lane, later, earlier) end
    end
  end
end
end
local drained = not stopped and not heap[1] and not later[1] and not more_lanes

-- What is due in a moment is granted for its instant, if its lane has no backlog and every quota says yes by then.
local function grant_ahead()
  local names, shared, soon, queues = {}, {}, {}, {}
  local function note(key, into)
    local found = redis.call('ZRANGEBYSCORE', key, string.format('(%.0f', now), now + spec.ahead_ms, 'LIMIT', 0,
      calls_max - #calls)
    for i = 1, #found do
      local member = found[i]
      if member:byte() <= DIGIT then
        if not riding[member] then into[#into + 1] = member end
      else
        queues[#queues + 1] = member
      end
    end
  end
  note(DUE, names)
  for i = 1, #queues do note(QUEUE .. queues[i], shared) end
  local jobs, strangers = read_jobs(names, false), {}
  read_jobs(shared, true, jobs)
  for i = 1, #shared do names[#names + 1] = shared[i] end
  for i = 1, #names do
    local j = jobs[names[i]]
    -- Others were put off by a limit of their device, "refresh now" before their time among them: theirs has not come.
    if j and j.due > now and j.due <= now + spec.ahead_ms then
      soon[#soon + 1] = j
      if not lanes[j.lane] then strangers[#strangers + 1] = lane_of(j.lane) end
    end
  end
  place(strangers)
  prefetch_lanes(strangers)
  if #queues > 0 then table.sort(soon, function(a, b) return a.due < b.due end) end
  for i = 1, #soon do
    local j = soon[i]
    local lane, r = lanes[j.lane], spec.resources[j.resource]
    if #calls >= calls_max then return end
    if r and not riding[j.id] and not lane.busy and lane.answer ~= 'blocked' then
      local members, chain = { j }, chain_of(lane, j.resource)
      local own, cost = own_links(chain, members), r.cost + r.cost_per_device
      local due, urgent, state = j.due, j.urgent or false, chain.state
      if earliest(chain.app, state, cost, due, urgent) <= due and earliest(own, state, cost, due, urgent) <= due then
        if j.shared then riding[j.id] = true end
        leave_due(j.id, j)
        grant(lane, chain, own, j.resource, members, cost, due, urgent)
      end
    end
  end
end
if drained and #calls < calls_max then grant_ahead() end

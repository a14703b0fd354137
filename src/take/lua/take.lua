-- take: grant the calls that may be sent now, or within the horizon: reap, promote, choose, rank, pace, lease.
-- KEYS  1 anchor "<prefix>{<provider>}:"
-- ARGV  1 now in ms, or '' for Redis's own
--       2 msgpack {horizon_ms, ahead_ms, lease_ms, promote, ride_share, ride_ms, k, base = {b1..b5}, aligned,
--                  quotas (see pace.lua), resources = {name -> {max, cost, cost_per_device}}}
--       3 how many calls
-- Returns msgpack {live, now, wake_ms or -1, reaped, calls, bound, corrupt}
--   calls = {[number, lane, resource, send_in_ms, jobs]…}: the number is the call's fence; those of one take are
--           counted on from a multiple of 1,024, which names its lease
--   jobs = {[id, due, attempts, kind of the last failure, version]…}
--   bound = {[lane, or '' for all, quota or hold, until_ms, or -1 until a call ends]…}
--   corrupt = {id…}: jobs set aside because their records cannot be read
--   wake_ms: when to ask again if nothing else happens; -1: when something is put or a call ends.
--   live: false when the schedule was not built on this run of the server (see revive.lua); nothing is granted then.
-- All quotas of a call's scope chain are spent together, or none is.
-- What is due within `ahead` is granted for its instant if nothing at all stands in its way, so that it is not late.
-- Lanes with a backlog enter in order of virtual time, so the least of those on the heap is the least of all.
local loaded, more_lanes, frontier = 0, true, -math.huge
local function open_more()
  local got = redis.call('ZRANGE', LANES, loaded, loaded + 31, 'WITHSCORES')
  loaded = loaded + #got / 2
  more_lanes = #got == 64
  local lanes = {}
  for i = 1, #got, 2 do lanes[#lanes + 1] = got[i] end
  local weights = #lanes > 0 and ask('HMGET', WEIGHTS, lanes) or {}
  for i = 1, #lanes do
    local start = tonumber(got[2 * i])
    push({ name = lanes[i], start = start, hot = start < 0, weight = tonumber(weights[i] or 1), backlog = true })
    frontier = start
  end
end
open_more()

-- A backlog's jobs for this take, by resource and in rank order; those beyond `want` are left for the next.
local function load_lane(lane, calls_left)
  lane.queues = {}
  for resource, r in pairs(spec.resources) do
    local key, want = READY .. resource .. ':' .. lane.name, math.min(r.max * math.min(calls_left, 16), 1000)
    local found = ranked(key, want)
    if #found > 0 then
      local queue, ids = { key = key, resource = resource, gone = {}, more = #found > want }, {}
      for i = 1, math.min(want, #found) do ids[i] = found[i].id end
      local jobs = read_jobs(ids)
      for i, id in ipairs(ids) do
        local j = jobs[id]
        if j then
          j.id, j.score = id, found[i].score
          queue[#queue + 1] = j
        else
          queue.gone[#queue.gone + 1] = id
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
    if queue[1] and not skip[resource] and (not best or ranks_before(queue[1], best[1])) then best = queue end
  end
  return best
end

-- Takes jobs out of a queue: granted, or put off until later. The others stay, in order.
local function remove(queue, leaves, put_off)
  local rest, size = {}, #queue
  for i = 1, size do
    local j = queue[i]
    if not leaves[j.id] then
      rest[#rest + 1] = j
    elseif queue.fresh then
      if not put_off then leave_due(j.id, j) end
    else
      queue.gone[#queue.gone + 1] = j.id
    end
  end
  for i = 1, size do queue[i] = rest[i] end
end

-- Jobs of the queue that are due within a small share of their interval ride along on the free places of a call.
local riding = {}
local function riders(lane, resource, members, at, places)
  local name = QUEUE .. resource .. ':' .. lane.name
  local found = redis.call('ZRANGEBYSCORE', name, string.format('(%.0f', now), at + spec.ride_ms, 'WITHSCORES',
    'LIMIT', 0, places + #members)
  local ids, due = {}, {}
  for i = 1, #found, 2 do
    local id = found[i]
    if not riding[id] and id ~= members[1].id then
      ids[#ids + 1] = id
      due[id] = tonumber(found[i + 1])
    end
  end
  if #ids == 0 then return end
  local jobs = read_jobs(ids)
  for _, id in ipairs(ids) do
    local j = jobs[id]
    if j and places > 0 and due[id] - at <= spec.ride_share * j.interval then
      j.id, places = id, places - 1
      riding[id] = true
      members[#members + 1] = j
      leave_due(id, j)
    end
  end
end

local calls, entries, deferred, bound, touched, closed = {}, {}, {}, {}, {}, {}
local last_send, app_until, app_why = now, nil, nil
local least_cost = math.huge
for _, r in pairs(spec.resources) do least_cost = math.min(least_cost, r.cost + r.cost_per_device) end

local function grant(lane, resource, members, links, cost, at, urgent, alike)
  local r = spec.resources[resource]
  if alike and r.max > #members and r.cost_per_device == 0 and members[1].shared then
    riders(lane, resource, members, at, r.max - #members)
  end
  local index, jobs, ids = #calls + 1, {}, {}
  for i = 1, #members do
    local j = members[i]
    jobs[i] = { j.id, j.due, j.attempts, j.kind, j.version }
    ids[i] = j.id
  end
  local held, after = spend_all(links, cost, at, urgent)
  calls[index] = { lease + index, lane.name, resource, at - now, jobs }
  entries[2 * index - 1] = tostring(index)
  entries[2 * index] = cmsgpack.pack({ lane.name, resource, ids, at, cost, urgent or false, held, after })
  if at > last_send then last_send = at end
  local start = lane.hot and lane.start + AHEAD or lane.start
  if start > v then v = start end
  lane.start = lane.start + cost / lane.weight
  finish = math.max(finish, start + cost / lane.weight)
end

local function devices_of(members)
  local devices = {}
  for i = 1, #members do devices[i] = members[i].device end
  return devices
end

-- Serves one call of the lane. Returns 'granted', 'blocked', 'empty' or 'app' (nobody can be served).
local function serve(lane)
  if next(closed) then
    split(lane)
    local shut = closed[lane.connection]
    if shut and not lane.hot and shut.cost <= least_cost then
      lane.until_ms, lane.why, lane.waits_on = shut.at, shut.why, lane.connection
      return 'blocked'
    end
  end
  if not lane.queues then load_lane(lane, calls_max - #calls) end
  local skip, soonest, why, partly = {}, nil, nil, false
  while true do
    local queue = best_of(lane, skip)
    if not queue then break end
    local r, members, leaves = spec.resources[queue.resource], {}, {}
    if not r then
      -- A resource that the definition has no more: another process, with an older or newer one, may know it.
      skip[queue.resource] = true
    else
      for i = 1, math.min(r.max, #queue) do members[i] = queue[i]; leaves[queue[i].id] = true end
      local urgent = members[1].urgent
      local links, holds, alike = chain_of(lane, queue.resource, devices_of(members))
      local cost = r.cost + r.cost_per_device * #members
      local at, link = earliest(links, holds, cost, now, urgent)
      if at <= limit then
        remove(queue, leaves)
        grant(lane, queue.resource, members, links, cost, at, urgent, alike)
        local head = lane.hot and best_of(lane, {})
        if lane.hot and not (head and head[1].urgent) then lane.start, lane.hot = lane.start + AHEAD, false end
        return 'granted'
      end
      local of_some = link[3] and #link[3].resources > 0
      if link[1].holder == 'app' and not of_some then
        app_until, app_why = at, name_of(link)
        return 'app'
      elseif link[4] then
        -- A device's own limit: its jobs of this call step aside until the instant, the lane goes on.
        local aside, again = {}, at == math.huge and now + spec.horizon_ms or at
        for _, j in ipairs(members) do
          if j.device == link[4] then
            aside[j.id] = true
            deferred[#deferred + 1] = { j, again, name_of(link) }
          end
        end
        remove(queue, aside, true)
      else
        skip[queue.resource] = true
        partly = partly or of_some
        if not soonest or at < soonest then soonest, why = at, link end
      end
    end
  end
  if not soonest then return 'empty' end
  lane.until_ms, lane.why, lane.partly, lane.waits_on = soonest, name_of(why), partly, why[1].holder
  if why[3] and why[3].scope == 'connection' and not partly and lane.group then
    closed[lane.connection] = { at = soonest, why = lane.why, cost = least_cost }
  end
  return 'blocked'
end

local stopped = false
while #calls < calls_max do
  if more_lanes and (not heap[1] or heap[1].start > frontier) then
    open_more()
  elseif not heap[1] then
    break
  else
    local lane = heap[1]
    touched[lane.name] = lane
    local answer = serve(lane)
    if answer == 'app' then
      stopped = true
      break
    end
    lane.answer = answer
    if answer == 'granted' then sink() else pop() end
  end
end

-- What is due in a moment is granted for its instant, if its lane has no backlog and every quota says yes by then.
local function grant_ahead()
  for _, j in ipairs(soon) do
    if #calls >= calls_max then return end
    local lane, r = fresh[j.lane], spec.resources[j.resource]
    if r and not riding[j.id] and not lane.busy and lane.answer ~= 'blocked' then
      local members, urgent = { j }, j.urgent
      local links, holds, alike = chain_of(lane, j.resource, { j.device })
      local cost = r.cost + r.cost_per_device
      local at = earliest(links, holds, cost, j.at, urgent)
      if at <= j.at then
        riding[j.id] = true
        leave_due(j.id, j)
        grant(lane, j.resource, members, links, cost, j.at, urgent, alike)
        touched[lane.name] = lane
      end
    end
  end
end
local drained = not stopped and not heap[1] and not more_lanes
if drained then grant_ahead() end

-- Write back what changed, a call a key: first who holds what, then what they were taken from.
if #calls > 0 then
  send('HSET', TAKE .. n, entries)
  redis.call('ZADD', LEASES, last_send + spec.lease_ms, n)
end
for _, d in ipairs(deferred) do
  add_due(d[1].id, d[1], d[2])
  redis.call('HSET', WHY, '#' .. d[1].id, d[3])
end
for _, id in ipairs(corrupt) do redis.call('HSET', CORRUPT, id, 'its record cannot be read') end
write_states()

local lanes_add, lanes_rem, blocked_add, vtime, partly, whole, why, hot = {}, {}, {}, {}, {}, {}, {}, {}
local function back_in_line(lane)
  lanes_add[#lanes_add + 1] = lane.start
  lanes_add[#lanes_add + 1] = lane.name
end
for _, lane in pairs(touched) do
  local has_more = lane.queues == nil
  for _, queue in pairs(lane.queues or {}) do
    if not queue.fresh then send('ZREM', queue.key, queue.gone) end
    has_more = has_more or #queue > 0 or queue.more
  end
  if lane.answer == 'blocked' then
    local until_ms = lane.until_ms
    if until_ms == math.huge then
      -- A call that ends wakes it; should nobody tell, the last lease that may be in flight is over by then.
      until_ms = now + spec.lease_ms
      redis.call('SADD', WAITERS .. lane.waits_on, lane.name)
    end
    blocked_add[#blocked_add + 1] = until_ms
    blocked_add[#blocked_add + 1] = lane.name
    why[#why + 1] = lane.name
    why[#why + 1] = lane.why
    bound[#bound + 1] = { lane.name, lane.why, lane.until_ms == math.huge and -1 or until_ms }
    local set = lane.partly and partly or whole
    set[#set + 1] = lane.name
    if lane.hot then hot[#hot + 1] = lane.name end
  elseif has_more then
    if lane.backlog then back_in_line(lane) end
  end
  if lane.answer == 'blocked' or not has_more then
    if lane.backlog then lanes_rem[#lanes_rem + 1] = lane.name end
    vtime[#vtime + 1] = lane.name
    vtime[#vtime + 1] = lane.hot and lane.start + AHEAD or lane.start
  end
end
-- Fresh lanes that were not served to the end have a backlog now.
ready = {}
for _, lane in ipairs(order) do
  local rest = 0
  for _, queue in pairs(lane.queues or {}) do
    for _, j in ipairs(queue) do
      add_ready(ready, j.id, j)
      leave_due(j.id, j)
      rest = rest + 1
    end
  end
  if rest > 0 and lane.answer ~= 'blocked' then back_in_line(lane) end
end
for name, args in pairs(ready) do send('ZADD', READY .. name, args) end
send('ZADD', LANES, lanes_add)
send('ZREM', LANES, lanes_rem)
send('ZADD', BLOCKED, blocked_add)
send('SADD', PARTLY, partly)
if #whole > 0 and redis.call('EXISTS', PARTLY) == 1 then send('SREM', PARTLY, whole) end
send('HSET', WHY, why)
send('SADD', HOT, hot)
write_due()
if drained then
  -- Nobody waits in line: a busy period is over, and with it what each lane had left of it.
  v = math.max(v, finish)
  redis.call('DEL', VTIME)
else
  send('HSET', VTIME, vtime)
end
if #calls > 0 then
  redis.call('HSET', META, 'v', string.format('%.3f', v), 'finish', string.format('%.3f', finish),
    'fence', string.format('%.0f', lease + #calls))
end
if app_until then
  if app_until == math.huge then app_until = -1 end
  redis.call('HSET', META, 'app_until', app_until, 'app_why', app_why)
  bound[#bound + 1] = { '', app_why, app_until }
elseif meta[6] then
  redis.call('HDEL', META, 'app_until', 'app_why')
end

-- When to come back. Lanes left in line can go on at once, unless the app's own quota stops everybody.
local wake = -1
local function sooner(t) if t and (wake < 0 or t < wake) then wake = math.max(t, now) end end
local function head(key)
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  return first[2] and tonumber(first[2])
end
if app_until then
  if app_until > 0 then sooner(app_until - spec.horizon_ms / 2) end
elseif more_due or #lanes_add > 0 or redis.call('EXISTS', LANES) == 1 then
  sooner(now)
end
local blocked_head, due_head = head(BLOCKED), head(DUE)
sooner(blocked_head and blocked_head - spec.horizon_ms / 2)
-- What is left of the moment ahead has been looked at: its own instant is soon enough. Later ones are met half-way.
if due_head then sooner(due_head > ahead and due_head - spec.ahead_ms / 2 or math.max(due_head, now + 1)) end
sooner(head(LEASES))
if wake >= 0 then wake = wake - now end
return cmsgpack.pack({ true, now, wake, reaped, calls, bound, corrupt })

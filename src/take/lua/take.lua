-- take: grant the calls that may be sent now, or within the horizon: reap, promote, choose, rank, pace, lease.
-- KEYS  1 anchor "<prefix>{<provider>}:"
-- ARGV  1 now in ms, or '' for Redis's own
--       2 msgpack {calls, horizon_ms, lease_ms, promote, k, base = {b1..b5},
--                  quotas = {{name, scope, emission_ms, burst, resources or {}}…},
--                  resources = {name -> {max, cost, cost_per_device}}}
-- Returns msgpack {live, now, wake_ms or -1, reaped, calls = {[id, lane, resource, send_in_ms, jobs]…}, bound}
--                  jobs = {[id, due, attempts, kind of the last failure, version]…}
--                  bound = {[lane, quota or hold, until_ms]…}
--   wake_ms: when to ask again if nothing else happens; -1: when something is put.
--   live: false when the schedule was not built on this run of the server (see revive.lua); nothing is granted then.
-- All quotas of a call's scope chain are spent together, or none is.
local now = now_ms(ARGV[1])
local spec = cmsgpack.unpack(ARGV[2])
local limit = now + spec.horizon_ms
local meta = redis.call('HMGET', META, 'run', 'epoch', 'v', 'fence')
if meta[1] ~= run_id() then return cmsgpack.pack({ false, now, -1, 0, {}, {} }) end

-- Reap: what a dead worker held is due again. Its quota stays spent: the call may have been made.
local function reap()
  local dead = redis.call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, 200)
  if #dead == 0 then return 0 end
  local raws = redis.call('HMGET', CALLS, unpack(dead))
  local ids = {}
  for i = 1, #dead do
    if raws[i] then for _, id in ipairs(cmsgpack.unpack(raws[i]).jobs) do ids[#ids + 1] = id end end
  end
  local due = {}
  for id, j in pairs(read_jobs(ids)) do
    if j and j.dropped then
      redis.call('HDEL', bucket_key(id), id)
    elseif j then
      due[#due + 1] = j.due
      due[#due + 1] = id
    end
  end
  send('ZADD', DUE, due)
  redis.call('ZREM', LEASES, unpack(dead))
  redis.call('HDEL', CALLS, unpack(dead))
  return #dead
end

-- Promote: due jobs become ready in their lanes.
local function promote()
  local ids = redis.call('ZRANGEBYSCORE', DUE, '-inf', now, 'LIMIT', 0, spec.promote)
  if #ids == 0 then return end
  for i, id in ipairs(ids) do ids[i] = tonumber(id) end
  local ready = {}
  for id, j in pairs(read_jobs(ids)) do
    if j then add_ready(ready, id, j) end
    -- One without a readable record leaves the due set too; `check` finds and restores it from Postgres.
  end
  make_ready(ready)
  redis.call('ZREM', DUE, unpack(ids))
end

-- Unblock: lanes whose instant has come within the horizon compete again.
local function unblock()
  local lanes = redis.call('ZRANGEBYSCORE', BLOCKED, '-inf', limit, 'LIMIT', 0, 1000)
  if #lanes == 0 then return end
  local v = tonumber(meta[3] or '0')
  local left = redis.call('HMGET', VTIME, unpack(lanes))
  local args = {}
  for i, lane in ipairs(lanes) do
    args[#args + 1] = math.max(v, tonumber(left[i] or '0'))
    args[#args + 1] = lane
  end
  redis.call('ZADD', LANES, unpack(args))
  redis.call('ZREM', BLOCKED, unpack(lanes))
end

-- Quota state: one hash for the app and one a connection. Fields: <quota>, <quota>@<group>, <quota>#<device> hold a
-- theoretical arrival time in ms; !hold, !hold@<group>, !hold#<device> hold "<until ms> <reason>".
-- Whatever it holds, a quota counts as fully spent at the epoch, the instant the schedule was last revived after a
-- restart or a loss: no history can have left it emptier than that. The epoch of one that never was is 0.
local epoch = tonumber(meta[2])
local function tat_of(q, stored)
  return math.max(tonumber(stored or '0'), epoch + q.burst * q.emission_ms)
end
local states = {}
local function state_of(name)
  local s = states[name]
  if not s then s = { key = P .. 'quota:' .. name, has = {}, dirty = {} }; states[name] = s end
  return s
end
local function ensure(s, fields)
  local missing = {}
  for _, f in ipairs(fields) do if s.has[f] == nil then missing[#missing + 1] = f end end
  if #missing == 0 then return end
  local values = redis.call('HMGET', s.key, unpack(missing))
  for i, f in ipairs(missing) do s.has[f] = values[i] end
end

-- The chain of a call: every (state, field, quota) it must be granted by, and every hold it must respect.
local function chain_of(lane, resource, devices)
  local connection, group = lane.name:match('^(%d+)%.(.*)$')
  connection = connection or lane.name
  local app, own = state_of('app'), state_of(connection)
  local links, app_fields, own_fields = {}, { '!hold' }, { '!hold' }
  local holds = { { app, '!hold' }, { own, '!hold' } }
  if group then own_fields[2] = '!hold@' .. group; holds[3] = { own, '!hold@' .. group } end
  for _, q in ipairs(spec.quotas) do
    local counts = #q.resources == 0
    for _, r in ipairs(q.resources) do counts = counts or r == resource end
    if counts then
      if q.scope == 'app' then
        links[#links + 1] = { app, q.name, q }; app_fields[#app_fields + 1] = q.name
      elseif q.scope == 'connection' or (q.scope == 'group' and not group) then
        links[#links + 1] = { own, q.name, q }; own_fields[#own_fields + 1] = q.name
      elseif q.scope == 'group' then
        local f = q.name .. '@' .. group
        links[#links + 1] = { own, f, q }; own_fields[#own_fields + 1] = f
      else
        for _, d in ipairs(devices) do
          local f = q.name .. '#' .. d
          links[#links + 1] = { own, f, q, d }; own_fields[#own_fields + 1] = f
        end
      end
    end
  end
  for _, d in ipairs(devices) do
    local f = '!hold#' .. d
    own_fields[#own_fields + 1] = f; holds[#holds + 1] = { own, f, nil, d }
  end
  ensure(app, app_fields); ensure(own, own_fields)
  return links, holds
end

-- GCRA, see pace/quota.rs, its twin: the earliest instant at which the whole chain says yes, and who said it last.
local function earliest(links, holds, cost)
  local at, by, field = now, nil, nil
  for _, l in ipairs(links) do
    local q = l[3]
    local t = tat_of(q, l[1].has[l[2]]) + (cost - q.burst) * q.emission_ms
    if t > at then at, by, field = t, q.name, l end
  end
  for _, h in ipairs(holds) do
    local raw = h[1].has[h[2]]
    if raw then
      local t = tonumber(raw:match('^%S+'))
      if t > at then at, by, field = t, 'hold: ' .. (raw:match('^%S+ (.*)$') or ''), h end
    end
  end
  return at, by, field
end

local function spend(links, cost, at)
  local spent = {}
  for _, l in ipairs(links) do
    local q, s, f = l[3], l[1], l[2]
    local before = tat_of(q, s.has[f])
    local after = string.format('%.3f', math.max(before, at) + cost * q.emission_ms)
    s.has[f] = after
    s.dirty[f] = after
    spent[#spent + 1] = { s == states.app and 'app' or s.key:sub(#P + 7), f, string.format('%.3f', before), after }
  end
  return spent
end

-- Rank, see schedule/score.rs, its twin: base / delay^k, lowest first; equal scores by job id.
local function score_of(class, since)
  local delay = math.max(now - since, 1)
  return spec.base[class] / delay ^ spec.k
end

-- The first `want` ready jobs of a lane and resource in exact score order. Inside a class the longest waiting ranks
-- first, so the heads of the classes are all that need comparing.
local function ranked(key, want)
  local found = {}
  local function add(members)
    for i = 1, #members, 2 do
      local score = tonumber(members[i + 1])
      local class = math.floor(score / CLASS)
      found[#found + 1] = { id = tonumber(members[i]), score = score_of(class, score - class * CLASS) }
    end
  end
  local first = redis.call('ZRANGE', key, 0, 2 * want, 'WITHSCORES')
  if #first / 2 <= 2 * want then
    add(first)
  else
    for class = 1, 5 do
      local from, to = class * CLASS, '(' .. (class + 1) * CLASS
      add(redis.call('ZRANGEBYSCORE', key, from, to, 'WITHSCORES', 'LIMIT', 0, want + 1))
    end
  end
  table.sort(found, function(a, b)
    if a.score ~= b.score then return a.score < b.score end
    return a.id < b.id
  end)
  return found
end

-- A lane's jobs for this take, by resource and in rank order; those beyond `want` are left for the next.
local function load_lane(lane, calls_left)
  lane.queues = {}
  for resource, r in pairs(spec.resources) do
    local key, want = ready_key(lane.name, resource), math.min(r.max * math.min(calls_left, 16), 1000)
    local found = ranked(key, want)
    local queue, ids = { key = key, resource = resource, gone = {}, more = #found > want }, {}
    for i = 1, math.min(want, #found) do ids[i] = found[i].id end
    local jobs = read_jobs(ids)
    for i, id in ipairs(ids) do
      local j = jobs[id]
      if j then
        j.id, j.score = id, found[i].score
        queue[#queue + 1] = j
      else
        queue.gone[#queue.gone + 1] = id -- unreadable: `check` finds it and restores it from Postgres
      end
    end
    if #queue > 0 or #queue.gone > 0 then lane.queues[resource] = queue end
  end
end

-- The queue whose head ranks best, and the jobs that its next call serves.
local function next_batch(lane, skip)
  local best, lead
  for resource, queue in pairs(lane.queues) do
    local head = queue[1]
    if head and not skip[resource]
      and (not lead or head.score < lead.score or (head.score == lead.score and head.id < lead.id)) then
      best, lead = queue, head
    end
  end
  if not best then return nil end
  local members = {}
  for i = 1, math.min(spec.resources[best.resource].max, #best) do members[i] = best[i] end
  return best, members
end

-- Takes jobs out of a queue: granted, or set aside. The others stay, in order.
local function remove(queue, leaves)
  local rest = {}
  for _, j in ipairs(queue) do
    if leaves[j.id] then queue.gone[#queue.gone + 1] = j.id else rest[#rest + 1] = j end
  end
  for i = 1, #queue do queue[i] = rest[i] end
end

local reaped = reap()
promote()
unblock()

local v = tonumber(meta[3] or '0')
local fence = math.max(tonumber(meta[4] or '0'), now * 1000)
local calls, entries, expiries, bound, deferred = {}, {}, {}, {}, {}
local open, loaded, more_lanes, frontier = {}, 0, true, 0
local app_until = nil

-- Lanes enter in order of virtual time, so the least of those open is the least of all.
local function open_more()
  local got = redis.call('ZRANGE', LANES, loaded, loaded + 31, 'WITHSCORES')
  loaded = loaded + #got / 2
  more_lanes = #got == 64
  for i = 1, #got, 2 do open[#open + 1] = { name = got[i], start = tonumber(got[i + 1]) } end
  frontier = tonumber(got[#got] or frontier)
end
open_more()
local touched = {}

local function least()
  local best
  for i, lane in ipairs(open) do
    if not best or lane.start < open[best].start then best = i end
  end
  if best and more_lanes and open[best].start > frontier then
    open_more()
    return least()
  end
  return best
end

-- Serves one call of the lane. Returns 'granted', 'blocked', 'empty' or 'app' (nobody can be served).
local function serve(lane)
  if not lane.queues then load_lane(lane, spec.calls - #calls) end
  local skip, soonest, why, partly = {}, nil, nil, false
  while true do
    local queue, members = next_batch(lane, skip)
    if not queue then break end
    local r = spec.resources[queue.resource]
    local devices, leaves = {}, {}
    for i, j in ipairs(members) do devices[i] = j.device; leaves[j.id] = true end
    local links, holds = chain_of(lane, queue.resource, devices)
    local cost = r.cost + r.cost_per_device * #members
    local at, by, link = earliest(links, holds, cost)
    local of_some = link and link[3] and #link[3].resources > 0
    if at <= limit then
      fence = fence + 1
      local id = string.format('%.0f', fence)
      local jobs, ids = {}, {}
      for i, j in ipairs(members) do
        jobs[i] = { j.id, j.due, j.attempts, j.kind, j.version }
        ids[i] = j.id
      end
      calls[#calls + 1] = { fence, lane.name, queue.resource, at - now, jobs }
      entries[#entries + 1] = id
      entries[#entries + 1] = cmsgpack.pack({ lane = lane.name, jobs = ids, spent = spend(links, cost, at) })
      expiries[#expiries + 1] = at + spec.lease_ms
      expiries[#expiries + 1] = id
      remove(queue, leaves)
      v = math.max(v, lane.start)
      lane.start = v + cost
      return 'granted'
    elseif link[1] == states.app and not of_some then
      app_until = at
      bound[#bound + 1] = { lane.name, by, at }
      return 'app'
    elseif link[4] then
      -- A device's own limit: its jobs of this call step aside until the instant, the lane goes on.
      local aside = {}
      for _, j in ipairs(members) do
        if j.device == link[4] then
          aside[j.id] = true
          deferred[#deferred + 1] = at
          deferred[#deferred + 1] = j.id
        end
      end
      remove(queue, aside)
    else
      skip[queue.resource] = true
      partly = partly or of_some
      if not soonest or at < soonest then soonest, why = at, by end
    end
  end
  if not soonest then return 'empty' end
  bound[#bound + 1] = { lane.name, why, soonest }
  lane.until_ms, lane.partly = soonest, partly
  return 'blocked'
end

while #calls < spec.calls do
  local i = least()
  if not i then
    if not more_lanes then break end
    open_more()
    i = least()
    if not i then break end
  end
  local lane = open[i]
  touched[lane.name] = lane
  local answer = serve(lane)
  if answer == 'app' then break end
  if answer ~= 'granted' then table.remove(open, i) end
  lane.answer = answer
end

-- Write back what changed, a call a key: first who holds what, then what they were taken from.
send('HSET', CALLS, entries)
send('ZADD', LEASES, expiries)
send('ZADD', DUE, deferred)
for _, s in pairs(states) do
  local args = {}
  for f, value in pairs(s.dirty) do args[#args + 1] = f; args[#args + 1] = value end
  send('HSET', s.key, args)
end
local lanes_add, lanes_rem, blocked_add, vtime, partly_add, partly_rem = {}, {}, {}, {}, {}, {}
for name, lane in pairs(touched) do
  local left = false
  for _, queue in pairs(lane.queues) do
    send('ZREM', queue.key, queue.gone)
    left = left or #queue > 0 or queue.more
  end
  if lane.answer == 'blocked' then
    blocked_add[#blocked_add + 1] = lane.until_ms
    blocked_add[#blocked_add + 1] = name
    local set = lane.partly and partly_add or partly_rem
    set[#set + 1] = name
  end
  if lane.answer ~= 'blocked' and left then
    lanes_add[#lanes_add + 1] = lane.start
    lanes_add[#lanes_add + 1] = name
  else
    lanes_rem[#lanes_rem + 1] = name
    vtime[#vtime + 1] = name
    vtime[#vtime + 1] = lane.start
  end
end
send('ZADD', LANES, lanes_add)
send('ZREM', LANES, lanes_rem)
send('ZADD', BLOCKED, blocked_add)
send('SADD', PARTLY, partly_add)
send('SREM', PARTLY, partly_rem)
send('HSET', VTIME, vtime)
if #calls > 0 then redis.call('HSET', META, 'v', string.format('%.3f', v), 'fence', string.format('%.0f', fence)) end

-- When to come back. Lanes left in line can go on at once, unless the app's own quota stops everybody.
local wake = -1
local function sooner(t) if t and (wake < 0 or t < wake) then wake = t end end
local function head(key)
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  return first[2] and tonumber(first[2])
end
if app_until then
  sooner(app_until - spec.horizon_ms / 2)
elseif redis.call('EXISTS', LANES) == 1 then
  sooner(now)
end
local blocked_head = head(BLOCKED)
sooner(blocked_head and blocked_head - spec.horizon_ms / 2)
local due_head = head(DUE)
if not app_until or (due_head and due_head > now) then sooner(due_head) end
sooner(head(LEASES))
if wake >= 0 then wake = math.max(wake - now, 0) end
return cmsgpack.pack({ true, now, wake, reaped, calls, bound })

-- Gather: what competes in a take. Calls of lost workers come back, lanes and links whose instant has come are
-- unblocked, and due jobs are gathered by lane.
-- Uses: Keys, Command, Record, Due, Lanes, Lease, Run, Chain, Found, Rank, Heap, Contenders
-- Gives: DIGIT, reap, unblock, promote, lane_of, place
local now, spec, jobs_max = Run.now, Run.spec, Run.spec.jobs_max
local send, ask = Command.send, Command.ask
local lanes, fresh, corrupt = Found.lanes, Found.fresh, Found.corrupt
local start_of, HOT_LEAD, BLOCKED, QUEUE = Lanes.start_of, Lanes.HOT_LEAD, Keys.blocked, Keys.queue
local push, heap, starts_before = Heap.push, Contenders.heap, Contenders.starts_before
local remove_due, score_of, waiting_since = Due.remove, Rank.score_of, Record.waiting_since

-- How members of the sorted sets begin: a link's with '!', a job's and a lane's with a digit, a queue's with a letter.
local LINK, DIGIT = 33, 57

-- Jobs of expired leases are due again. Their quotas stay spent: the calls may have been made.
local function reap()
  local expired = redis.call('ZRANGEBYSCORE', Keys.leases, '-inf', now, 'LIMIT', 0, 100)
  local ids, reaped = {}, {}
  for _, lease in ipairs(expired) do
    if #ids >= jobs_max then break end -- the rest is left for the next take
    reaped[#reaped + 1] = lease
    for _, raw in ipairs(redis.call('HVALS', Keys.lease .. lease)) do
      local call = Lease.unpack(raw)
      if call then
        Found.reaped = Found.reaped + 1
        local leased = Lease.jobs_of(call)
        for i = 1, #leased, 2 do ids[#ids + 1] = leased[i] end
        if call[Lease.HELD] then Chain.release(call[Lease.HELD], 'lost', Found.freed) end
      end
    end
  end
  if #reaped == 0 then return end
  for id, j in pairs(Record.find(ids)) do
    if j and j.dropped then
      Record.forget(id)
    elseif j then
      -- A "refresh now" does not wait for its grid.
      Due.add(id, j, j.urgent and math.min(j.due, now) or j.due)
    else
      corrupt[#corrupt + 1] = id
    end
  end
  Due.write()
  for _, lease in ipairs(reaped) do redis.call('DEL', Keys.lease .. lease) end
  send('ZREM', Keys.leases, reaped)
end

-- Lanes whose instant has come within the horizon compete again. A link that opens lets in those that wait at it: see
-- contenders.lua.
local function unblock()
  local members = redis.call('ZRANGEBYSCORE', BLOCKED, '-inf', Run.limit, 'LIMIT', 0, 1000)
  if #members == 0 then return end
  local woken, opened = {}, Found.opened_links
  for _, member in ipairs(members) do
    if member:byte() == LINK then opened[#opened + 1] = { name = member } else woken[#woken + 1] = member end
  end
  redis.call('ZREM', BLOCKED, unpack(members))
  if #woken == 0 then return end
  local left, hot, args = ask('HMGET', Keys.vtime, woken), ask('SMISMEMBER', Keys.hot, woken), {}
  for i, lane in ipairs(woken) do
    args[#args + 1] = start_of(Found.v, left[i]) - (hot[i] == 1 and HOT_LEAD or 0)
    args[#args + 1] = lane
  end
  redis.call('ZADD', Keys.lanes, unpack(args))
  redis.call('SREM', Keys.partly, unpack(woken))
  redis.call('SREM', Keys.hot, unpack(woken))
  redis.call('HDEL', Keys.why, unpack(woken))
end

local NONE = {}
-- A fresh lane, one that is neither competing nor blocked, keeps its due jobs in memory: in the usual case they are
-- granted at once, and never touch a ready set. Due jobs of busy lanes join those that wait there already.
local function lane_of(name)
  local lane = lanes[name]
  if not lane then
    -- All fields that most lanes come to have, so that the table is made in one go.
    lane = {
      name = name, queues = NONE, jobs = 0, weight = 1, start = 0, connection = false, chain = false, of = false,
      waited = false, answer = false, granted = 0, has_more = false, place = math.huge,
    }
    lanes[name] = lane
    fresh[#fresh + 1] = lane
  end
  return lane
end

-- Puts fresh lanes on the heap, and jobs of busy lanes into their ready sets.
local function place(some)
  local names = {}
  for i = 1, #some do names[i] = some[i].name end
  local waiting, blocked = ask('ZMSCORE', Keys.lanes, names), ask('ZMSCORE', BLOCKED, names)
  local left, weights = ask('HMGET', Keys.vtime, names), ask('HMGET', Keys.weights, names)
  local ready = {}
  for i = 1, #some do
    local lane = some[i]
    if weights[i] then lane.weight = tonumber(weights[i]) end
    if waiting[i] or blocked[i] then
      lane.busy = true
      for _, queue in pairs(lane.queues) do
        for k = 1, #queue do remove_due(queue[k].id, queue[k]) end
        Lanes.add_queue(ready, lane.name, queue)
      end
    else
      lane.start = left[i] and start_of(Found.v, left[i]) or Found.v
      if lane.hot then lane.start = lane.start - HOT_LEAD end
      if lane.jobs > 0 then
        for _, queue in pairs(lane.queues) do
          if queue[2] then Rank.sort(queue) end
        end
        push(heap, lane, starts_before)
      end
    end
  end
  if next(ready) then
    Lanes.make_ready(ready)
    -- At once: a limit of its device may put a job off in this very take, and it comes back to where it was.
    Due.write()
  end
end

-- Ids of due jobs, the queue of each that can share a call, and their records. At most jobs_max in all: Redis serves
-- nobody else meanwhile. A queue gives a few calls' worth, or its part of all.
local function due_jobs()
  local ids, shared, queues, queue_of = {}, {}, {}, {}
  local members = redis.call('ZRANGEBYSCORE', Keys.due, '-inf', now, 'LIMIT', 0, jobs_max)
  if #members == jobs_max then Found.has_more_due = true end
  for i = 1, #members do
    local member = members[i]
    if member:byte() > DIGIT then queues[#queues + 1] = member else ids[#ids + 1] = member end
  end
  local left = jobs_max - #ids
  for i = 1, #queues do
    local queue = queues[i]
    local resource = spec.resources[queue:match('^[^:]*')]
    local few = resource and resource.max * Contenders.CALLS_PER_LOOK or 0
    local most = math.min(left, math.max(few, math.ceil(left / (#queues - i + 1))))
    local found = most > 0 and redis.call('ZRANGEBYSCORE', QUEUE .. queue, '-inf', now, 'LIMIT', 0, most) or NONE
    if #found == most then Found.has_more_due = true end
    if most == 0 then break end
    left = left - #found
    for k = 1, #found do
      shared[#shared + 1] = found[k]
      queue_of[found[k]] = queue
    end
  end
  local jobs = Record.read(ids, false)
  Record.read(shared, true, jobs)
  for i = 1, #shared do ids[#ids + 1] = shared[i] end
  return ids, queue_of, jobs
end

-- Gathers due jobs by lane; those of fresh lanes compete.
local function promote()
  local ids, queue_of, jobs = due_jobs()
  for i = 1, #ids do
    local id = ids[i]
    local j = jobs[id]
    if not j then
      -- Its record is corrupt: it leaves wherever it was due.
      corrupt[#corrupt + 1] = id
      Due.remove_from(queue_of[id], id)
    else
      local lane = lane_of(j.lane)
      lane.jobs = lane.jobs + 1
      if j.urgent then lane.hot = true end
      j.score = score_of(j.urgent and 0 or j.class, waiting_since(j))
      local resource, queues = j.resource, lane.queues
      local queue = queues[resource]
      if queue then
        queue[#queue + 1] = j
      else
        queue = { j, resource = resource, fresh = true, first = 1 }
        if queues == NONE then lane.queues = { [resource] = queue } else queues[resource] = queue end
      end
    end
  end
  -- Those that a limit of their device had put off compete again.
  if redis.call('EXISTS', Keys.why) == 1 then
    local put_off = {}
    for i = 1, #ids do put_off[i] = '#' .. ids[i] end
    send('HDEL', Keys.why, put_off)
  end
  place(fresh)
  Chain.prefetch(fresh)
end

return { DIGIT = DIGIT, reap = reap, unblock = unblock, promote = promote, lane_of = lane_of, place = place }

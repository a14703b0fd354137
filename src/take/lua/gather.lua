-- The first part of take: who competes. Lost calls come back, lanes and links whose instant has come are unblocked, and
-- what is due is gathered by lane.
local limit = now + spec.horizon_ms
local calls_max = math.min(tonumber(ARGV[3]), 1000)
local meta = redis.call('HMGET', META, 'run', 'epoch', 'v', 'fence', 'finish', 'app_until')
if meta[1] ~= run_id() then return cmsgpack.pack({ false, now, -1, 0, {}, {}, {} }) end
epoch = tonumber(meta[2])
local v, finish = tonumber(meta[3] or 0), tonumber(meta[5] or 0)
local lease = next_lease(meta[4])
local n = string.format('%.0f', lease)

local corrupt, freed = {}, {}
-- How members of the sorted sets begin: a link's with '!', a job's and a lane's with a digit, a queue's with a letter.
local LINK, DIGIT = 33, 57

local reaped, open_links = 0, {}
do
-- Reap: what a dead worker held is due again. Its quota stays spent: the call may have been made.
local function reap()
  local dead = redis.call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, 100)
  if #dead == 0 then return end
  local ids = {}
  for _, take in ipairs(dead) do
    for _, raw in ipairs(redis.call('HVALS', TAKE .. take)) do
      local entry = entry_of(raw)
      if entry then
        reaped = reaped + 1
        local leased = jobs_of(entry)
        for i = 1, #leased, 2 do ids[#ids + 1] = leased[i] end
        if entry[2] then release(entry[2], 'lost', freed) end
      end
    end
  end
  for id, j in pairs(find_jobs(ids)) do
    if j and j.dropped then
      forget_job(id)
    elseif j then
      -- A "refresh now" is not left to its turn.
      add_due(id, j, j.urgent and math.min(j.due, now) or j.due)
    else
      corrupt[#corrupt + 1] = id
    end
  end
  write_due()
  for _, take in ipairs(dead) do redis.call('DEL', TAKE .. take) end
  send('ZREM', LEASES, dead)
end

-- Unblock: lanes whose instant has come within the horizon compete again, the one that was served least first. A link
-- that opens lets in those who wait at it, one after another: see `pull`.
local function unblock()
  local members = redis.call('ZRANGEBYSCORE', BLOCKED, '-inf', limit, 'LIMIT', 0, 1000)
  if #members == 0 then return end
  local lanes = {}
  for _, member in ipairs(members) do
    if member:byte() == LINK then open_links[#open_links + 1] = { name = member } else lanes[#lanes + 1] = member end
  end
  redis.call('ZREM', BLOCKED, unpack(members))
  if #lanes == 0 then return end
  local left, hot, args = ask('HMGET', VTIME, lanes), ask('SMISMEMBER', HOT, lanes), {}
  for i, lane in ipairs(lanes) do
    args[#args + 1] = start_of(v, left[i]) - (hot[i] == 1 and AHEAD or 0)
    args[#args + 1] = lane
  end
  redis.call('ZADD', LANES, unpack(args))
  redis.call('SREM', PARTLY, unpack(lanes))
  redis.call('SREM', HOT, unpack(lanes))
  redis.call('HDEL', WHY, unpack(lanes))
end

reap()
wake_freed(freed)
unblock()
end

-- A fresh lane, one that neither waits nor is blocked, keeps its due jobs in memory: in the usual case they are
-- granted at once, and never touch a ready set. Those of the others join what already waits there.
local lanes, fresh, NONE = {}, {}, {}
local function lane_of(name)
  local lane = lanes[name]
  if not lane then
    -- All that most lanes come to hold, so that the table is made in one go.
    lane = {
      name = name, queues = NONE, jobs = 0, weight = 1, start = 0, connection = false, chain = false, of = false,
    }
    lanes[name] = lane
    fresh[#fresh + 1] = lane
  end
  return lane
end

-- Promote: what is due, by lane. Queues of jobs that can share a call stand in DUE with their earliest.
local more_due, place = false, nil
do
local function due_ids()
  local ids, shared, queues, from = {}, {}, {}, {}
  local function note(key, queue)
    local members = redis.call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, spec.promote)
    if #members == spec.promote then more_due = true end
    for i = 1, #members do
      local member = members[i]
      if member:byte() > DIGIT then
        queues[#queues + 1] = member
      elseif queue then
        shared[#shared + 1] = member
        from[member] = queue
      else
        ids[#ids + 1] = member
      end
    end
  end
  note(DUE, nil)
  for i = 1, #queues do note(QUEUE .. queues[i], queues[i]) end
  local jobs = read_jobs(ids, false)
  read_jobs(shared, true, jobs)
  for i = 1, #shared do ids[#ids + 1] = shared[i] end
  return ids, from, jobs
end

-- One whose record cannot be read is set aside, out of wherever it was due.
local function set_aside(id, queue)
  corrupt[#corrupt + 1] = id
  local set = due_rems
  if queue then
    set = queue_rems[queue] or {}
    queue_rems[queue] = set
  end
  set[#set + 1] = id
end

-- A lane's jobs in rank order. Sorting plain numbers is far cheaper than asking a function; equal scores are rare.
local function sort_by_rank(queue)
  local size = #queue
  if size < 2 then return end
  local scores, jobs = {}, {}
  for i = 1, size do
    local j = queue[i]
    local score, same = j.score, jobs[j.score]
    if not same then
      scores[#scores + 1] = score
      jobs[score] = j
    elseif same.id then
      jobs[score] = { same, j }
    else
      same[#same + 1] = j
    end
  end
  table.sort(scores)
  local n = 0
  for i = 1, #scores do
    local found = jobs[scores[i]]
    if found.id then
      n = n + 1
      queue[n] = found
    else
      table.sort(found, ranks_before)
      for k = 1, #found do queue[n + k] = found[k] end
      n = n + #found
    end
  end
end

local function gather()
  local ids, from, jobs = due_ids()
  for i = 1, #ids do
    local id = ids[i]
    local j = jobs[id]
    if not j then
      set_aside(id, from[id])
    else
      local lane = lane_of(j.lane)
      lane.jobs = lane.jobs + 1
      if j.urgent then lane.hot = true end
      if lane.queues == NONE then lane.queues = {} end
      local queue = lane.queues[j.resource]
      if not queue then
        queue = { resource = j.resource, fresh = true }
        lane.queues[j.resource] = queue
      end
      j.score = score_of(j.urgent and 0 or j.class, waiting_since(j))
      queue[#queue + 1] = j
    end
  end
  -- What a device's own limit had put off has its turn now.
  if redis.call('EXISTS', WHY) == 1 then
    local told = {}
    for i = 1, #ids do told[i] = '#' .. ids[i] end
    send('HDEL', WHY, told)
  end
end
gather()

-- Where these lanes stand: fresh ones are put on the heap, the jobs of the others join what waits there.
function place(some)
  local names = {}
  for i = 1, #some do names[i] = some[i].name end
  local waiting, blocked = ask('ZMSCORE', LANES, names), ask('ZMSCORE', BLOCKED, names)
  local left, weights = ask('HMGET', VTIME, names), ask('HMGET', WEIGHTS, names)
  local ready = {}
  for i = 1, #some do
    local lane = some[i]
    if weights[i] then lane.weight = tonumber(weights[i]) end
    if waiting[i] or blocked[i] then
      lane.busy = true
      for _, queue in pairs(lane.queues) do
        for k = 1, #queue do leave_due(queue[k].id, queue[k]) end
        add_queue(ready, lane.name, queue)
      end
    else
      lane.start = left[i] and start_of(v, left[i]) or v
      if lane.hot then lane.start = lane.start - AHEAD end
      if lane.jobs > 0 then
        for _, queue in pairs(lane.queues) do sort_by_rank(queue) end
        push(lane)
      end
    end
  end
  if next(ready) then
    make_ready(ready)
    -- At once: should a limit of its device put one off in this very take, it comes back to where it left.
    write_due()
  end
end
place(fresh)
end
prefetch_lanes(fresh)

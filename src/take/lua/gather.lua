-- The first part of take: who competes. Lost calls come back, lanes whose instant has come are unblocked, and what is
-- due is gathered by lane.
local limit, ahead = now + spec.horizon_ms, now + spec.ahead_ms
local calls_max = math.min(tonumber(ARGV[3]), 1000)
local meta = redis.call('HMGET', META, 'run', 'epoch', 'v', 'fence', 'finish', 'app_until')
if meta[1] ~= run_id() then return cmsgpack.pack({ false, now, -1, 0, {}, {}, {} }) end
epoch = tonumber(meta[2])
local v, finish = tonumber(meta[3] or 0), tonumber(meta[5] or 0)
-- The fence grows across a loss of Redis too: it is never below the time in µs.
local lease = (math.floor(math.max(tonumber(meta[4] or 0), now * 1000) / 1024) + 1) * 1024
local n = string.format('%.0f', lease)

local corrupt, freed = {}, {}

-- Reap: what a dead worker held is due again. Its quota stays spent: the call may have been made.
local function reap()
  local dead = redis.call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, 20)
  local reaped, ids = 0, {}
  for _, take in ipairs(dead) do
    for _, entry in ipairs(entries_of(redis.call('HVALS', TAKE .. take))) do
      reaped = reaped + 1
      for _, id in ipairs(entry[3]) do ids[#ids + 1] = id end
      if entry[7] then release(entry[7], 'lost', freed) end
    end
  end
  for id, j in pairs(read_jobs(ids)) do
    if j and j.dropped then
      redis.call('HDEL', bucket_key(id), id)
    elseif j then
      add_due(id, j, j.due)
    else
      corrupt[#corrupt + 1] = id
    end
  end
  write_due()
  for _, take in ipairs(dead) do redis.call('DEL', TAKE .. take) end
  send('ZREM', LEASES, dead)
  return reaped
end

-- Unblock: lanes whose instant has come within the horizon compete again.
local function unblock()
  local lanes = redis.call('ZRANGEBYSCORE', BLOCKED, '-inf', limit, 'LIMIT', 0, 1000)
  if #lanes == 0 then return end
  local left, hot, args = ask('HMGET', VTIME, lanes), ask('SMISMEMBER', HOT, lanes), {}
  for i, lane in ipairs(lanes) do
    args[#args + 1] = start_of(v, left[i]) - (hot[i] == 1 and AHEAD or 0)
    args[#args + 1] = lane
  end
  redis.call('ZADD', LANES, unpack(args))
  redis.call('ZREM', BLOCKED, unpack(lanes))
  redis.call('SREM', PARTLY, unpack(lanes))
  redis.call('SREM', HOT, unpack(lanes))
  redis.call('HDEL', WHY, unpack(lanes))
end

local reaped = reap()
wake_waiters(freed)
unblock()

-- Promote: what is due, by lane, and what will be within `ahead`, in order.
local function due_jobs()
  local ids, at, from, queues, more = {}, {}, {}, {}, false
  local function note(key, queue)
    local members = redis.call('ZRANGEBYSCORE', key, '-inf', ahead, 'WITHSCORES', 'LIMIT', 0, spec.promote)
    more = more or #members == 2 * spec.promote
    for i = 1, #members, 2 do
      local id = members[i]
      if id:find('^%d') then
        ids[#ids + 1] = id
        at[id], from[id] = tonumber(members[i + 1]), queue
      else
        queues[#queues + 1] = id
      end
    end
  end
  note(DUE, nil)
  for _, name in ipairs(queues) do note(QUEUE .. name, name) end
  local jobs = read_jobs(ids)
  local lanes, order, soon, told = {}, {}, {}, {}
  for i = 1, #ids do
    local id = ids[i]
    local j = jobs[id]
    if not j then
      corrupt[#corrupt + 1] = id
      local set = from[id] and (queue_rems[from[id]] or {}) or due_rems
      if from[id] then queue_rems[from[id]] = set end
      set[#set + 1] = id
    else
      j.id, j.at = id, at[id]
      if j.at > j.due then told[#told + 1] = '#' .. id end
      local lane = lanes[j.lane]
      if not lane then
        lane = { name = j.lane }
        lanes[j.lane] = lane
        order[#order + 1] = lane
      end
      if j.at <= now then
        lane[#lane + 1] = j
        lane.urgent = lane.urgent or j.urgent
      else
        soon[#soon + 1] = j
      end
    end
  end
  -- What a device's own limit had put off has its turn now.
  if #told > 0 then redis.call('HDEL', WHY, unpack(told)) end
  return order, lanes, soon, more
end

-- A fresh lane, one that neither waits nor is blocked, keeps its due jobs in memory: in the usual case they are
-- granted at once, and never touch a ready set. Those of the others join what already waits there.
local order, fresh, soon, more_due = due_jobs()
local names = {}
for i = 1, #order do names[i] = order[i].name end
local waiting, blocked = ask('ZMSCORE', LANES, names), ask('ZMSCORE', BLOCKED, names)
local left, weights = ask('HMGET', VTIME, names), ask('HMGET', WEIGHTS, names)
local ready = {}
for i, lane in ipairs(order) do
  if waiting[i] or blocked[i] then
    lane.busy = true
    for k = 1, #lane do
      add_ready(ready, lane[k].id, lane[k])
      leave_due(lane[k].id, lane[k])
    end
  else
    lane.start, lane.weight = start_of(v, left[i]), tonumber(weights[i] or 1)
    lane.hot = lane.urgent
    if lane.hot then lane.start = lane.start - AHEAD end
    lane.queues = {}
    for k = 1, #lane do
      local j = lane[k]
      local queue = lane.queues[j.resource]
      if not queue then
        queue = { resource = j.resource, gone = {}, fresh = true }
        lane.queues[j.resource] = queue
      end
      j.score = score_of(j.urgent and 0 or j.class, waiting_since(j))
      queue[#queue + 1] = j
    end
    for _, queue in pairs(lane.queues) do
      if #queue > 1 then table.sort(queue, ranks_before) end
    end
    if #lane > 0 then push(lane) end
  end
end
make_ready(ready)

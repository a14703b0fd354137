-- Shared by every script: the key names, the job record, the places a job can be in, and how a lane wakes up.
-- Prepended to each script's text, because Redis scripts cannot import.
--
-- All keys of a provider share one hash tag, so that the names built here lie in the slot of KEYS[1].
-- Ids stay the strings that Redis hands out: turning numbers into text is the dearest thing a script does.

local P = KEYS[1] -- "<prefix>{<provider>}:", the anchor that routes the script on a cluster

local DUE, LANES, BLOCKED, LEASES, META = P .. 'due', P .. 'lanes', P .. 'blocked', P .. 'leases', P .. 'meta'
local VTIME, PARTLY, HOT, WHY = P .. 'vtime', P .. 'partly', P .. 'hot', P .. 'why'
local WEIGHTS, CORRUPT, LINKS, SPOKEN = P .. 'weights', P .. 'corrupt', P .. 'links', P .. 'spoken'
local JOBS, READY, QUEUE, TAKE, WAIT = P .. 'jobs:', P .. 'ready:', P .. 'due:', P .. 'take:', P .. 'wait:'
local LEFT, HOMES = P .. 'left:', P .. 'homes'

-- Jobs of a lane and resource: they can share a call. The lane comes last, for a group may be called anything.
local function queue_name(j) return j.resource .. ':' .. j.lane end
-- Records are packed by the hundred or so into hashes, small enough for Redis to keep them as one piece of memory.
-- Those that are due together lie together, so that a take finds its jobs in a few of them: jobs that can share a call
-- by their number, a hundred a hash; those served alone by where their number falls in the interval (see
-- schedule/offset.rs), 131,072 numbers in 2,048 hashes.
local function bucket(id, shared)
  if shared then return 's' .. id:sub(1, -3) end
  local low = id % 131072
  return string.format('%d:%d', (id - low) / 131072, low * 2654435769 % 4294967296 / 2097152)
end

-- Ready jobs of a queue stand in one set a class, by their last run: the head of each is all that rank has to compare.
-- Class 0 is "refresh now".
local CLASSES = { [0] = '0:', '1:', '2:', '3:', '4:', '5:' }
local function class_of(j) return j.urgent and 0 or j.class end
local function ready_key(j) return READY .. CLASSES[class_of(j)] .. queue_name(j) end

-- The lane of a "refresh now" stands this far ahead of all others.
local AHEAD = 1099511627776

-- Job record, packed so that a hundred of them share a listpack. Field: job id. See schedule/queue.rs, its writer.
local RECORD = '<BBBBI4I4I6I6I4I6ss'
-- Flags: bit 0, dropped while leased: settle forgets it; bit 1, it may share a call; bit 2, "refresh now" was asked;
-- from bit 4 on, the kind of its last failure.

-- A table of up to sixteen entries is made in one go: what is rarely so is noted only if it is.
local function parse(id, raw)
  local v, class, flags, attempts, interval, offset, due, last, version, device, lane, resource =
    struct.unpack(RECORD, raw)
  if v ~= 1 or interval == 0 then error('no record') end
  local low = flags % 16
  local j = {
    id = id, raw = raw, class = class, shared = low % 4 >= 2, kind = (flags - low) / 16, attempts = attempts,
    interval = interval, offset = offset, due = due, last = last, version = version, device = device, lane = lane,
    resource = resource, score = 0, key = false,
  }
  if low % 2 == 1 then j.dropped = true end
  if low >= 4 then j.urgent = true end
  return j
end
local function unpack_job(id, raw)
  local ok, job = pcall(parse, id, raw)
  return ok and job or nil
end

local function pack_job(j)
  local flags = (j.dropped and 1 or 0) + (j.shared and 2 or 0) + (j.urgent and 4 or 0) + j.kind * 16
  return struct.pack(RECORD, 1, j.class, flags, j.attempts, j.interval, j.offset, j.due, j.last, j.version, j.device,
    j.lane, j.resource)
end

-- A command with any number of arguments: Lua's unpack holds about 7,990. Pairs stay together.
local function send(command, key, args, flag)
  for from = 1, #args, 4000 do
    local to = math.min(from + 3999, #args)
    if flag then
      redis.call(command, key, flag, unpack(args, from, to))
    else
      redis.call(command, key, unpack(args, from, to))
    end
  end
end

-- Likewise for one that answers an item a member. A key that is not there needs no asking.
local function ask(command, key, members)
  if #members == 0 or redis.call('EXISTS', key) == 0 then return {} end
  if #members <= 4000 then return redis.call(command, key, unpack(members)) end
  local all = {}
  for from = 1, #members, 4000 do
    local part = redis.call(command, key, unpack(members, from, math.min(from + 3999, #members)))
    for i = 1, #part do all[from + i - 1] = part[i] end
  end
  return all
end

-- Redis's own time unless a test hands one in: workers' wall clocks play no part.
local function now_ms(given)
  if given ~= '' then return tonumber(given) end
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- Which run of the server this is: it changes with a restart, and with a failover.
local function run_id() return redis.call('INFO', 'server'):match('run_id:(%x+)') end

-- The first point of the job's grid after t. The grid is stateless: its points are the job's offset into each
-- interval since the epoch, so it cannot drift, and a rebuild finds it again.
local function grid_after(j, t)
  return (math.floor((t - j.offset) / j.interval) + 1) * j.interval + j.offset
end

-- What ready jobs are ranked by: the last run, or for one that never ran, as though it had run an interval before due.
local function waiting_since(j)
  if j.last > 0 then return j.last end
  return math.max(0, j.due - j.interval)
end

local function parse_all(members, raws, jobs)
  for i = 1, #members do
    local raw = raws[i]
    jobs[members[i]] = raw and parse(members[i], raw)
  end
end
-- Reads many records in one call a bucket. ids: array; shared: whether they can share a call. Adds to jobs, and returns
-- it: id -> job, or false for a missing or corrupt one.
local function read_jobs(ids, shared, jobs)
  local buckets = {}
  jobs = jobs or {}
  for i = 1, #ids do
    local id = ids[i]
    local n = bucket(id, shared)
    local b = buckets[n]
    if b then b[#b + 1] = id else buckets[n] = { id } end
  end
  for n, members in pairs(buckets) do
    local raws = redis.call('HMGET', JOBS .. n, unpack(members))
    -- One guard for all: only where a record is corrupt are they looked at one by one.
    if not pcall(parse_all, members, raws, jobs) then
      for i = 1, #members do jobs[members[i]] = raws[i] and unpack_job(members[i], raws[i]) or false end
    end
  end
  return jobs
end

-- Likewise for who does not know: wherever each of them is.
local function find_jobs(ids)
  local jobs, rest = read_jobs(ids, false), {}
  for i = 1, #ids do if not jobs[ids[i]] then rest[#rest + 1] = ids[i] end end
  return read_jobs(rest, true, jobs)
end
local function forget_job(id)
  redis.call('HDEL', JOBS .. bucket(id, false), id)
  redis.call('HDEL', JOBS .. bucket(id, true), id)
end

-- Records to be written: keep notes one, write_kept writes all, in one call a bucket.
local function keep(buckets, id, shared, raw)
  local n = bucket(id, shared)
  local b = buckets[n]
  if b then
    b[#b + 1] = id
    b[#b + 1] = raw
  else
    buckets[n] = { id, raw }
  end
end
local function write_kept(buckets)
  for n, args in pairs(buckets) do send('HSET', JOBS .. n, args) end
end
-- jobs: id -> job.
local function write_jobs(jobs)
  local buckets = {}
  for id, j in pairs(jobs) do keep(buckets, id, j.shared, pack_job(j)) end
  write_kept(buckets)
end

-- Where jobs wait for their time. One whose call serves it alone stands in DUE itself; those that can share a call
-- stand in the due set of their queue, of which DUE has the earliest: so a call finds who else could come along.
local due_adds, due_rems, queue_adds, queue_rems = {}, {}, {}, {}
local function into(sets, j)
  local name = queue_name(j)
  local set = sets[name]
  if not set then set = {}; sets[name] = set end
  return set
end
local function add_due(id, j, at)
  local set = j.shared and into(queue_adds, j) or due_adds
  set[#set + 1] = at
  set[#set + 1] = id
end
local function leave_due(id, j)
  local set = j.shared and into(queue_rems, j) or due_rems
  set[#set + 1] = id
end
local function due_at(id, j)
  return redis.call('ZSCORE', j.shared and QUEUE .. queue_name(j) or DUE, id)
end
-- Writes what was noted. DUE follows the heads of the queues that changed.
local function write_due()
  local changed = {}
  for name, args in pairs(queue_adds) do send('ZADD', QUEUE .. name, args); changed[name] = true end
  for name, ids in pairs(queue_rems) do send('ZREM', QUEUE .. name, ids); changed[name] = true end
  for name in pairs(changed) do
    local head = redis.call('ZRANGE', QUEUE .. name, 0, 0, 'WITHSCORES')
    if head[2] then
      due_adds[#due_adds + 1] = head[2]
      due_adds[#due_adds + 1] = name
    else
      due_rems[#due_rems + 1] = name
    end
  end
  send('ZADD', DUE, due_adds)
  send('ZREM', DUE, due_rems)
  due_adds, due_rems, queue_adds, queue_rems = {}, {}, {}, {}
end

-- Start-time fair queueing (Goyal, Vin, Cheng 1996): a lane that comes back starts at the present virtual time, or
-- where it left off if that is later, so that coming and going earns nothing.
local function start_of(v, left) return math.max(v, tonumber(left or 0)) end

-- Lets lanes compete that are neither served nor blocked. A lane with ready jobs is always in one of the two.
-- One that is only partly blocked, by a quota of some resources, competes again: the new jobs may be of another.
-- hot: lanes with a "refresh now"; these compete whatever blocks their background syncs, ahead of all others.
local function wake_lanes(lanes, hot)
  if #lanes == 0 then return end
  local blocked, partly = ask('ZMSCORE', BLOCKED, lanes), ask('SMISMEMBER', PARTLY, lanes)
  local waiting, ahead = ask('ZMSCORE', LANES, lanes), ask('SMISMEMBER', HOT, lanes)
  local v = tonumber(redis.call('HGET', META, 'v') or '0')
  local left = ask('HMGET', VTIME, lanes)
  local adds, woken = {}, {}
  for i, lane in ipairs(lanes) do
    local is_hot = hot and hot[lane]
    local start = waiting[i] and tonumber(waiting[i])
    if blocked[i] and (is_hot or partly[i] == 1) then woken[#woken + 1] = lane end
    if is_hot then
      if not start or start >= 0 then start = (start or start_of(v, left[i])) - AHEAD else start = nil end
    elseif start or (blocked[i] and partly[i] ~= 1) then
      start = nil
    else
      -- One with a "refresh now" that was blocked in part stands ahead still.
      start = start_of(v, left[i]) - (ahead[i] == 1 and AHEAD or 0)
    end
    if start then
      adds[#adds + 1] = start
      adds[#adds + 1] = lane
    end
  end
  send('ZADD', LANES, adds)
  send('ZREM', BLOCKED, woken)
  if #woken > 0 and redis.call('EXISTS', HOT) == 1 then send('SREM', HOT, woken) end
end

-- Ready sets to be filled: add_ready notes a job, make_ready writes all and wakes their lanes.
local function add_ready(sets, id, j)
  local key = ready_key(j)
  local args = sets[key]
  if not args then
    args = { lane = j.lane, hot = j.urgent }
    sets[key] = args
  end
  args[#args + 1] = string.format('%d', waiting_since(j))
  args[#args + 1] = id
end
-- Likewise all jobs of a lane's queue from `first` on.
local function add_queue(sets, lane, jobs, first)
  local name, of = jobs.resource .. ':' .. lane, {}
  for i = first or 1, #jobs do
    local j = jobs[i]
    local class = class_of(j)
    local args = of[class]
    if not args then
      args = { lane = lane, hot = j.urgent }
      of[class] = args
      sets[READY .. CLASSES[class] .. name] = args
    end
    args[#args + 1] = string.format('%d', waiting_since(j))
    args[#args + 1] = j.id
  end
end
local function make_ready(sets)
  local lanes, seen, hot = {}, {}, {}
  for key, args in pairs(sets) do
    send('ZADD', key, args)
    if not seen[args.lane] then lanes[#lanes + 1] = args.lane end
    seen[args.lane] = true
    if args.hot then hot[args.lane] = true end
  end
  wake_lanes(lanes, hot)
end

-- A call in a take's hash, in a row without a table of its own, for these are written and read for every call: how many
-- jobs, held, whether they can share a call, id, record (false for none), then what only few ends need: lane, resource,
-- instant, cost, urgent, after; id, record, id, record … of the other jobs.
local FIRST, OTHERS = 4, 12
-- All of it, or nil if it cannot be read: whose it was, `check` finds out.
local function entry_of(raw)
  local function row(ok, ...) return ok and type((...)) == 'number' and { ... } or nil end
  return row(pcall(cmsgpack.unpack, raw))
end
-- Id and record of each of its jobs, in a row.
local function jobs_of(entry)
  local jobs = {}
  if entry[1] > 0 then jobs[1], jobs[2] = entry[FIRST], entry[FIRST + 1] end
  for i = OTHERS, #entry do jobs[#jobs + 1] = entry[i] end
  return jobs
end

-- Shared by every script: the key names, the job record, and how a lane wakes up.
-- Prepended to each script's text, because Redis scripts cannot import.
--
-- All keys of a provider share one hash tag, so that the names built here lie in the slot of KEYS[1].

local P = KEYS[1] -- "<prefix>{<provider>}:", the anchor that routes the script on a cluster

local DUE, LANES, BLOCKED, LEASES = P .. 'due', P .. 'lanes', P .. 'blocked', P .. 'leases'
local CALLS, META, VTIME, PARTLY = P .. 'calls', P .. 'meta', P .. 'vtime', P .. 'partly'
local function ready_key(lane, resource) return P .. 'ready:' .. lane .. ':' .. resource end
local function bucket_key(id) return P .. 'jobs:' .. math.floor(id / 64) end

-- A ready score is class first, then last run: the head of each class is one range away.
-- 2^43 ms is the year 2248; six classes stay far inside a double's 2^53.
local CLASS = 8796093022208

-- Job record, packed so that 64 of them share a listpack. Field: job id. See schedule/record.rs, its twin.
local RECORD = '<BBBBI4I4I6I6I4I6ss'
-- Flags: bit 0, dropped while leased: settle forgets it; from bit 4 on, the kind of its last failure.

local function unpack_job(raw)
  local ok, v, class, flags, attempts, interval, offset, due, last, version, device, lane, resource =
    pcall(struct.unpack, RECORD, raw)
  if not ok or v ~= 1 or interval == 0 then return nil end
  return {
    class = class, dropped = flags % 2 == 1, kind = math.floor(flags / 16), attempts = attempts, interval = interval,
    offset = offset, due = due, last = last, version = version, device = device, lane = lane, resource = resource,
  }
end

local function pack_job(j)
  local flags = (j.dropped and 1 or 0) + j.kind * 16
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

-- Reads many records in one call a bucket. ids: array. Returns id -> job, or false for a missing or corrupt one.
local function read_jobs(ids)
  local buckets, jobs = {}, {}
  for _, id in ipairs(ids) do
    local key = bucket_key(id)
    local b = buckets[key]
    if not b then b = {}; buckets[key] = b end
    b[#b + 1] = id
  end
  for key, members in pairs(buckets) do
    local raw = redis.call('HMGET', key, unpack(members))
    for i, id in ipairs(members) do
      jobs[id] = raw[i] and unpack_job(raw[i]) or false
    end
  end
  return jobs
end

-- Writes many records in one call a bucket. jobs: id -> job.
local function write_jobs(jobs)
  local buckets = {}
  for id, j in pairs(jobs) do
    local key = bucket_key(id)
    local b = buckets[key]
    if not b then b = {}; buckets[key] = b end
    b[#b + 1] = id
    b[#b + 1] = pack_job(j)
  end
  for key, args in pairs(buckets) do send('HSET', key, args) end
end

-- Lets lanes compete that are neither served nor blocked. A lane with ready jobs is always in one of the two.
-- One that is only partly blocked, by a quota of some resources, competes again: the new jobs may be of another.
local function wake_lanes(lanes)
  if #lanes == 0 then return end
  local blocked = redis.call('ZMSCORE', BLOCKED, unpack(lanes))
  local partly = redis.call('SMISMEMBER', PARTLY, unpack(lanes))
  local idle, woken = {}, {}
  for i, lane in ipairs(lanes) do
    if not blocked[i] or partly[i] == 1 then idle[#idle + 1] = lane end
    if blocked[i] and partly[i] == 1 then woken[#woken + 1] = lane end
  end
  if #idle == 0 then return end
  -- Start-time fair queueing: a lane that comes back starts at the present virtual time, or where it left off
  -- if that is later, so that coming and going earns nothing.
  local v = tonumber(redis.call('HGET', META, 'v') or '0')
  local left = redis.call('HMGET', VTIME, unpack(idle))
  local args = {}
  for i, lane in ipairs(idle) do
    args[#args + 1] = math.max(v, tonumber(left[i] or '0'))
    args[#args + 1] = lane
  end
  send('ZADD', LANES, args, 'NX')
  send('ZREM', BLOCKED, woken)
end

-- Ready sets to be filled: add_ready notes a job, make_ready writes all and wakes their lanes.
local function add_ready(sets, id, j)
  local lane = sets[j.lane]
  if not lane then lane = {}; sets[j.lane] = lane end
  local args = lane[j.resource]
  if not args then args = {}; lane[j.resource] = args end
  args[#args + 1] = j.class * CLASS + waiting_since(j)
  args[#args + 1] = id
end
local function make_ready(sets)
  local lanes = {}
  for lane, by_resource in pairs(sets) do
    for resource, args in pairs(by_resource) do send('ZADD', ready_key(lane, resource), args) end
    lanes[#lanes + 1] = lane
  end
  wake_lanes(lanes)
end

-- Record: a job as the schedule keeps it: its bytes, the hash it is kept in, and its grid. Ids stay the strings that
-- Redis returns, because turning numbers into text is the most expensive thing a script does.
-- Uses: Keys, Command, Const
-- Gives: queue_name, class_prefix, class_of, ready_key, waiting_since, grid_after, due_after, pack, unpack,
--   succeeded, read, find, forget, stage, write_staged, write
local JOBS, READY, send = Keys.jobs, Keys.ready, Command.send
local format, floor, read_bytes, write_bytes = string.format, math.floor, struct.unpack, struct.pack

-- Jobs of a queue can share a call. The lane comes last, because a group may have any name.
local function queue_name(j) return j.resource .. ':' .. j.lane end

-- Records are packed by the hundred or so into hashes, small enough for Redis to keep each in one piece of memory.
-- Those that are due together lie together, so that a take finds its jobs in a few hashes. Jobs that can share a call
-- lie together by their id; those served alone by where their id falls in the interval (see schedule/offset.rs).
local BLOCK, GOLDEN, SHARED_END = Const.bucket_block, Const.golden, -1 - Const.bucket_digits
local HASHES, SHARE = Const.bucket_hashes, 4294967296 / Const.bucket_hashes
local function bucket(id, shared)
  if shared then return id:sub(1, SHARED_END) end
  local number = id + 0 -- cheaper than tonumber, which reads the text twice
  local low = number % BLOCK
  local share = low * GOLDEN % 4294967296
  return (number - low) / BLOCK * HASHES + (share - share % SHARE) / SHARE
end
-- The key of a bucket's hash.
local function hash_key(n)
  if type(n) == 'string' then return JOBS .. 's' .. n end
  local of_block = n % HASHES
  return format('%s%d:%d', JOBS, (n - of_block) / HASHES, of_block)
end

-- Ready jobs of a queue are kept in one set per class, by last run: rank compares only the head of each. Class 0 is
-- "refresh now".
local class_prefix = { [0] = '0:', '1:', '2:', '3:', '4:', '5:' }
local function class_of(j) return j.urgent and 0 or j.class end
local function ready_key(j) return READY .. class_prefix[class_of(j)] .. queue_name(j) end

-- The instant from which a ready job counts as waiting: its last run, or one interval before due if it never ran. One
-- that keeps failing waits from its due time on: it ranks behind those that are well, and is served in the end.
local LASTING = 2
local function waiting_since(j)
  if j.attempts > 0 and j.kind >= LASTING then return j.due end
  if j.last > 0 then return j.last end
  return math.max(0, j.due - j.interval)
end

-- The first point of a grid after t. The grid is stateless: its points are the job's offset into each interval since
-- the epoch, so it cannot drift, and a rebuild finds it again.
local function grid_after(interval, offset, t)
  return (floor((t - offset) / interval) + 1) * interval + offset
end

-- When a job is due after a success: at the next point of its grid that is not the one it ran for. "Refresh now" never
-- puts the next run off by more than an interval.
local function due_after(interval, offset, last, due, was_urgent)
  local point = grid_after(interval, offset, last > due and last or due)
  if was_urgent and point - last > interval then return last + interval end
  return point
end

-- The layout: version, class, flags, attempts, interval, offset, due, last run, version of the preference, device,
-- lane, resource. Flags: bit 0, dropped while leased: settle forgets it; bit 1, it may share a call; bit 2, "refresh
-- now" was asked; from bit 4 on, the kind of its last failure.
local LAYOUT, VERSION = '<BBBBI4I4I6I6I4I6ss', 1
-- The bytes that a success changes, and where the rest begins.
local HEAD, REST = '<BBBBI4I4I6I6', 25

-- A table of up to sixteen entries is made in one go: rare fields are set only where they are needed.
local function parse(id, raw)
  local v, class, flags, attempts, interval, offset, due, last, version, device, lane, resource =
    read_bytes(LAYOUT, raw)
  if v ~= VERSION or interval == 0 then error('no record') end
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
-- nil for a corrupt one.
local function unpack_job(id, raw)
  local ok, job = pcall(parse, id, raw)
  return ok and job or nil
end

local function pack_job(j)
  local flags = (j.dropped and 1 or 0) + (j.shared and 2 or 0) + (j.urgent and 4 or 0) + j.kind * 16
  return write_bytes(LAYOUT, VERSION, j.class, flags, j.attempts, j.interval, j.offset, j.due, j.last, j.version,
    j.device, j.lane, j.resource)
end

-- The record after a success that was sent at an instant, when it is due next and the name of its queue if it may share
-- a call: the usual end of a job, without taking the record apart. Nothing for one that was dropped or is corrupt.
local function succeeded(raw, shared, sent)
  local v, class, flags, _, interval, offset, due, last = read_bytes(HEAD, raw)
  if v ~= VERSION or flags % 2 == 1 or interval == 0 then return nil end
  if sent > last then last = sent end
  due = due_after(interval, offset, last, due, flags % 8 >= 4)
  -- It may share a call as before; nothing urgent and no failure is left.
  local next_raw = write_bytes(HEAD, v, class, flags % 4, 0, interval, offset, due, last) .. raw:sub(REST)
  if not shared then return next_raw, due end
  local _, _, _, _, _, _, _, _, _, _, lane, resource = read_bytes(LAYOUT, raw)
  return next_raw, due, resource .. ':' .. lane
end

local function parse_all(members, raws, jobs)
  for i = 1, #members do
    local raw = raws[i]
    jobs[members[i]] = raw and parse(members[i], raw)
  end
end
-- Reads many records with one command per hash. shared: whether they can share a call. Adds to jobs, and returns it:
-- id -> job, or false for a missing or corrupt one.
local function read(ids, shared, jobs)
  local buckets = {}
  jobs = jobs or {}
  for i = 1, #ids do
    local id = ids[i]
    local n = bucket(id, shared)
    local b = buckets[n]
    if b then b[#b + 1] = id else buckets[n] = { id } end
  end
  for n, members in pairs(buckets) do
    local raws = redis.call('HMGET', hash_key(n), unpack(members))
    -- One guard for all: records are looked at one by one only where some are corrupt.
    if not pcall(parse_all, members, raws, jobs) then
      for i = 1, #members do jobs[members[i]] = raws[i] and unpack_job(members[i], raws[i]) or false end
    end
  end
  return jobs
end

-- Likewise where the caller does not know which of them can share a call.
local function find(ids)
  local jobs, rest = read(ids, false), {}
  for i = 1, #ids do if not jobs[ids[i]] then rest[#rest + 1] = ids[i] end end
  return read(rest, true, jobs)
end
local function forget(id)
  redis.call('HDEL', hash_key(bucket(id, false)), id)
  redis.call('HDEL', hash_key(bucket(id, true)), id)
end

-- stage notes one packed record, write_staged writes all with one command per hash.
local function stage(buckets, id, shared, raw)
  local n = bucket(id, shared)
  local b = buckets[n]
  if b then
    b[#b + 1] = id
    b[#b + 1] = raw
  else
    buckets[n] = { id, raw }
  end
end
local function write_staged(buckets)
  for n, args in pairs(buckets) do send('HSET', hash_key(n), args) end
end
-- jobs: id -> job.
local function write(jobs)
  local buckets = {}
  for id, j in pairs(jobs) do stage(buckets, id, j.shared, pack_job(j)) end
  write_staged(buckets)
end

return {
  queue_name = queue_name, class_prefix = class_prefix, class_of = class_of, ready_key = ready_key,
  waiting_since = waiting_since, grid_after = grid_after, due_after = due_after, pack = pack_job,
  unpack = unpack_job, succeeded = succeeded,
  read = read, find = find, forget = forget, stage = stage, write_staged = write_staged, write = write,
}

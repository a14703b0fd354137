-- put: make the schedule know jobs as their owners now want them.
-- KEYS  1 anchor "<prefix>{<provider>}:"
-- ARGV  1 now in ms, or '' for Redis's own
--       2 over how long first runs are spread, ms
--       3 msgpack array of
--         [id, class, interval_ms, offset_ms, version, device, lane, resource, last_run_ms or 0, shared, weight,
--          wanted_since_ms or 0, attempts, kind, due_after_ms]
--         shared: its call may serve others too; weight: of its lane among lanes, 1 for most
--         attempts, kind: its failures in a row and their kind, 0 for none; then it is due at the first point of its
--         grid after due_after_ms. They are of use only for a job that the schedule does not have
-- Returns how many were put; a job with an older version than the schedule's is left alone.
--
-- A new job is due within the spread after it came to be wanted, so that it waits since then however often Redis is
-- lost; a day at most. A job whose interval changed is due at the next point of its new grid; one that failed and has a
-- newer version, at once; one that failed and whose interval changed without a newer version, as before.
-- A waiting job keeps its place in rank; a leased one keeps its lease and is settled by the new preference.
-- Uses: Keys, Command, Clock, Record, Due, Lanes
local now, spread = Clock.now_ms(ARGV[1]), tonumber(ARGV[2])
local wanted = cmsgpack.unpack(ARGV[3])
local grid_after = Record.grid_after

local ids = {}
for i = 1, #wanted do ids[i] = wanted[i][1] end
local jobs = Record.find(ids)

local DAY_MS = 86400000
local ready, changed, count, weights, plain, groups = {}, {}, 0, {}, {}, {}

local function put_new(id, j, wanted_since, due_after)
  if j.attempts > 0 then
    j.due = math.max(grid_after(j.interval, j.offset, due_after), 0)
  elseif j.last > 0 then
    j.due = math.max(grid_after(j.interval, j.offset, j.last), 0) -- rebuilt: overdue ones are due at once
  else
    local since = wanted_since > 0 and math.max(math.min(wanted_since, now), now - DAY_MS) or now
    j.due = since + j.offset % spread -- jobs that may share a call still meet
  end
  Due.add(id, j, j.due)
end

local function put_again(id, j, old)
  j.last, j.due, j.attempts, j.kind = math.max(old.last, j.last), old.due, old.attempts, old.kind
  j.urgent = old.urgent
  local waits = Due.at(id, old)
  if waits then
    local moved = j.interval ~= old.interval or j.offset ~= old.offset
    if j.version > old.version and old.attempts > 0 then
      -- What its owner changes, or the provider's list has again, may work again.
      moved, j.due, j.attempts, j.kind = true, now, 0, 0
    elseif moved and j.version == old.version and old.attempts > 0 then
      moved = false -- the same preference at another time of day: what failed waits as long as before
    elseif moved then
      j.due = grid_after(j.interval, j.offset, now)
      j.attempts, j.kind = 0, 0
    end
    if moved or j.lane ~= old.lane or j.shared ~= old.shared then
      Due.add(id, j, moved and j.due or waits)
      -- Those served alone wait in one set, whatever their lane.
      if j.shared ~= old.shared or old.shared and j.lane ~= old.lane then Due.remove(id, old) end
    end
  elseif redis.call('ZREM', Record.ready_key(old), id) == 1 then
    Lanes.add_ready(ready, id, j)
  else
    redis.call('SADD', Keys.changed, id) -- it is leased: settle goes by what it finds here, not by what was leased
  end
  if old.shared ~= j.shared then Record.forget(id) end
end

-- What is stored of its lane.
local function note_lane(lane, weight)
  local connection = lane:match('^(%d+)%.')
  if connection then groups[#groups + 1] = connection end
  if weight == 1 then
    plain[#plain + 1] = lane
  else
    weights[#weights + 1] = lane
    weights[#weights + 1] = weight
  end
end

for _, w in ipairs(wanted) do
  local id, old = w[1], jobs[w[1]]
  local j = {
    class = w[2], dropped = false, urgent = false, kind = w[14], attempts = w[13], interval = w[3], offset = w[4],
    version = w[5], device = w[6], lane = w[7], resource = w[8], last = w[9], due = 0, shared = w[10],
  }
  local is_newer = not old or old.version <= j.version
  if is_newer then
    if old then put_again(id, j, old) else put_new(id, j, w[12], w[15]) end
    changed[id] = j
    count = count + 1
  end
  if changed[id] then note_lane(j.lane, w[11]) end
end
Due.write()
Lanes.make_ready(ready)
Record.write(changed)
Command.send('HSET', Keys.weights, weights)
Command.send('SADD', Keys.groups, groups)
if redis.call('EXISTS', Keys.weights) == 1 then Command.send('HDEL', Keys.weights, plain) end
if redis.call('EXISTS', Keys.corrupt) == 1 then Command.send('HDEL', Keys.corrupt, ids) end
redis.call('PUBLISH', Keys.wake, '')
return count

-- put: make the schedule know jobs as their owners now want them.
-- KEYS  1 anchor "<prefix>{<provider>}:"
-- ARGV  1 now in ms, or '' for Redis's own
--       2 over how long first runs are spread, ms
--       3 msgpack array of [id, class, interval_ms, offset_ms, version, device, lane, resource, last_run_ms or 0]
-- Returns how many were taken; one with an older version than the schedule's is left alone.
--
-- A new job is due within the spread; a job whose interval changed, at the next point of its new grid.
-- A waiting job keeps its place in rank; a leased one keeps its lease and is settled by the new preference.
local now = now_ms(ARGV[1])
local spread = tonumber(ARGV[2])
local wanted = cmsgpack.unpack(ARGV[3])

local ids = {}
for i, w in ipairs(wanted) do ids[i] = w[1] end
local jobs = read_jobs(ids)

local due, ready, changed, taken = {}, {}, {}, 0

for _, w in ipairs(wanted) do
  local id, old = w[1], jobs[w[1]]
  local j = {
    class = w[2], dropped = false, kind = 0, attempts = 0, interval = w[3], offset = w[4], version = w[5],
    device = w[6], lane = w[7], resource = w[8], last = w[9], due = 0,
  }
  if not old then
    if j.last > 0 then
      j.due = math.max(grid_after(j, j.last), 0) -- rebuilt: overdue ones are due at once
    else
      j.due = now + j.offset % spread -- jobs that may share a call still meet
    end
    due[#due + 1] = j.due
    due[#due + 1] = id
    changed[id] = j
    taken = taken + 1
  elseif old.version <= j.version then
    j.last, j.due, j.attempts, j.kind = math.max(old.last, j.last), old.due, old.attempts, old.kind
    if redis.call('ZSCORE', DUE, id) then
      if j.interval ~= old.interval or j.offset ~= old.offset then
        j.due = grid_after(j, now)
        j.attempts, j.kind = 0, 0
        due[#due + 1] = j.due
        due[#due + 1] = id
      end
    elseif redis.call('ZREM', ready_key(old.lane, old.resource), id) == 1 then
      add_ready(ready, id, j)
    end
    changed[id] = j
    taken = taken + 1
  end
end
send('ZADD', DUE, due)
make_ready(ready)
write_jobs(changed)
redis.call('PUBLISH', P .. 'wake', '')
return taken

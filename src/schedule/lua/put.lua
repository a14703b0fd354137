-- put: make the schedule know jobs as their owners now want them.
-- KEYS  1 anchor "<prefix>{<provider>}:"
-- ARGV  1 now in ms, or '' for Redis's own
--       2 over how long first runs are spread, ms
--       3 msgpack array of
--         [id, class, interval_ms, offset_ms, version, device, lane, resource, last_run_ms or 0, shared, weight]
--         shared: its call may serve others too; weight: of its lane among lanes, 1 for most
-- Returns how many were taken; one with an older version than the schedule's is left alone.
--
-- A new job is due within the spread; a job whose interval changed, at the next point of its new grid.
-- A waiting job keeps its place in rank; a leased one keeps its lease and is settled by the new preference.
local now = now_ms(ARGV[1])
local spread = tonumber(ARGV[2])
local wanted = cmsgpack.unpack(ARGV[3])

local ids = {}
for i = 1, #wanted do ids[i] = wanted[i][1] end
local jobs = find_jobs(ids)

local ready, changed, taken, weights, plain, homes = {}, {}, 0, {}, {}, {}

for _, w in ipairs(wanted) do
  local id, old = w[1], jobs[w[1]]
  local j = {
    class = w[2], dropped = false, urgent = false, kind = 0, attempts = 0, interval = w[3], offset = w[4],
    version = w[5], device = w[6], lane = w[7], resource = w[8], last = w[9], due = 0, shared = w[10],
  }
  if not old then
    if j.last > 0 then
      j.due = math.max(grid_after(j, j.last), 0) -- rebuilt: overdue ones are due at once
    else
      j.due = now + j.offset % spread -- jobs that may share a call still meet
    end
    add_due(id, j, j.due)
    changed[id] = j
    taken = taken + 1
  elseif old.version <= j.version then
    j.last, j.due, j.attempts, j.kind = math.max(old.last, j.last), old.due, old.attempts, old.kind
    j.urgent = old.urgent
    local waits = due_at(id, old)
    if waits then
      local moved = j.interval ~= old.interval or j.offset ~= old.offset
      if moved then
        j.due = grid_after(j, now)
        j.attempts, j.kind = 0, 0
      end
      if moved or j.lane ~= old.lane or j.shared ~= old.shared then
        add_due(id, j, moved and j.due or waits)
        -- Those served alone wait in one set, whatever their lane.
        if j.shared ~= old.shared or old.shared and j.lane ~= old.lane then leave_due(id, old) end
      end
    elseif redis.call('ZREM', ready_key(old), id) == 1 then
      add_ready(ready, id, j)
    else
      redis.call('SADD', SPOKEN, id) -- it is leased: settle goes by what it finds here, not by what was taken
    end
    if old.shared ~= j.shared then forget_job(id) end
    changed[id] = j
    taken = taken + 1
  end
  if changed[id] then
    local account = j.lane:match('^(%d+)%.')
    if account then homes[#homes + 1] = account end
    if w[11] == 1 then
      plain[#plain + 1] = j.lane
    else
      weights[#weights + 1] = j.lane
      weights[#weights + 1] = w[11]
    end
  end
end
write_due()
make_ready(ready)
write_jobs(changed)
send('HSET', WEIGHTS, weights)
send('SADD', HOMES, homes)
if redis.call('EXISTS', WEIGHTS) == 1 then send('HDEL', WEIGHTS, plain) end
if redis.call('EXISTS', CORRUPT) == 1 then send('HDEL', CORRUPT, ids) end
redis.call('PUBLISH', P .. 'wake', '')
return taken

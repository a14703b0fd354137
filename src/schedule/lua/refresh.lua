-- refresh: let jobs run now, ahead of everything, on what the quotas reserve for it.
-- KEYS  1 anchor
-- ARGV  job ids
-- Returns an array, one per job: 'queued', 'waiting' (it was asked before), 'running' (it is being fetched) or
-- 'unknown'. Asked twice it runs once; its next point on the grid is kept.
-- Uses: Keys, Record, Due, Lanes
local answers, ready, changed = {}, {}, {}
local jobs = Record.find(ARGV)
for i, id in ipairs(ARGV) do
  local j = jobs[id]
  if not j or j.dropped then
    answers[i] = 'unknown'
  else
    local due = not changed[id] and Due.at(id, j)
    local waits = not due and not changed[id] and redis.call('ZSCORE', Record.ready_key(j), id)
    if changed[id] or waits and j.urgent then
      answers[i] = 'waiting'
    elseif not due and not waits then
      answers[i] = 'running'
    else
      if waits then redis.call('ZREM', Record.ready_key(j), id) end
      j.urgent = true
      changed[id] = j
      Lanes.add_ready(ready, id, j)
      if due then Due.remove(id, j) end
      answers[i] = 'queued'
    end
  end
end
Record.write(changed)
Lanes.make_ready(ready)
Due.write()
if next(changed) then redis.call('PUBLISH', Keys.wake, '') end
return answers

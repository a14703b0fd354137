-- refresh: let jobs run now, ahead of everything, on what the quotas reserve for it.
-- KEYS  1 anchor
-- ARGV  job ids
-- Returns an array, one a job: 'queued', 'waiting' (it was asked before), 'running' (it is being fetched) or
-- 'unknown'. Asked twice it runs once; its next turn on the grid is kept.
local answers, ready, changed = {}, {}, {}
local jobs = find_jobs(ARGV)
for i, id in ipairs(ARGV) do
  local j = jobs[id]
  if not j or j.dropped then
    answers[i] = 'unknown'
  else
    local due = not changed[id] and due_at(id, j)
    local waits = not due and not changed[id] and redis.call('ZSCORE', ready_key(j), id)
    if changed[id] or waits and j.urgent then
      answers[i] = 'waiting'
    elseif not due and not waits then
      answers[i] = 'running'
    else
      if waits then redis.call('ZREM', ready_key(j), id) end
      j.urgent = true
      changed[id] = j
      add_ready(ready, id, j)
      if due then leave_due(id, j) end
      answers[i] = 'queued'
    end
  end
end
write_jobs(changed)
make_ready(ready)
write_due()
if next(changed) then redis.call('PUBLISH', P .. 'wake', '') end
return answers

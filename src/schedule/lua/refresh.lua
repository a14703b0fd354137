-- refresh: let jobs run now, ahead of everything, on what the quotas reserve for it.
-- KEYS  1 anchor
-- ARGV  1 now in ms, or '' for Redis's own
--       2 msgpack, what the tenant may ask for (see admission.lua), or '': as often as it is asked
--       3… job ids
-- Returns msgpack {answers, left, reset_ms}
--   answers  one {word, why, again_ms} per job: 'queued', 'waiting' (it was asked before), 'running' (it is being
--            fetched), 'unknown' or 'limited': by 'job', 'tenant' or the name of a quota, for so many ms
--   left, reset_ms  how many more the tenant may ask for, and when there is one more; 0 without limits
-- Asked twice it runs once, and counts once; its next point on the grid is kept.
-- Uses: Keys, Record, Due, Lanes, Admission
local answers, ready, changed = {}, {}, {}
local ids = {}
for i = 3, #ARGV do ids[i - 2] = ARGV[i] end
local jobs = Record.find(ids)
for i, id in ipairs(ids) do
  local j = jobs[id]
  if not j or j.dropped then
    answers[i] = { 'unknown', '', 0 }
  else
    local due = not changed[id] and Due.at(id, j)
    local waits = not due and not changed[id] and redis.call('ZSCORE', Record.ready_key(j), id)
    if changed[id] or waits and j.urgent then
      answers[i] = { 'waiting', '', 0 }
    elseif not due and not waits then
      answers[i] = { 'running', '', 0 }
    else
      local why, again_ms = Admission.admit(id)
      if why then
        answers[i] = { 'limited', why, again_ms }
      else
        if waits then redis.call('ZREM', Record.ready_key(j), id) end
        j.urgent = true
        changed[id] = j
        Lanes.add_ready(ready, id, j)
        if due then Due.remove(id, j) end
        answers[i] = { 'queued', '', 0 }
      end
    end
  end
end
Record.write(changed)
Lanes.make_ready(ready)
Due.write()
if next(changed) then redis.call('PUBLISH', Keys.wake, '') end
local left, reset_ms = Admission.left()
return cmsgpack.pack({ answers, left, reset_ms })

-- drop: make the schedule forget jobs.
-- KEYS  1 anchor
-- ARGV  1 '1' to forget leased ones at once too (for repair), '' otherwise
--       then pairs of job id and version: one that the schedule has a newer preference of stays
-- Returns how many were forgotten or marked. One that is leased is marked, and forgotten when its call ends.
local known, ids = 0, {}
for i = 2, #ARGV, 2 do ids[#ids + 1] = ARGV[i] end
local jobs, marked = find_jobs(ids), {}
for i = 2, #ARGV, 2 do
  local id, version = ARGV[i], tonumber(ARGV[i + 1])
  local j = jobs[id]
  if not (j and j.version > version) then
    if j then known = known + 1 end
    local waiting = redis.call('ZREM', DUE, id) == 1
    if j and j.shared and due_at(id, j) then
      leave_due(id, j)
      waiting = true
    end
    if j and redis.call('ZREM', ready_key(j), id) == 1 then waiting = true end
    if waiting or not j or ARGV[1] == '1' then
      forget_job(id)
      if j and not waiting then redis.call('SADD', SPOKEN, id) end
    else
      j.dropped = true
      marked[id] = j
      redis.call('SADD', SPOKEN, id)
    end
  end
end
write_jobs(marked)
write_due()
if redis.call('EXISTS', CORRUPT) == 1 then send('HDEL', CORRUPT, ids) end
return known

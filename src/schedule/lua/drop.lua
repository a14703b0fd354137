-- drop: make the schedule forget jobs.
-- KEYS  1 anchor
-- ARGV  1 '1' to forget leased ones at once too (for repair), '' otherwise
--       then pairs of job id and version: a job stays if the schedule has a newer preference of it
-- Returns how many were forgotten or marked. A leased job is marked, and forgotten when its call ends.
-- Uses: Keys, Command, Record, Due
local known, ids = 0, {}
for i = 2, #ARGV, 2 do ids[#ids + 1] = ARGV[i] end
local jobs, marked = Record.find(ids), {}
for i = 2, #ARGV, 2 do
  local id, version = ARGV[i], tonumber(ARGV[i + 1])
  local j = jobs[id]
  if not (j and j.version > version) then
    if j then known = known + 1 end
    local waiting = redis.call('ZREM', Keys.due, id) == 1
    if j and j.shared and Due.at(id, j) then
      Due.remove(id, j)
      waiting = true
    end
    if j and redis.call('ZREM', Record.ready_key(j), id) == 1 then waiting = true end
    if waiting or not j or ARGV[1] == '1' then
      Record.forget(id)
      if j and not waiting then redis.call('SADD', Keys.changed, id) end
    else
      j.dropped = true
      marked[id] = j
      redis.call('SADD', Keys.changed, id)
    end
  end
end
Record.write(marked)
Due.write()
if redis.call('EXISTS', Keys.corrupt) == 1 then Command.send('HDEL', Keys.corrupt, ids) end
return known

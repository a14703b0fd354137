-- drop: make the schedule forget jobs.
-- KEYS  1 anchor
-- ARGV  1 '1' to forget leased ones at once too (for repair), '' otherwise
--       then pairs of job id and version: one that the schedule has a newer preference of stays
-- Returns how many were forgotten or marked. One that is leased is marked, and forgotten when its call ends.
local known, gone = 0, {}
for i = 2, #ARGV, 2 do
  local id, version = ARGV[i], tonumber(ARGV[i + 1])
  local raw = redis.call('HGET', bucket_key(id), id)
  local j = raw and unpack_job(raw)
  if raw and not (j and j.version > version) then
    known = known + 1
    local waiting = redis.call('ZREM', DUE, id) == 1
    if j and j.shared and due_at(id, j) then
      leave_due(id, j)
      waiting = true
    end
    if j and redis.call('ZREM', READY .. queue_name(j), id) == 1 then waiting = true end
    if waiting or not j or ARGV[1] == '1' then
      redis.call('HDEL', bucket_key(id), id)
    else
      j.dropped = true
      redis.call('HSET', bucket_key(id), id, pack_job(j))
    end
  end
  gone[#gone + 1] = id
end
write_due()
if redis.call('EXISTS', CORRUPT) == 1 then send('HDEL', CORRUPT, gone) end
return known

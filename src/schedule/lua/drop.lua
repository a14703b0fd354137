-- drop: make the schedule forget jobs.
-- KEYS  1 anchor
-- ARGV  1 '1' to forget leased ones at once too (for repair), '' otherwise
--       then pairs of job id and version: one that the schedule has a newer preference of stays
-- Returns how many were forgotten or marked. One that is leased is marked, and forgotten when its call ends.
local known = 0
for i = 2, #ARGV, 2 do
  local id, version = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  local raw = redis.call('HGET', bucket_key(id), id)
  local j = raw and unpack_job(raw)
  if raw and not (j and j.version > version) then
    known = known + 1
    local waiting = redis.call('ZREM', DUE, id) == 1
    if j and redis.call('ZREM', ready_key(j.lane, j.resource), id) == 1 then waiting = true end
    if waiting or not j or ARGV[1] == '1' then
      redis.call('HDEL', bucket_key(id), id)
    else
      j.dropped = true
      redis.call('HSET', bucket_key(id), id, pack_job(j))
    end
  end
end
return known

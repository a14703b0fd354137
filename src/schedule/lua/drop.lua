-- drop: make the schedule forget jobs.
-- KEYS  1 anchor
-- ARGV  1 '1' to forget leased ones at once too (for repair), '' otherwise
--       then job ids
-- Returns how many were known. One that is leased is marked, and forgotten when its call is settled or reaped.
local known = 0
for i = 2, #ARGV do
  local id = tonumber(ARGV[i])
  local raw = redis.call('HGET', bucket_key(id), id)
  if raw then
    known = known + 1
    local j = unpack_job(raw)
    local waiting = redis.call('ZREM', DUE, id) == 1
    if j and redis.call('ZREM', ready_key(j.lane), id) == 1 then waiting = true end
    if waiting or not j or ARGV[1] == '1' then
      redis.call('HDEL', bucket_key(id), id)
    else
      j.flags = FLAG_DROPPED
      redis.call('HSET', bucket_key(id), id, pack_job(j))
    end
  end
end
return known

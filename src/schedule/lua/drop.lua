-- drop: make the schedule forget jobs.
-- KEYS  1 anchor
-- ARGV  job ids
-- Returns how many were known. One that is leased is marked, and forgotten when its call is settled or reaped.
local known = 0
for _, id in ipairs(ARGV) do
  id = tonumber(id)
  local raw = redis.call('HGET', bucket_key(id), id)
  if raw then
    known = known + 1
    local j = unpack_job(raw)
    local waiting = redis.call('ZREM', DUE, id) == 1
    if j and not waiting then waiting = redis.call('ZREM', ready_key(j.lane), id) == 1 end
    if waiting or not j then
      redis.call('HDEL', bucket_key(id), id)
    else
      j.flags = FLAG_DROPPED
      redis.call('HSET', bucket_key(id), id, pack_job(j))
    end
  end
end
return known

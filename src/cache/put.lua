-- cache put: keep the newest of each field of a device.
-- KEYS  1 the device's hash
-- ARGV  1 seconds until an unused device is forgotten
--       then triples: field, version, json
-- Returns 1 if the device's metadata, the field '_', is there, and else 0. A field is "<version> <json>"; a lower
-- version than the one there is stale.
for i = 2, #ARGV, 3 do
  local old = redis.call('HGET', KEYS[1], ARGV[i])
  if not old or tonumber(old:match('^%d+')) <= tonumber(ARGV[i + 1]) then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1] .. ' ' .. ARGV[i + 2])
  end
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return redis.call('HEXISTS', KEYS[1], '_')

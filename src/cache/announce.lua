-- announce: tell readers that something of a tenant's devices changed. Does nothing while nobody listens.
-- KEYS  1 the tenant's stream of changes, also the name of its channel
-- ARGV  1 most entries to keep
--       then pairs: device, field ('_': the device itself, '-': it is gone)
-- Returns how many were told: 0 while nobody listens, when the stream does not exist
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
for i = 2, #ARGV, 2 do
  local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'd', ARGV[i], 'f', ARGV[i + 1])
  redis.call('PUBLISH', KEYS[1], id .. ' ' .. ARGV[i] .. ' ' .. ARGV[i + 1])
end
return (#ARGV - 1) / 2

-- leave: may one call outside of the schedule be sent? All quotas of its chain are spent together, or none is. It steps
-- ahead of those who wait, as "refresh now" does, on what a reserve keeps for that.
-- KEYS  1 anchor
-- ARGV  1 now in ms, or '' for Redis's own
--       2 msgpack, the spec: as for take
--       3 msgpack {lane, resource, cost, devices = {id…}}
-- Returns msgpack {live, now, call, in_ms, by}
--   call   its number, a lease without jobs that settle ends; 0: not yet
--   in_ms  when it may be sent, at most the horizon away; for call 0, when it may ask again, -1 when a call has ended
--   by     for call 0, the quota or hold that says no
--   live   false when the schedule was not built on this run of the server, as for take
local meta = redis.call('HMGET', META, 'run', 'epoch', 'fence')
if meta[1] ~= run_id() then return cmsgpack.pack({ false, now, 0, -1, '' }) end
epoch = tonumber(meta[2])
local wish, members = cmsgpack.unpack(ARGV[3]), {}
for i, device in ipairs(wish.devices) do members[i] = { device = device } end
local lane, cost = { name = wish.lane }, wish.cost
local chain = chain_of(lane, wish.resource)
local own = own_links(chain, members)

local at, by = agreed(chain.app, own, chain.state, cost, now, true)
if at > now + spec.horizon_ms then
  write_states() -- what could not be read counts as spent from here on
  return cmsgpack.pack({ true, now, 0, at == math.huge and -1 or at - now, name_of(by) })
end

local held, after = spend_all(chain.app, chain.state, cost, at, true, false, false)
held, after = spend_all(own, chain.state, cost, at, true, held, after)
if spec.terms then after = with_terms(after, chain.state) end
local lease = next_lease(meta[3])
local n = string.format('%.0f', lease)
local entry = cmsgpack.pack(0, held, false, false, false, wish.lane, wish.resource, at, cost, true, after)
redis.call('HSET', TAKE .. n, '0', entry)
redis.call('ZADD', LEASES, at + spec.lease_ms, n)
write_states()
redis.call('HSET', META, 'fence', string.format('%.0f', lease + 1))
return cmsgpack.pack({ true, now, lease, at - now, '' })

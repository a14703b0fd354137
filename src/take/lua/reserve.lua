-- reserve: may one ad-hoc call be sent? All quotas of its chain are spent together, or none is. It goes ahead of jobs
-- that wait, as "refresh now" does, on what a reserve keeps for that.
-- KEYS  1 anchor
-- ARGV  1 now in ms, or '' for Redis's own
--       2 msgpack, the spec: as for take
--       3 msgpack {lane, resource, cost, devices = {id…}, keep_ms, probes}; keep_ms: for how long after its instant
--         limits keep a place for a call that must wait (see places.lua); 0: they keep none; probes: while an incident
--         lasts, it is one of the few calls that probe the provider, and waits for its turn
-- Returns msgpack {live, now, late_ms, call, in_ms, by}
--   call   its number, a lease without jobs that settle ends; 0: not yet
--   in_ms  when it may be sent, at most the horizon away; for call 0, when it may ask again, -1 when a call has ended
--   late_ms  how much later than the tolerance it may be sent
--   by     for call 0, the quota or hold that does not allow it; '' while an incident lasts and others probe
--   live   false when the schedule was not built on this run of the server, as for take
-- Uses: Keys, Lease, Run, State, Places, Chain, Probe
local now = Run.now
if not Run.is_live() then return cmsgpack.pack({ false, now, 0, 0, -1, '' }) end
local request, members = cmsgpack.unpack(ARGV[3]), {}
if request.probes and Probe.adhoc_wait_ms then
  return cmsgpack.pack({ true, now, Run.late, 0, Probe.adhoc_wait_ms, '' })
end
for i, device in ipairs(request.devices) do members[i] = { device = device } end
local cost = request.cost
Places.of(request.lane .. ' ' .. request.resource)
local chain = Chain.of({ name = request.lane }, request.resource)
local own = Chain.own_links(chain, members)

local at, by = Chain.agreed(chain.app, own, chain.state, cost, now, true)
if at > Run.limit then
  if request.keep_ms > 0 then
    local function alone(link) return (Chain.earliest({ link }, chain.state, cost, now, true)) end
    Places.keep(chain.app, chain.state, cost, at, request.keep_ms, alone)
    Places.keep(own, chain.state, cost, at, request.keep_ms, alone)
    Places.save()
  end
  State.write() -- what is corrupt counts as spent from here on
  -- As soon as it can be granted: a place is of use only before jobs are granted the instants after it.
  local wait = math.max(at - Run.limit, 1)
  return cmsgpack.pack({ true, now, Run.late, 0, at == math.huge and -1 or wait, Chain.name_of(by) })
end

Places.granted(at)
Places.save()
local held, after = Chain.spend(chain, own, cost, at, true)
local call = Lease.next_number(Run.fence, now)
local lease = string.format('%.0f', call)
local packed = Lease.pack({}, held, request.lane, request.resource, at, cost, true, after)
redis.call('HSET', Keys.lease .. lease, Lease.DIGITS:sub(1, 1), packed)
redis.call('ZADD', Keys.leases, at + Run.spec.lease_ms, lease)
State.write()
if request.probes then Probe.adhoc_granted() end
redis.call('HSET', Keys.meta, 'fence', string.format('%.0f', call + 1))
return cmsgpack.pack({ true, now, Run.late, call, at - now, '' })

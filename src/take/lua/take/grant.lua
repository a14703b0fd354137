-- Grant: what a granted call spends, and how it is leased and returned.
-- Uses: Keys, Record, Due, Lanes, Lease, Run, Chain, Found, Waitlist, Room
-- Gives: first_number, grant
local now, spec, HOT_LEAD = Run.now, Run.spec, Lanes.HOT_LEAD
local calls, leases, joined = Found.calls, Found.leases, Found.joined
local WIDTH, DIGITS, pack_lease = Lease.WIDTH, Lease.DIGITS, Lease.pack
local spend, charge = Chain.spend, Waitlist.charge
local first_number = Lease.next_number(Run.fence, now)

-- Jobs of the queue that are due within a small share of their interval join a call's free places.
local left = spec.jobs_max -- for all calls of this take
local function piggyback(lane, resource, members, at, places)
  local queue = Keys.queue .. resource .. ':' .. lane.name
  local found = redis.call('ZRANGEBYSCORE', queue, string.format('(%.0f', now), at + spec.piggyback_ms, 'LIMIT', 0,
    places + #members)
  local ids = {}
  for i = 1, #found do
    if not joined[found[i]] then ids[#ids + 1] = found[i] end
  end
  if #ids == 0 then return end
  local jobs = Record.read(ids, true)
  for _, id in ipairs(ids) do
    local j = jobs[id]
    if j and places > 0 and j.due - at <= spec.piggyback_share * j.interval then
      places, left = places - 1, left - 1
      joined[id] = true
      members[#members + 1] = j
      Due.remove(id, j)
    end
  end
end

-- Grants a call for these jobs at an instant that its chain allows.
local function grant(lane, chain, own, resource, members, cost, at, urgent)
  local r = spec.resources[resource]
  if chain.alike and r.max > #members and r.cost_per_device == 0 and members[1].shared and left > 0 then
    piggyback(lane, resource, members, at, math.min(r.max - #members, left))
  end
  local index, n, j = #calls, 4, members[1]
  local call = { first_number + index, lane.name, resource, at - now, j.id, j.due, j.attempts, j.kind, j.version }
  for i = 2, #members do
    j, n = members[i], n + 5
    call[n + 1], call[n + 2], call[n + 3], call[n + 4], call[n + 5] = j.id, j.due, j.attempts, j.kind, j.version
  end
  calls[index + 1] = call
  Room.note(lane)

  local held, after = spend(chain, own, cost, at, urgent)
  local place = index % WIDTH
  if place == 0 then leases[#leases + 1] = {} end
  local entries = leases[#leases]
  entries[2 * place + 1] = DIGITS:sub(place + 1, place + 1)
  entries[2 * place + 2] = pack_lease(members, held, lane.name, resource, at, cost, urgent, after)
  if at > Found.last_send then Found.last_send = at end

  local start, step = lane.hot and lane.start + HOT_LEAD or lane.start, cost / lane.weight
  if start > Found.v then Found.v = start end
  if start + step > Found.finish then Found.finish = start + step end
  lane.start = lane.start + step
  if chain.shared or chain.counts.has_waitlist then
    charge(chain.app, lane, step)
    charge(own, lane, step)
  end
end

return { first_number = first_number, grant = grant }

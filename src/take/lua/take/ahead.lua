-- Ahead: jobs that are due in a moment are granted for their very instant, so that they are not late, if their lane has
-- no backlog and every quota allows that instant.
-- Uses: Keys, Record, Due, Run, Chain, Found, Gather, Grant, Room
-- Gives: grant
local now, spec, calls, joined, lanes = Run.now, Run.spec, Found.calls, Found.joined, Found.lanes

-- Ids of jobs that are due in a moment: those served alone, those that can share a call, and whether there are queues.
local function soon_ids()
  local alone, shared, queues, left = {}, {}, {}, spec.jobs_max
  local function note(key, into)
    local most = math.min(Found.calls_max - #calls, left)
    local found = most > 0 and redis.call('ZRANGEBYSCORE', key, string.format('(%.0f', now), now + Run.ahead,
      'LIMIT', 0, most) or {}
    for i = 1, #found do
      local member = found[i]
      if member:byte() > Gather.DIGIT then
        queues[#queues + 1] = member
      elseif not joined[member] then
        into[#into + 1] = member
        left = left - 1
      end
    end
  end
  note(Keys.due, alone)
  for i = 1, #queues do note(Keys.queue .. queues[i], shared) end
  return alone, shared, #queues > 0
end

-- Jobs that are due in a moment, by instant, in lanes that are placed and whose state is read.
local function soon_jobs()
  local ids, shared, has_queues = soon_ids()
  local jobs, soon, strangers = Record.read(ids, false), {}, {}
  Record.read(shared, true, jobs)
  for i = 1, #shared do ids[#ids + 1] = shared[i] end
  for i = 1, #ids do
    local j = jobs[ids[i]]
    -- Others, a "refresh now" among them, were put off by a limit of their device: their time has not come.
    if j and j.due > now and j.due <= now + Run.ahead then
      soon[#soon + 1] = j
      if not lanes[j.lane] then strangers[#strangers + 1] = Gather.lane_of(j.lane) end
    end
  end
  Gather.place(strangers)
  Chain.prefetch(strangers)
  if has_queues then table.sort(soon, function(a, b) return a.due < b.due end) end
  return soon
end

local earliest = Chain.earliest
local function grant()
  local soon = soon_jobs()
  for i = 1, #soon do
    local j = soon[i]
    local lane, r = lanes[j.lane], spec.resources[j.resource]
    if #calls >= Found.calls_max then return end
    if r and not joined[j.id] and not lane.busy and lane.answer ~= 'blocked' and not Room.is_full(lane) then
      local members, chain = { j }, Chain.of(lane, j.resource)
      local own, cost = Chain.own_links(chain, members), r.cost + r.cost_per_device
      local at, urgent, state = math.max(j.due, Run.from), j.urgent or false, chain.state
      if earliest(chain.app, state, cost, at, urgent) <= at and earliest(own, state, cost, at, urgent) <= at then
        if j.shared then joined[j.id] = true end
        Due.remove(j.id, j)
        Grant.grant(lane, chain, own, j.resource, members, cost, at, urgent)
      end
    end
  end
end

return { grant = grant }

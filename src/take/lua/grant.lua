-- The middle of take: what a granted call spends, and how it is leased and told.
local calls, takes, deferred, bound, touched, lines, later = {}, {}, {}, {}, {}, {}, {}
local last_send, app_until, app_why, tau = now, nil, nil, now
local riding = {}
local function line_of(name)
  local line = lines[name]
  if not line then
    line = { charges = {}, blocked = {}, standing = {} }
    lines[name] = line
  end
  return line
end

local grant
do
local DIGITS, digits = {}, '0123456789abcdefghijklmnopqrstuv'
for place = 0, 31 do DIGITS[place] = digits:sub(place + 1, place + 1) end
-- Jobs of the queue that are due within a small share of their interval ride along on the free places of a call.
local function riders(lane, resource, members, at, places)
  local name = QUEUE .. resource .. ':' .. lane.name
  local found = redis.call('ZRANGEBYSCORE', name, string.format('(%.0f', now), at + spec.ride_ms, 'LIMIT', 0,
    places + #members)
  local ids = {}
  for i = 1, #found do
    if not riding[found[i]] then ids[#ids + 1] = found[i] end
  end
  if #ids == 0 then return end
  local jobs = read_jobs(ids, true)
  for _, id in ipairs(ids) do
    local j = jobs[id]
    if j and places > 0 and j.due - at <= spec.ride_share * j.interval then
      places = places - 1
      riding[id] = true
      members[#members + 1] = j
      leave_due(id, j)
    end
  end
end

local function charge(links, lane, cost)
  for i = 1, #links do
    local name = links[i].line
    if name then
      local charges = line_of(name).charges
      charges[lane.name] = (charges[lane.name] or 0) + cost
    end
  end
end

function grant(lane, chain, own, resource, members, cost, at, urgent)
  local r = spec.resources[resource]
  if chain.alike and r.max > #members and r.cost_per_device == 0 and members[1].shared then
    riders(lane, resource, members, at, math.min(r.max - #members, 1000))
  end
  local index, n, j = #calls, 4, members[1]
  local call = { lease + index, lane.name, resource, at - now, j.id, j.due, j.attempts, j.kind, j.version }
  for i = 2, #members do
    j, n = members[i], n + 5
    call[n + 1], call[n + 2], call[n + 3], call[n + 4], call[n + 5] = j.id, j.due, j.attempts, j.kind, j.version
  end
  calls[index + 1] = call
  local held, after = spend_all(chain.app, chain.state, cost, at, urgent, false, false)
  held, after = spend_all(own, chain.state, cost, at, urgent, held, after)
  if spec.terms then after = with_terms(after, chain.state) end
  local place = index % 32
  if place == 0 then takes[#takes + 1] = {} end
  local entries, entry = takes[#takes], nil
  j = members[1]
  if #members == 1 then
    entry = cmsgpack.pack(1, held, j.shared, j.id, j.raw, lane.name, resource, at, cost, urgent, after)
  else
    local others = {}
    for i = 2, #members do others[2 * i - 3], others[2 * i - 2] = members[i].id, members[i].raw end
    entry = cmsgpack.pack(#members, held, j.shared, j.id, j.raw, lane.name, resource, at, cost, urgent, after,
      unpack(others))
  end
  entries[2 * place + 1], entries[2 * place + 2] = DIGITS[place], entry
  if at > last_send then last_send = at end
  local start, step = lane.hot and lane.start + AHEAD or lane.start, cost / lane.weight
  if start > v then v = start end
  if start + step > finish then finish = start + step end
  lane.start = lane.start + step
  if chain.lines or chain.counts.lines then
    charge(chain.app, lane, step)
    charge(own, lane, step)
  end
end
end

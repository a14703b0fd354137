do
-- The last part of take: what changed is written back, a call a key; first who holds what, then what they were taken
-- from, so that an error in between leaves a job twice, which is mended, and not nowhere.
for k = 1, #takes do
  local n = string.format('%.0f', lease + 32 * (k - 1))
  redis.call('HSET', TAKE .. n, unpack(takes[k]))
  redis.call('ZADD', LEASES, last_send + spec.lease_ms, n)
end
for _, d in ipairs(deferred) do
  add_due(d[1].id, d[1], d[2])
  redis.call('HSET', WHY, '#' .. d[1].id, d[3])
end
for _, id in ipairs(corrupt) do redis.call('HSET', CORRUPT, id, 'its record cannot be read') end
write_states()

local lanes_add, lanes_rem, blocked_add, blocked_rem, vtime, left_off = {}, {}, {}, {}, {}, {}
local partly, whole, why, hot, ready = {}, {}, {}, {}, {}
local function note(list, a, b)
  list[#list + 1] = a
  if b then list[#list + 1] = b end
end
for name, lane in pairs(touched) do
  local has_more = lane.queues == nil
  for _, queue in pairs(lane.queues or {}) do
    if queue.fresh then
      -- A fresh lane that was not served to the end has a backlog now.
      local first = queue.first or 1
      for i = first, #queue do leave_due(queue[i].id, queue[i]) end
      add_queue(ready, name, queue, first)
      has_more = has_more or queue[first] ~= nil
    else
      has_more = has_more or queue.more or queue[queue.first or 1] ~= nil
    end
  end
  local start = lane.hot and lane.start + AHEAD or lane.start
  if lane.answer == 'blocked' then
    local until_ms = lane.until_ms
    -- Beside the reason the link, where it is the link that lets it in.
    note(why, name, lane.why .. (lane.wait_line and '\0' .. lane.wait_line or ''))
    note(bound, { name, lane.why, until_ms == math.huge and -1 or until_ms })
    -- A call that ends opens what waits for it; should nobody tell, the last lease in flight is over by then. Who waits
    -- at a link is let in by it.
    if until_ms == math.huge then until_ms = now + spec.lease_ms end
    note(blocked_add, lane.wait_line and '+inf' or until_ms, name)
    note(lane.partly and partly or whole, name)
    note(vtime, name, start)
    if lane.hot then note(hot, name) end
    if lane.backlog then note(lanes_rem, name) end
  else
    if lane.line then note(blocked_rem, name) end
    if has_more then
      note(lanes_add, lane.start, name)
    else
      if lane.backlog then note(lanes_rem, name) end
      note(left_off, name, start)
    end
  end
  lane.has_more = has_more
end
-- Lanes that had no turn: fresh ones have a backlog now, those that a link let in keep their places in its line.
for _, queue in ipairs({ heap, later }) do
  for i = 1, #queue do
    local lane = queue[i]
    if not (touched[lane.name] or lane.line) then
      for _, q in pairs(lane.queues or {}) do
        if q.fresh then
          for k = q.first or 1, #q do leave_due(q[k].id, q[k]) end
          add_queue(ready, lane.name, q, q.first)
        end
      end
      note(lanes_add, lane.start, lane.name)
    end
  end
end

-- Whether a lane has jobs left that meet a link.
local function wants(lane, link)
  if not (lane and lane.has_more) then return false end
  for resource, queue in pairs(lane.queues) do
    if queue.more or queue[queue.first or 1] then
      local chain = chain_of(lane, resource)
      for _, part in ipairs({ chain.app, chain.own }) do
        for i = 1, #part do if part[i].line == link then return true end end
      end
    end
  end
  return false
end

-- The lines at shared links: who was served moves back by what it had, who waits keeps its place.
for name, lane in pairs(touched) do
  if lane.line and lane.answer ~= 'granted' then
    -- Stopped elsewhere it keeps its place; who has nothing left leaves it.
    local line = line_of(lane.line.name)
    if lane.answer == 'blocked' then line.standing[name] = lane else line.charges[name] = line.charges[name] or 0 end
  end
end
for name, line in pairs(lines) do
  local names, waits = {}, line.standing
  for _, lane in ipairs(line.blocked) do waits[lane.name] = lane end
  for lane in pairs(line.charges) do names[#names + 1] = lane end
  for lane in pairs(waits) do if not line.charges[lane] then names[#names + 1] = lane end end
  if line.is_scarce or redis.call('EXISTS', WAIT .. name) == 1 then
    local tags, from = ask('ZMSCORE', WAIT .. name, names), tonumber(redis.call('HGET', LINKS, name) or 0)
    local furthest, adds, rems, left, leaves = from, {}, {}, ask('HMGET', LEFT .. name, names), {}
    for i, lane in ipairs(names) do
      -- One that comes back starts where it left off, or coming and going would put it ahead for ever.
      local tag, charged = tonumber(tags[i] or start_of(from, left[i])), line.charges[lane]
      if tag < 0 then tag = tag + AHEAD end
      if charged and charged > 0 and tag > furthest then furthest = tag end
      if waits[lane] or wants(touched[lane], name) then
        note(adds, tag + (charged or 0) - (waits[lane] and waits[lane].hot and AHEAD or 0), lane)
      else
        note(rems, lane)
        if charged then note(leaves, lane, string.format('%.3f', tag + charged)) end
      end
    end
    send('HSET', LEFT .. name, leaves)
    send('ZADD', WAIT .. name, adds)
    send('ZREM', WAIT .. name, rems)
    redis.call('HSET', LINKS, name, string.format('%.3f', furthest))
  end
  if line.at then note(blocked_add, line.at == math.huge and now + spec.lease_ms or line.at, name) end
end
for _, line in ipairs(open_links) do
  local closed = lines[line.name] and lines[line.name].at
  -- Not all had their turn: the next take goes on. All had, and it is open: there is no line any more.
  if not closed and (line.more or line.pending > 0 or stopped) then
    note(blocked_add, now, line.name)
  elseif not closed and not (lines[line.name] and next(lines[line.name].standing)) then
    redis.call('DEL', WAIT .. line.name, LEFT .. line.name)
    redis.call('HDEL', LINKS, line.name)
  end
end

for key, args in pairs(ready) do send('ZADD', key, args) end
for key, ids in pairs(departed) do send('ZREM', key, ids) end
send('ZADD', LANES, lanes_add)
send('ZADD', BLOCKED, blocked_add)
send('ZREM', LANES, lanes_rem)
send('ZREM', BLOCKED, blocked_rem)
send('SADD', PARTLY, partly)
if #whole > 0 and redis.call('EXISTS', PARTLY) == 1 then send('SREM', PARTLY, whole) end
if #blocked_rem > 0 then
  send('HDEL', WHY, blocked_rem)
  send('SREM', PARTLY, blocked_rem)
  send('SREM', HOT, blocked_rem)
end
send('HSET', WHY, why)
send('SADD', HOT, hot)
write_due()
send('HSET', VTIME, vtime)
if drained then
  -- Nobody waits in line: a busy period is over, and with it what each had of it; but for those who are blocked.
  v = math.max(v, finish)
  if #vtime == 0 and redis.call('EXISTS', BLOCKED) == 0 then redis.call('DEL', VTIME) end
else
  send('HSET', VTIME, left_off)
end
if #calls > 0 then
  redis.call('HSET', META, 'v', string.format('%.3f', v), 'finish', string.format('%.3f', finish),
    'fence', string.format('%.0f', lease + #calls))
end
if app_until then
  if app_until == math.huge then app_until = -1 end
  redis.call('HSET', META, 'app_until', app_until, 'app_why', app_why)
  note(bound, { '', app_why, app_until })
elseif meta[6] then
  redis.call('HDEL', META, 'app_until', 'app_why')
end

-- When to come back. Lanes left in line can go on at once, unless the app's own quota stops everybody.
local wake = -1
local function sooner(t) if t and (wake < 0 or t < wake) then wake = math.max(t, now) end end
local function head(key)
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  return first[2] and tonumber(first[2])
end
if app_until then
  -- Nothing that comes due or opens before it can go sooner: all of it is ranked when the app's own limit lets one go.
  if app_until > 0 then sooner(app_until - spec.horizon_ms / 2) end
else
  if more_due or #lanes_add > 0 or redis.call('EXISTS', LANES) == 1 then sooner(now) end
  local blocked_head, due_head, ahead = head(BLOCKED), head(DUE), now + spec.ahead_ms
  if blocked_head and blocked_head < math.huge then sooner(blocked_head - spec.horizon_ms / 2) end
  -- What is left of the moment ahead has been looked at: its own instant is soon enough. Later ones are met half-way.
  if due_head then sooner(due_head > ahead and due_head - spec.ahead_ms / 2 or math.max(due_head, now + 1)) end
end
sooner(head(LEASES))
if wake >= 0 then wake = wake - now end
return cmsgpack.pack({ true, now, wake, reaped, calls, bound, corrupt })
end

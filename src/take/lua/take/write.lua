-- Write: stores what a take changed. First where jobs and lanes go, then what they were taken from: an error in between
-- leaves a job twice, which the keeper's check mends, and not nowhere.
-- Uses: Keys, Command, Due, Lanes, Lease, Run, State, Found, Waitlist, Contenders, Grant
-- Gives: all, wake_ms
local now, spec, send, HOT_LEAD = Run.now, Run.spec, Command.send, Lanes.HOT_LEAD
-- How soon a connection without room is looked at again.
local ROOM_MS = 25

local function push(list, a, b)
  list[#list + 1] = a
  if b then list[#list + 1] = b end
end

local function write_leases()
  local expiry = Found.last_send + spec.lease_ms
  for k, entries in ipairs(Found.leases) do
    local lease = string.format('%.0f', Grant.first_number + Lease.WIDTH * (k - 1))
    redis.call('HSET', Keys.lease .. lease, unpack(entries))
    redis.call('ZADD', Keys.leases, expiry, lease)
  end
end

-- Jobs that were put off, and those that are set aside.
local function write_jobs()
  for _, d in ipairs(Found.deferred) do
    local j, again, why = d[1], d[2], d[3]
    Due.add(j.id, j, again)
    redis.call('HSET', Keys.why, '#' .. j.id, why)
  end
  for _, id in ipairs(Found.corrupt) do redis.call('HSET', Keys.corrupt, id, 'its record cannot be read') end
end

-- A fresh lane that was not served to the end has a backlog now. Returns whether the lane has one.
local function keep_backlog(ready, lane)
  local has_more = lane.queues == nil
  for _, queue in pairs(lane.queues or {}) do
    local first = queue.first
    if queue.fresh then
      for i = first, #queue do Due.remove(queue[i].id, queue[i]) end
      Lanes.add_queue(ready, lane.name, queue, first)
    end
    has_more = has_more or queue.more or queue[first] ~= nil
  end
  return has_more
end

-- What becomes of lanes, as arguments of the commands that store it.
local ready, lanes_add, lanes_remove, blocked_add, blocked_remove = {}, {}, {}, {}, {}
local vtime, left_at, partly, wholly, why, hot = {}, {}, {}, {}, {}, {}

local function note_blocked(name, lane, start)
  local until_ms = lane.until_ms
  -- Beside the reason the link, where it is the link that lets the lane in.
  push(why, name, lane.why .. (lane.waits_at and '\0' .. lane.waits_at or ''))
  push(Found.bound, { name, lane.why, until_ms == math.huge and -1 or until_ms })
  -- A call that ends opens what waits for it; if nobody settles it, the last lease in flight is over by then.
  if until_ms == math.huge then until_ms = now + spec.lease_ms end
  push(blocked_add, lane.waits_at and '+inf' or until_ms, name)
  push(lane.partly and partly or wholly, name)
  push(vtime, name, start)
  if lane.hot then push(hot, name) end
  if lane.backlog then push(lanes_remove, name) end
end

local function note_lanes()
  for name, lane in pairs(Found.touched) do
    local has_more = keep_backlog(ready, lane)
    local start = lane.hot and lane.start + HOT_LEAD or lane.start
    if lane.answer == 'blocked' then
      note_blocked(name, lane, start)
    else
      if lane.let_in then push(blocked_remove, name) end
      if has_more then
        push(lanes_add, lane.start, name)
      else
        if lane.backlog then push(lanes_remove, name) end
        push(left_at, name, start)
      end
    end
    lane.has_more = has_more
  end
  -- Lanes that were not served: fresh ones have a backlog now, those that a link let in keep their places at it.
  for _, list in ipairs({ Contenders.heap, Contenders.later, Contenders.full }) do
    for i = 1, #list do
      local lane = list[i]
      if not (Found.touched[lane.name] or lane.let_in) then
        keep_backlog(ready, lane)
        push(lanes_add, lane.start, lane.name)
      end
    end
  end
end

local function write_lanes()
  for key, args in pairs(ready) do send('ZADD', key, args) end
  for key, ids in pairs(Found.departed) do send('ZREM', key, ids) end
  send('ZADD', Keys.lanes, lanes_add)
  send('ZADD', Keys.blocked, blocked_add)
  send('ZREM', Keys.lanes, lanes_remove)
  send('ZREM', Keys.blocked, blocked_remove)
  send('SADD', Keys.partly, partly)
  if #wholly > 0 and redis.call('EXISTS', Keys.partly) == 1 then send('SREM', Keys.partly, wholly) end
  if #blocked_remove > 0 then
    send('HDEL', Keys.why, blocked_remove)
    send('SREM', Keys.partly, blocked_remove)
    send('SREM', Keys.hot, blocked_remove)
  end
  send('HSET', Keys.why, why)
  send('SADD', Keys.hot, hot)
  Due.write()
end

-- Virtual times, the fence, and when the app's own limits allow the next call.
local function write_meta(is_drained)
  local v = Found.v
  send('HSET', Keys.vtime, vtime)
  if is_drained then
    -- No lane waits: a busy period is over, and with it what each had of it, but for lanes that are blocked.
    v = math.max(v, Found.finish)
    if #vtime == 0 and redis.call('EXISTS', Keys.blocked) == 0 then redis.call('DEL', Keys.vtime) end
  else
    send('HSET', Keys.vtime, left_at)
  end
  if #Found.calls > 0 then
    redis.call('HSET', Keys.meta, 'v', string.format('%.3f', v), 'finish', string.format('%.3f', Found.finish),
      'fence', string.format('%.0f', Grant.first_number + #Found.calls))
  end
  if Found.app_until then
    if Found.app_until == math.huge then Found.app_until = -1 end
    redis.call('HSET', Keys.meta, 'app_until', Found.app_until, 'app_why', Found.app_why)
    push(Found.bound, { '', Found.app_why, Found.app_until })
  elseif Run.has_app_until then
    redis.call('HDEL', Keys.meta, 'app_until', 'app_why')
  end
end

-- is_stopped: whether the take ended before all lanes were served. is_drained: whether no lane is left.
local function all(is_stopped, is_drained)
  write_leases()
  write_jobs()
  State.write()
  note_lanes()
  Waitlist.write(is_stopped)
  write_lanes()
  write_meta(is_drained)
end

local function head(key)
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  return first[2] and tonumber(first[2])
end

-- In how many ms to take again if nothing else happens; -1: not before something is put or a call ends.
local function wake_ms()
  local wake
  local function sooner(t) if t and (not wake or t < wake) then wake = math.max(t, now) end end
  local app_until = Found.app_until
  if app_until then
    -- Nothing that comes due or opens before it can go sooner: all are ranked when the app's own limits allow a call.
    if app_until > 0 then sooner(app_until - Run.look_before) end
  else
    -- Lanes that are left can go on at once.
    if Found.has_more_due or #lanes_add > 0 or redis.call('EXISTS', Keys.lanes) == 1 then sooner(now) end
    local blocked_head, due_head, ahead = head(Keys.blocked), head(Keys.due), now + Run.ahead
    if blocked_head and blocked_head < math.huge then sooner(blocked_head - Run.look_before) end
    -- What is left of the moment ahead was looked at: its own instant is soon enough. Later ones are met half-way.
    if due_head then sooner(due_head > ahead and due_head - Run.look_ahead or math.max(due_head, now + 1)) end
  end
  sooner(head(Keys.leases))
  -- Where there is no room, asking again at once finds none.
  if wake and Contenders.full[1] then wake = math.max(wake, now + ROOM_MS) end
  return wake and wake - now or -1
end

return { all = all, wake_ms = wake_ms }

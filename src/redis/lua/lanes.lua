-- Lanes: how a lane comes to compete, and the ready sets of its jobs.
-- Uses: Keys, Command, Record
-- Gives: HOT_LEAD, start_of, wake, add_ready, add_queue, make_ready
local LANES, BLOCKED, PARTLY, HOT, READY = Keys.lanes, Keys.blocked, Keys.partly, Keys.hot, Keys.ready
local send, ask = Command.send, Command.ask
local class_prefix, class_of, ready_key = Record.class_prefix, Record.class_of, Record.ready_key
local waiting_since = Record.waiting_since

-- The lane of a "refresh now" stands this much virtual time ahead of all others.
local HOT_LEAD = 1099511627776

-- Start-time fair queueing (Goyal, Vin, Cheng 1996): a lane that comes back starts at the present virtual time, or
-- where it left if that is later, so that it gains nothing by leaving and coming back.
local function start_of(v, left) return math.max(v, tonumber(left or 0)) end

-- Lets lanes compete that are neither competing nor blocked: a lane with ready jobs is always one of the two. One that
-- is only partly blocked, by a quota of some resources, competes again: the new jobs may be of another.
-- hot: lanes with a "refresh now": these compete whatever blocks their background syncs, ahead of all others.
local function wake(lanes, hot)
  if #lanes == 0 then return end
  local blocked, partly = ask('ZMSCORE', BLOCKED, lanes), ask('SMISMEMBER', PARTLY, lanes)
  local waiting, leads = ask('ZMSCORE', LANES, lanes), ask('SMISMEMBER', HOT, lanes)
  local v = tonumber(redis.call('HGET', Keys.meta, 'v') or '0')
  local left = ask('HMGET', Keys.vtime, lanes)
  local adds, woken = {}, {}
  for i, lane in ipairs(lanes) do
    local is_hot = hot and hot[lane]
    local start = waiting[i] and tonumber(waiting[i])
    if blocked[i] and (is_hot or partly[i] == 1) then woken[#woken + 1] = lane end
    if is_hot then
      if not start or start >= 0 then start = (start or start_of(v, left[i])) - HOT_LEAD else start = nil end
    elseif start or (blocked[i] and partly[i] ~= 1) then
      start = nil
    else
      -- One with a "refresh now" that was partly blocked keeps its lead.
      start = start_of(v, left[i]) - (leads[i] == 1 and HOT_LEAD or 0)
    end
    if start then
      adds[#adds + 1] = start
      adds[#adds + 1] = lane
    end
  end
  send('ZADD', LANES, adds)
  send('ZREM', BLOCKED, woken)
  if #woken > 0 and redis.call('EXISTS', HOT) == 1 then send('SREM', HOT, woken) end
end

-- add_ready and add_queue note jobs in sets, make_ready writes these and wakes their lanes.
local function add_ready(sets, id, j)
  local key = ready_key(j)
  local args = sets[key]
  if not args then
    args = { lane = j.lane, hot = j.urgent }
    sets[key] = args
  end
  args[#args + 1] = string.format('%d', waiting_since(j))
  args[#args + 1] = id
end
-- All jobs of a lane's queue from `first` on.
local function add_queue(sets, lane, jobs, first)
  local name, of_class = jobs.resource .. ':' .. lane, {}
  for i = first or 1, #jobs do
    local j = jobs[i]
    local class = class_of(j)
    local args = of_class[class]
    if not args then
      args = { lane = lane, hot = j.urgent }
      of_class[class] = args
      sets[READY .. class_prefix[class] .. name] = args
    end
    args[#args + 1] = string.format('%d', waiting_since(j))
    args[#args + 1] = j.id
  end
end
local function make_ready(sets)
  local lanes, seen, hot = {}, {}, {}
  for key, args in pairs(sets) do
    send('ZADD', key, args)
    if not seen[args.lane] then lanes[#lanes + 1] = args.lane end
    seen[args.lane] = true
    if args.hot then hot[args.lane] = true end
  end
  wake(lanes, hot)
end

return {
  HOT_LEAD = HOT_LEAD, start_of = start_of, wake = wake, add_ready = add_ready, add_queue = add_queue,
  make_ready = make_ready,
}

-- Contenders: the lanes that compete in this take, in order of virtual time. Lanes with a backlog enter in that order,
-- so the least of those on the heap is the least of all.
-- Uses: Keys, Command, Lanes, Run, Chain, Found, Waitlist, Heap
-- Gives: CALLS_PER_LOOK, heap, later, full, starts_before, open, next, answered, is_drained
local LANES, VTIME, HOT, WEIGHTS, WAITLIST = Keys.lanes, Keys.vtime, Keys.hot, Keys.weights, Keys.waitlist
local HOT_LEAD, start_of, ask = Lanes.HOT_LEAD, Lanes.start_of, Command.ask

local function starts_before(a, b)
  if a.start ~= b.start then return a.start < b.start end
  if a.place ~= b.place then return a.place < b.place end
  return a.name < b.name
end
-- Lanes that step aside for others until their own instant come back in this order.
local function opens_before(a, b)
  local of_a, of_b = a.hot or false, b.hot or false
  if of_a ~= of_b then return of_a end
  if a.own_at ~= b.own_at then return a.own_at < b.own_at end
  return starts_before(a, b)
end
-- full: those for whose connections there is no more room in this take.
local heap, later, full = {}, {}, {}
local push = Heap.push

-- Lanes that entered, by name; of those with a backlog in LANES, how many were loaded, whether there are more, and the
-- virtual time of the last.
local entered, loaded, more_lanes, frontier = {}, 0, true, -math.huge
local PAGE = 32

-- let_in: the shared link that lets them in, in this order; nil for those that compete anyway.
local function enter(names, starts, let_in)
  local weights, added = ask('HMGET', WEIGHTS, names), {}
  for i = 1, #names do
    local name, start = names[i], starts[i]
    if not entered[name] then
      local lane = {
        name = name, start = start, hot = start < 0, weight = tonumber(weights[i] or 1), backlog = true,
        connection = false, chain = false, of = false, queues = false, waited = false, answer = false, granted = 0,
        has_more = false, place = math.huge,
      }
      entered[name] = lane
      added[#added + 1] = lane
      if let_in then
        lane.let_in, lane.place = let_in, let_in.from + i
        let_in.pending = let_in.pending + 1
      end
      push(heap, lane, starts_before)
    end
  end
  Chain.prefetch(added)
end
local function open_more()
  local got, names, starts = redis.call('ZRANGE', LANES, loaded, loaded + PAGE - 1, 'WITHSCORES'), {}, {}
  loaded = loaded + #got / 2
  more_lanes = #got == 2 * PAGE
  for i = 1, #got, 2 do
    names[#names + 1], starts[#starts + 1] = got[i], tonumber(got[i + 1])
  end
  frontier = starts[#starts] or frontier
  enter(names, starts, nil)
end

-- Lets a few lanes in that wait at a link that has opened, the one that had least of it first.
local function let_in(link)
  local got, names = redis.call('ZRANGE', WAITLIST .. link.name, link.from, link.from + 7), {}
  for i = 1, #got do names[i] = got[i] end
  local left, hot, starts = ask('HMGET', VTIME, names), ask('SMISMEMBER', HOT, names), {}
  for i = 1, #names do starts[i] = start_of(Found.v, left[i]) - (hot[i] == 1 and HOT_LEAD or 0) end
  -- Against others they compete by what they had of everything; among themselves, by what they had of this link.
  table.sort(starts)
  enter(names, starts, link)
  link.from, link.has_more = link.from + #got, #got == 8
end

-- All that competes from the start: fresh lanes are on the heap already.
local function open()
  for _, lane in ipairs(Found.fresh) do if not lane.busy then entered[lane.name] = lane end end
  open_more()
  for _, link in ipairs(Found.opened_links) do
    link.from, link.pending = 0, 0
    let_in(link)
  end
end

-- All that a link let in may have entered by another: then it lets in more only once no other lane is left.
local function let_in_more()
  for _, link in ipairs(Found.opened_links) do
    if link.pending == 0 and link.has_more and not Waitlist.is_closed(link.name) then
      let_in(link)
      return true
    end
  end
end

local function take_later()
  local lane = Heap.pop(later, opens_before)
  -- `waited`: the app's instant for this lane's cost may be sooner than app_opens, and it would step aside for ever.
  lane.waited = true
  push(heap, lane, starts_before)
end

-- The next lane to be served; nil if none is left.
local function next_lane()
  while true do
    -- A "refresh now" steps aside only for its like: what others spend meanwhile could make it wait.
    while later[1] and (later[1].own_at <= Found.app_opens or later[1].hot and not (heap[1] and heap[1].hot)) do
      take_later()
    end
    if more_lanes and (not heap[1] or heap[1].start > frontier) then
      open_more()
    elseif heap[1] then
      return heap[1]
    elseif later[1] then
      take_later()
    elseif not let_in_more() then
      return nil
    end
  end
end

-- While the app's own limit stops no lane, a lane that is looked at gets up to so many calls: fairness is decided by
-- its start tag all the same, and most of what a call costs is the look.
local CALLS_PER_LOOK = 8

-- Takes the lane that was served off the top of the heap, or lets it sink.
local function leave_top(lane, answer)
  if answer == 'granted' then
    lane.granted = lane.granted + 1
    if Found.app_opens > Run.now or lane.granted % CALLS_PER_LOOK == 0 or lane.hot then
      Heap.sink(heap, starts_before)
    end
    return
  end
  Heap.pop(heap, starts_before)
  if answer == 'later' then push(later, lane, opens_before) end
  if answer == 'full' then
    full[#full + 1] = lane
    if lane.let_in then lane.let_in.has_full = true end
  end
end

-- Notes what became of serving the lane on top of the heap; see serve.lua. Others are let in only after it has left the
-- top: one of them may take its place there.
local function answered(lane, answer)
  leave_top(lane, answer)
  if answer == 'later' then return end
  if answer ~= 'waits' and answer ~= 'full' then Found.touched[lane.name] = lane end
  lane.answer = answer
  local link = lane.let_in
  if link and not lane.served then
    lane.served, link.pending = true, link.pending - 1
    if link.pending == 0 and link.has_more and not Waitlist.is_closed(link.name) then let_in(link) end
  end
end

-- Whether no lane is left that could be served.
local function is_drained() return not (heap[1] or later[1] or full[1] or more_lanes) end

return {
  CALLS_PER_LOOK = CALLS_PER_LOOK, heap = heap, later = later, full = full, starts_before = starts_before, open = open,
  next = next_lane, answered = answered, is_drained = is_drained,
}

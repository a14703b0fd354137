-- Waitlist: lanes that wait at a link that several of them share, each with a virtual time of its own there. Lanes that
-- were only lifted to one virtual time of all would be served by their names, and most of them never.
-- Uses: Keys, Command, Lanes, Run, Chain, Found
-- Gives: of, is_closed, charge, behind_at, write
local WAITLIST, LEFT, LINKS, BLOCKED = Keys.waitlist, Keys.left, Keys.links, Keys.blocked
local HOT_LEAD, start_of, send, ask = Lanes.HOT_LEAD, Lanes.start_of, Command.send, Command.ask
local chain_of = Chain.of

-- By link, what this take does to its waitlist: {charges = lane -> cost it had, blocked = lanes that the link stopped,
-- keeping = name -> lane that keeps a place, opens_at = when the link opens again, is_scarce = it stopped a lane}.
local lists = {}
local function list_of(link)
  local list = lists[link]
  if not list then
    list = { charges = {}, blocked = {}, keeping = {} }
    lists[link] = list
  end
  return list
end

-- Whether a link has stopped a lane in this take.
local function is_closed(link) return lists[link] and lists[link].opens_at end

-- Counts the cost of a lane's call at those of these links that have waitlists.
local function charge(links, lane, cost)
  for i = 1, #links do
    local link = links[i].waitlist
    if link then
      local charges = list_of(link).charges
      charges[lane.name] = (charges[lane.name] or 0) + cost
    end
  end
end

-- A lane's virtual time at a link, with the cost it had in this take.
local function tag_of(list, link, lane)
  local tag = list.tags[lane]
  if not tag then
    local stored = redis.call('ZSCORE', WAITLIST .. link, lane)
    tag = tonumber(stored) or start_of(list.v, redis.call('HGET', LEFT .. link, lane))
    if tag < 0 then tag = tag + HOT_LEAD end
    list.tags[lane] = tag
  end
  return tag + (list.charges[lane] or 0)
end
local function is_behind(link, lane)
  local list = list_of(link)
  if not list.tags then
    list.tags, list.first = {}, redis.call('ZRANGE', WAITLIST .. link, 0, 7)
    list.v = tonumber(redis.call('HGET', LINKS, link) or 0)
  end
  for _, other in ipairs(list.first) do
    if other ~= lane.name and tag_of(list, link, other) < tag_of(list, link, lane.name) - 1e-6 then return true end
  end
  return false
end
-- The first of these links, the app's for some resources, at which others are ahead of this lane, who may be held up by
-- limits of their own. The room is left to them until it is a whole burst: beyond that it would be lost.
local function behind_at(lane, links)
  for i = 1, #links do
    local link = links[i]
    if link.tat > Run.limit and is_behind(link.waitlist, lane) then return link end
  end
end

-- Whether a lane has jobs left whose chains meet a link.
local function wants(lane, link)
  if not (lane and lane.has_more) then return false end
  for resource, queue in pairs(lane.queues) do
    if queue.more or queue[queue.first] then
      local chain = chain_of(lane, resource)
      for _, part in ipairs({ chain.app, chain.own }) do
        for i = 1, #part do if part[i].waitlist == link then return true end end
      end
    end
  end
  return false
end

local function push(list, a, b)
  list[#list + 1] = a
  if b then list[#list + 1] = b end
end

local function write_list(link, list)
  local names, waits = {}, list.keeping
  for _, lane in ipairs(list.blocked) do waits[lane.name] = lane end
  for lane in pairs(list.charges) do names[#names + 1] = lane end
  for lane in pairs(waits) do if not list.charges[lane] then names[#names + 1] = lane end end
  if not list.is_scarce and redis.call('EXISTS', WAITLIST .. link) == 0 then return end
  local tags, from = ask('ZMSCORE', WAITLIST .. link, names), tonumber(redis.call('HGET', LINKS, link) or 0)
  local furthest, adds, removes, left, leaves = from, {}, {}, ask('HMGET', LEFT .. link, names), {}
  for i, lane in ipairs(names) do
    -- A lane that comes back starts where it left, or leaving and coming back would put it ahead for ever.
    local tag, charged = tonumber(tags[i] or start_of(from, left[i])), list.charges[lane]
    if tag < 0 then tag = tag + HOT_LEAD end
    if charged and charged > 0 and tag > furthest then furthest = tag end
    if waits[lane] or wants(Found.touched[lane], link) then
      push(adds, tag + (charged or 0) - (waits[lane] and waits[lane].hot and HOT_LEAD or 0), lane)
    else
      push(removes, lane)
      if charged then push(leaves, lane, string.format('%.3f', tag + charged)) end
    end
  end
  send('HSET', LEFT .. link, leaves)
  send('ZADD', WAITLIST .. link, adds)
  send('ZREM', WAITLIST .. link, removes)
  redis.call('HSET', LINKS, link, string.format('%.3f', furthest))
end

-- Stores the waitlists: lanes that were served move back by the cost they had, those that wait keep their places.
-- is_stopped: whether the take ended before all that were let in were served.
local function write(is_stopped)
  local now, blocked = Run.now, {}
  for name, lane in pairs(Found.touched) do
    if lane.let_in and lane.answer ~= 'granted' then
      -- Stopped elsewhere it keeps its place; a lane that has nothing left leaves.
      local list = list_of(lane.let_in.name)
      if lane.answer == 'blocked' then list.keeping[name] = lane else list.charges[name] = list.charges[name] or 0 end
    end
  end
  for link, list in pairs(lists) do
    write_list(link, list)
    local opens_at = list.opens_at
    if opens_at then push(blocked, opens_at == math.huge and now + Run.spec.lease_ms or opens_at, link) end
  end
  for _, link in ipairs(Found.opened_links) do
    local name = link.name
    local closed = is_closed(name)
    -- Not all were served: the next take goes on. All were, and it is open: there is no waitlist any more.
    if not closed and (link.has_more or link.pending > 0 or link.has_full or is_stopped) then
      push(blocked, now, name)
    elseif not closed and not (lists[name] and next(lists[name].keeping)) then
      redis.call('DEL', WAITLIST .. name, LEFT .. name)
      redis.call('HDEL', LINKS, name)
    end
  end
  send('ZADD', BLOCKED, blocked)
end

return {
  of = list_of, is_closed = is_closed, charge = charge, behind_at = behind_at, write = write,
}

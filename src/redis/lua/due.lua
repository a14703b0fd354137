-- Due: where jobs wait for their time. One that is served alone stands in `due` itself. Those that can share a call
-- stand in the due set of their queue, and `due` has the earliest of these under the queue's name: so a call finds the
-- jobs that could join it. Changes are noted, and written together.
-- Uses: Keys, Command, Record
-- Gives: add, add_alone, add_shared, remove, remove_from, at, write
local DUE, QUEUE, send, queue_name = Keys.due, Keys.queue, Command.send, Record.queue_name
local format = string.format

local adds, removes, queue_adds, queue_removes = {}, {}, {}, {}
local function of_queue(sets, name)
  local set = sets[name]
  if not set then set = {}; sets[name] = set end
  return set
end

-- A whole number as text costs half as much as one with decimals, which redis.call would make of it.
local function add_alone(id, at)
  adds[#adds + 1] = format('%d', at)
  adds[#adds + 1] = id
end
local function add_shared(name, id, at)
  local set = of_queue(queue_adds, name)
  set[#set + 1] = at
  set[#set + 1] = id
end
local function add(id, j, at)
  if j.shared then
    add_shared(queue_name(j), id, at)
  else
    adds[#adds + 1] = at
    adds[#adds + 1] = id
  end
end

-- queue: its name, or nil for a job that is served alone.
local function remove_from(queue, id)
  local set = queue and of_queue(queue_removes, queue) or removes
  set[#set + 1] = id
end
local function remove(id, j) remove_from(j.shared and queue_name(j), id) end

local function at(id, j)
  return redis.call('ZSCORE', j.shared and QUEUE .. queue_name(j) or DUE, id)
end

-- `due` follows the heads of the queues that changed.
local function write()
  local changed = {}
  for name, args in pairs(queue_adds) do send('ZADD', QUEUE .. name, args); changed[name] = true end
  for name, ids in pairs(queue_removes) do send('ZREM', QUEUE .. name, ids); changed[name] = true end
  for name in pairs(changed) do
    local head = redis.call('ZRANGE', QUEUE .. name, 0, 0, 'WITHSCORES')
    if head[2] then
      adds[#adds + 1] = head[2]
      adds[#adds + 1] = name
    else
      removes[#removes + 1] = name
    end
  end
  send('ZADD', DUE, adds)
  send('ZREM', DUE, removes)
  adds, removes, queue_adds, queue_removes = {}, {}, {}, {}
end

return {
  add = add, add_alone = add_alone, add_shared = add_shared, remove = remove, remove_from = remove_from, at = at,
  write = write,
}

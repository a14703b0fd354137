-- Rank, see schedule/score.rs, its twin: base / delay^k, lowest first; equal scores by job id, as text, which is how a
-- sorted set orders them. "Refresh now", class 0, stands ahead of all, the longest waiting first.
local function score_of(class, since)
  if class == 0 then return since - 1e15 end
  local delay = now - since
  if delay < 1 then delay = 1 end
  if spec.k == 1 then return spec.base[class] / delay end
  return spec.base[class] / delay ^ spec.k
end

local function ranks_before(a, b)
  if a.score ~= b.score then return a.score < b.score end
  return a.id < b.id
end

-- The first `want` ready jobs of a lane's queue in exact score order, {id, score, key}, and whether there are more.
-- Inside a class the longest waiting ranks first, so the heads of the classes are all that need comparing; the rest of
-- a class is read when its head was the best.
local function ranked(name, want)
  local heads, found = {}, {}
  local function head_of(class, key, list, at)
    return { id = list[at], score = score_of(class, tonumber(list[at + 1])), key = key, list = list, at = at,
      class = class }
  end
  for class = 0, 5 do
    local key = READY .. CLASSES[class] .. name
    local list = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
    if list[1] then heads[#heads + 1] = head_of(class, key, list, 1) end
  end
  while #found < want and heads[1] do
    local best = 1
    for i = 2, #heads do if ranks_before(heads[i], heads[best]) then best = i end end
    local top = heads[best]
    local list, at, key = top.list, top.at + 2, top.key
    found[#found + 1] = top
    if not list[at] and not top.whole then
      list, at = redis.call('ZRANGE', key, 1, want, 'WITHSCORES'), 1
    end
    if list[at] then
      heads[best] = head_of(top.class, key, list, at)
      heads[best].whole = true
    else
      table.remove(heads, best)
    end
  end
  return found, heads[1] ~= nil
end

-- Heaps; the first of all is that of the lanes, the least start tag on top.
local heap = {}
local function starts_before(a, b)
  if a.start ~= b.start then return a.start < b.start end
  local of_a, of_b = a.turn or math.huge, b.turn or math.huge
  return of_a < of_b or (of_a == of_b and a.name < b.name)
end
local function push(item, into, before)
  into, before = into or heap, before or starts_before
  local i = #into + 1
  into[i] = item
  while i > 1 do
    local parent = math.floor(i / 2)
    if not before(into[i], into[parent]) then break end
    into[i], into[parent] = into[parent], into[i]
    i = parent
  end
end
-- Lets the top sink to its place.
local function sink(into, before)
  into, before = into or heap, before or starts_before
  local i, size = 1, #into
  while true do
    local least, left = i, 2 * i
    if left <= size and before(into[left], into[least]) then least = left end
    if left < size and before(into[left + 1], into[least]) then least = left + 1 end
    if least == i then return end
    into[i], into[least] = into[least], into[i]
    i = least
  end
end
local function pop(from, before)
  local top, size = from[1], #from
  from[1] = from[size]
  from[size] = nil
  sink(from, before)
  return top
end

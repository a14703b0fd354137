-- Rank: base / delay^k, the lowest first; equal scores by job id, as text, which is how a sorted set orders them.
-- "Refresh now", class 0, is ahead of all, the longest waiting first. Twin of schedule/score.rs.
-- Uses: Keys, Record, Run
-- Gives: score_of, before, sort, best
local READY, class_prefix, now = Keys.ready, Record.class_prefix, Run.now
local k, base = Run.spec.k, Run.spec.base

local function score_of(class, since)
  if class == 0 then return since - 1e15 end
  local delay = now - since
  if delay < 1 then delay = 1 end
  if k == 1 then return base[class] / delay end
  return base[class] / delay ^ k
end

local function ranks_before(a, b)
  if a.score ~= b.score then return a.score < b.score end
  return a.id < b.id
end

-- Puts jobs in rank order. Sorting plain numbers is far cheaper than calling a function; equal scores are rare.
local function sort(queue)
  local size = #queue
  if size < 2 then return end
  local scores, jobs = {}, {}
  for i = 1, size do
    local j = queue[i]
    local score, same = j.score, jobs[j.score]
    if not same then
      scores[#scores + 1] = score
      jobs[score] = j
    elseif same.id then
      jobs[score] = { same, j }
    else
      same[#same + 1] = j
    end
  end
  table.sort(scores)
  local n = 0
  for i = 1, #scores do
    local found = jobs[scores[i]]
    if found.id then
      n = n + 1
      queue[n] = found
    else
      table.sort(found, ranks_before)
      for m = 1, #found do queue[n + m] = found[m] end
      n = n + #found
    end
  end
end

local function head_of(class, key, list, at, is_whole)
  return {
    id = list[at], score = score_of(class, tonumber(list[at + 1])), key = key, list = list, at = at, class = class,
    is_whole = is_whole,
  }
end
-- The first `want` ready jobs of a lane's queue in exact score order, {id, score, key}, and whether there are more.
-- Inside a class the longest waiting ranks first, so only the heads of the classes are compared; the rest of a class is
-- read when its head was the best.
local function best(name, want)
  local heads, found = {}, {}
  for class = 0, 5 do
    local key = READY .. class_prefix[class] .. name
    local list = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
    if list[1] then heads[#heads + 1] = head_of(class, key, list, 1, false) end
  end
  while #found < want and heads[1] do
    local first = 1
    for i = 2, #heads do if ranks_before(heads[i], heads[first]) then first = i end end
    local top = heads[first]
    local list, at, key = top.list, top.at + 2, top.key
    found[#found + 1] = top
    if not list[at] and not top.is_whole then
      list, at = redis.call('ZRANGE', key, 1, want, 'WITHSCORES'), 1
    end
    if list[at] then
      heads[first] = head_of(top.class, key, list, at, true)
    else
      table.remove(heads, first)
    end
  end
  return found, heads[1] ~= nil
end

return { score_of = score_of, before = ranks_before, sort = sort, best = best }

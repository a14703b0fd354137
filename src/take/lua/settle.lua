-- settle: end calls. Their leases go, and each job goes where its outcome sends it.
-- KEYS  1 anchor
-- ARGV  1 now in ms, or '' for Redis's own
--       2 msgpack, the spec: as for take
--       3 msgpack array of {lease, {{index, end, verdicts = {{verdict, number, kind, id…}…},
--         holds = {{scope, until_ms, reason, device}…}, also = {{id, sent_ms}…}}…}}; holds and also may be left out
--         index   the call's place in its lease, a digit of 32
--         end     'unsent' (what it spent may go back), 'good', 'error', 'throttled' or 'lost'
--         verdict 'done'  number = when it was sent: next run at the next point of the grid, attempts 0
--                 'again' back to ready with its rank (throttled, not sent); so are jobs without a verdict
--                 'later' number = delay in ms: one attempt more of this kind of failure, due again after it
--                 'miss'  one attempt more of this kind; next at a point of the grid at least number ms away
--                 'skip'  the turn is given up: next point of the grid, attempts 0
--                 'drop'  number = version: forgotten (parked, paused, deleted) unless its owner has spoken since
--         also    jobs that the answer told of without being asked: due again an interval after it
-- Returns msgpack {stale, wake_ms}: the positions (from 0) of calls that were no longer held, whose jobs somebody else
-- has: nothing was changed for them; and in how many ms there is something to take because of this, -1 for never.
epoch = tonumber(redis.call('HGET', META, 'epoch') or 0)
local wanted = cmsgpack.unpack(ARGV[3])

-- What was leased, a call a lease. One that is settled twice in one batch is settled once.
local ids, alone, stale, ended, gone, calls, entries, position, seen = {}, {}, {}, {}, {}, {}, {}, 0, {}
local function note_ids(entry, call)
  local list = entry[9] and ids or alone
  for _, id in ipairs(entry[3]) do list[#list + 1] = id end
  for _, also in ipairs(call[5] or {}) do list[#list + 1] = also[1] end
end
for _, group in ipairs(wanted) do
  local n, told, fields = group[1], group[2], {}
  for i = 1, #told do fields[i] = told[i][1] end
  local raws, known = redis.call('HMGET', TAKE .. n, unpack(fields)), seen[n] or {}
  local done = ended[n] or {}
  seen[n], ended[n] = known, done
  for i = 1, #told do
    local field = fields[i]
    if raws[i] and not known[field] then
      known[field] = true
      done[#done + 1] = field
      local ok, entry = pcall(cmsgpack.unpack, raws[i])
      if ok then
        calls[#calls + 1] = told[i]
        entries[#calls] = entry
        note_ids(entry, told[i])
      end
    else
      stale[#stale + 1] = position
    end
    position = position + 1
  end
end
local jobs = read_jobs(ids, true)
read_jobs(alone, false, jobs)
-- One whose owner made it share calls meanwhile, or no more, has moved.
local moved = {}
for id, j in pairs(jobs) do if not j then moved[#moved + 1] = id end end
for id, j in pairs(find_jobs(moved)) do jobs[id] = j end

local ready, changed, freed, woken, wake, others_gain = {}, {}, {}, {}, -1, false
local function due_again(id, j)
  changed[id] = j
  add_due(id, j, j.due)
  if wake < 0 or j.due - now < wake then wake = math.max(j.due - now, 0) end
end

-- Unlike failures do not add up: three times "gone" is gone, two outages and a "gone" are not.
local function fail(j, kind)
  j.attempts = j.kind == kind and math.min(j.attempts + 1, 255) or 1
  j.kind = kind
end

local function end_job(id, j, verdict)
  local kind = verdict and verdict[1] or 'again'
  if kind == 'drop' and j and j.version > verdict[2] then kind = 'again' end
  if not j or j.dropped or kind == 'drop' then
    gone[#gone + 1] = id
  elseif kind == 'again' then
    add_ready(ready, id, j)
  elseif kind == 'later' then
    fail(j, verdict[3])
    j.due = now + math.floor(verdict[2])
    due_again(id, j)
  else
    j.urgent = false
    if kind == 'done' then
      j.last, j.attempts, j.kind = math.max(j.last, math.floor(verdict[2])), 0, 0
      j.due = grid_after(j, math.max(j.last, j.due))
    elseif kind == 'miss' then
      fail(j, verdict[3])
      j.due = grid_after(j, now + math.floor(verdict[2]))
    else
      j.attempts, j.kind = 0, 0
      j.due = grid_after(j, now)
    end
    due_again(id, j)
  end
end

-- Whatever else a call's answer told: fresh, so due an interval later. One that is leased is left to who has it.
local function refreshed(id, sent)
  local j = jobs[id]
  if not j or j.dropped or changed[id] or sent <= j.last then return end
  local due = due_at(id, j)
  local waits = not due and redis.call('ZREM', READY .. queue_name(j), id) == 1
  if due or waits then
    j.last, j.urgent, j.attempts, j.kind = sent, false, 0, 0
    j.due = math.max(j.due, sent + j.interval)
    due_again(id, j)
  end
end

-- The quotas of a call's whole chain.
local function chain_links(entry)
  local members = {}
  for _, id in ipairs(entry[3]) do members[#members + 1] = jobs[id] or nil end
  local chain = chain_of({ name = entry[1] }, entry[2])
  local links = { unpack(chain.app) }
  for _, link in ipairs(own_links(chain, members)) do links[#links + 1] = link end
  return links
end

local function give_back(entry, finish)
  local at, cost, urgent, after = entry[4], entry[5], entry[6], entry[8] or {}
  for _, link in ipairs(chain_links(entry)) do
    local q = link.q
    if q and refund[q.kind] and not (urgent and q.background) and (finish == 'unsent' or q.free_errors) then
      local step = q.emission_ms or q.window_ms and q.window_ms / link.rate
      refund[q.kind](q, link, cost, at, after[link.s.holder .. ' ' .. link.field] or step and at + cost * step)
      touch(link)
      -- Who waited for it may compete again.
      if link.line then redis.call('ZADD', BLOCKED, 'XX', now, link.line) end
    end
  end
  if redis.call('ZREM', BLOCKED, entry[1]) == 1 then woken[#woken + 1] = entry[1] end
  others_gain = true
end

local function adapt(entry, finish)
  for _, link in ipairs(chain_links(entry)) do
    if link.q and link.q.kind == 'adaptive' then
      learn.adaptive(link.q, link, finish, entry[5])
      touch(link)
    end
  end
end

-- Feedback only tightens: a hold is extended, never shortened.
local function hold(lane, scope, until_ms, reason, device)
  local connection, group = lane:match('^(%d+)%.(.*)$')
  local key, field = P .. 'quota:' .. (scope == 'app' and 'app' or connection or lane), '!hold'
  if scope == 'group' and group then field = '!hold@' .. group end
  if scope == 'device' then field = '!hold#' .. string.format('%.0f', device) end
  local old = redis.call('HGET', key, field)
  if not old or tonumber(old:match('^%S+')) < until_ms then
    redis.call('HSET', key, field, string.format('%.0f', until_ms) .. ' ' .. reason)
  end
  if scope == 'device' then
    local all = tonumber(redis.call('HGET', key, '!holds') or 0)
    if all < until_ms then redis.call('HSET', key, '!holds', string.format('%.0f', until_ms)) end
  end
end

for i = 1, #calls do
  local call, entry = calls[i], entries[i]
  local finish, told = call[2], call[3]
  if entry[7] then release(entry[7], finish, freed) end
  if finish == 'unsent' or (finish == 'error' and spec.free_errors) then give_back(entry, finish) end
  if spec.adaptive and finish ~= 'unsent' then adapt(entry, finish) end
  local leased = entry[3]
  if #leased == 1 and told[1] and told[1][4] == leased[1] then
    end_job(leased[1], jobs[leased[1]], told[1])
  else
    local verdicts = {}
    for _, verdict in ipairs(told) do
      for i = 4, #verdict do verdicts[verdict[i]] = verdict end
    end
    for _, id in ipairs(leased) do end_job(id, jobs[id], verdicts[id]) end
  end
  for _, h in ipairs(call[4] or {}) do hold(entry[1], h[1], h[2], h[3], h[4]) end
end
for _, call in ipairs(calls) do
  for _, also in ipairs(call[5] or {}) do refreshed(also[1], also[2]) end
end
-- Where the jobs go before who held them: an error in between leaves a job twice, which is mended, and not nowhere.
write_due()
write_jobs(changed)
write_states()
make_ready(ready)
wake_lanes(woken)
wake_freed(freed)
for n, fields in pairs(ended) do
  if #fields > 0 then redis.call('HDEL', TAKE .. n, unpack(fields)) end
  if redis.call('EXISTS', TAKE .. n) == 0 then redis.call('ZREM', LEASES, n) end
end
for _, id in ipairs(gone) do forget_job(id) end
others_gain = others_gain or #freed > 0
if others_gain or next(ready) then wake = 0 end
-- Who settles knows when there is more to do; others need only hear of what came back.
if others_gain then redis.call('PUBLISH', P .. 'wake', '') end
return cmsgpack.pack({ stale, wake })

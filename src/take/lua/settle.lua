-- settle: end calls. Their leases go, and each job goes where its outcome sends it.
-- KEYS  1 anchor
-- ARGV  1 now in ms, or '' for Redis's own
--       2 msgpack, the spec: as for take
--       3 msgpack array of {lease, well, calls}
--         well    {index, id, sent_ms, …}: calls for one job that ended well, with no more to say: 'good', 'done'
--         calls   {{index, end, holds = {{scope, until_ms, reason, device}…}, also = {{id, sent_ms}…},
--                 verdict, number, kind, how many jobs, id…, verdict, number, …}…}; no holds, and no also, may be false
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
local ids, stale, ended, gone, calls, entries, position, seen = {}, {}, {}, {}, {}, {}, 0, {}
-- Those that ended well, by their jobs: {id, record, whether they can share a call, sent, held, …}.
local plainly = {}
local function ended_with(raw, id, sent, call)
  if id and not spec.adaptive then
    local ok, _, jobs, held, shared, first, record = pcall(cmsgpack.unpack_limit, raw, FIRST + 1, 0)
    if ok and jobs == 1 and first == id then
      local n = #plainly
      plainly[n + 1], plainly[n + 2], plainly[n + 3] = id, record, shared
      plainly[n + 4], plainly[n + 5] = sent, held
      ids[#ids + 1] = id
      return
    end
  end
  local entry = entry_of(raw)
  if not entry then return end
  calls[#calls + 1] = call or { false, 'good', false, false, 'done', sent, 0, 1, id }
  entries[#entries + 1] = entry
  local leased = jobs_of(entry)
  for i = 1, #leased, 2 do ids[#ids + 1] = leased[i] end
end
for _, group in ipairs(wanted) do
  local n, well, told, fields = group[1], group[2], group[3], {}
  for i = 1, #well, 3 do fields[#fields + 1] = well[i] end
  local plain = #fields
  for i = 1, #told do fields[plain + i] = told[i][1] end
  local found, known = redis.call('HMGET', TAKE .. n, unpack(fields)), seen[n] or {}
  local done = ended[n] or {}
  seen[n], ended[n] = known, done
  for i = 1, #fields do
    local field, raw = fields[i], found[i]
    if raw and not known[field] then
      known[field] = true
      done[#done + 1] = field
      ended_with(raw, i <= plain and well[3 * i - 1], i <= plain and well[3 * i], told[i - plain])
    else
      stale[#stale + 1] = position
    end
    position = position + 1
  end
end
-- A job is as it was taken, unless its owner has spoken since: then it is as the schedule has it now.
local spoken = {}
if #ids > 0 and redis.call('EXISTS', SPOKEN) == 1 then
  local some = {}
  for i, is in ipairs(ask('SMISMEMBER', SPOKEN, ids)) do
    if is == 1 then some[#some + 1] = ids[i] end
  end
  for id, j in pairs(find_jobs(some)) do spoken[id] = j end
  send('SREM', SPOKEN, some)
end
local function job_of(id, raw)
  local j = spoken[id]
  if j == nil then
    j = unpack_job(id, raw) or false
    spoken[id] = j
  end
  return j
end

local ready, changed, kept, freed, woken, wake, others_gain = {}, {}, {}, {}, {}, -1, false
local settled = {}
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

-- The usual end, without taking the record apart: class and flags in its first bytes, then interval, offset, due, last.
local function done(id, raw, shared, sent)
  local v, class, flags, _, interval, offset, due, last = struct.unpack('<BBBBI4I4I6I6', raw)
  if v ~= 1 or flags % 2 == 1 or interval == 0 then return false end
  if sent > last then last = sent end
  local t = last > due and last or due
  due = (math.floor((t - offset) / interval) + 1) * interval + offset
  -- It may share a call as before; nothing urgent and no failure is left.
  keep(kept, id, shared,
    struct.pack('<BBBBI4I4I6I6', v, class, flags % 4, 0, interval, offset, due, last) .. raw:sub(25))
  if shared then
    local _, _, _, _, _, _, _, _, _, _, lane, resource = struct.unpack(RECORD, raw)
    add_due(id, { shared = true, lane = lane, resource = resource }, due)
  else
    due_adds[#due_adds + 1] = string.format('%d', due)
    due_adds[#due_adds + 1] = id
  end
  if wake < 0 or due - now < wake then wake = due > now and due - now or 0 end
  return true
end

local function end_job(id, raw, shared, kind, number, failure)
  if kind == 'done' and spoken[id] == nil and done(id, raw, shared, math.floor(number)) then return end
  local j = job_of(id, raw)
  if kind == 'drop' and j and j.version > number then kind = 'again' end
  if not j or j.dropped or kind == 'drop' then
    gone[#gone + 1] = id
  elseif kind == 'again' and (j.urgent or j.due <= now) then
    add_ready(ready, id, j)
  elseif kind == 'again' then
    due_again(id, j) -- it was granted for its instant, or rode along: its time is still to come
  elseif kind == 'later' then
    fail(j, failure)
    j.due = now + math.floor(number)
    due_again(id, j)
  else
    j.urgent = false
    if kind == 'done' then
      j.last, j.attempts, j.kind = math.max(j.last, math.floor(number)), 0, 0
      j.due = grid_after(j, math.max(j.last, j.due))
    elseif kind == 'miss' then
      fail(j, failure)
      j.due = grid_after(j, now + math.floor(number))
    else
      j.attempts, j.kind = 0, 0
      j.due = grid_after(j, now)
    end
    due_again(id, j)
  end
end

-- Whatever else a call's answer told: fresh, so due an interval later. One that is leased is left to who has it.
local function refreshed(id, j, sent)
  if not j or j.dropped or settled[id] or sent <= j.last then return end
  settled[id] = true
  local due = due_at(id, j)
  local waits = not due and redis.call('ZREM', ready_key(j), id) == 1
  if due or waits then
    j.last, j.urgent, j.attempts, j.kind = sent, false, 0, 0
    j.due = math.max(j.due, sent + j.interval)
    due_again(id, j)
  end
end

-- The quotas of a call's whole chain, and the state of its connection.
local function chain_links(entry)
  local members = {}
  local leased = jobs_of(entry)
  for i = 1, #leased, 2 do members[#members + 1] = job_of(leased[i], leased[i + 1]) or nil end
  local chain = chain_of({ name = entry[6] }, entry[7])
  local links = { unpack(chain.app) }
  for _, link in ipairs(own_links(chain, members)) do links[#links + 1] = link end
  return links, chain.state
end

local function give_back(entry, finish)
  local at, cost, urgent, after = entry[8], entry[9], entry[10], entry[11] or {}
  local links, state = chain_links(entry)
  -- On other terms what it had spent was of another size: it stays spent, but for a count.
  local moved = spec.terms and after['!terms'] ~= terms_of(state.holder).key
  for _, link in ipairs(links) do
    local q = link.q
    if moved and q and q.varies and q.emission_ms then q = nil end
    if q and refund[q.kind] and not (urgent and q.background) and (finish == 'unsent' or q.free_errors) then
      local g = link.at and { tat = state.flat[link.at], s = state, field = q.field } or link
      local step = q.emission_ms or q.window_ms and q.window_ms / g.rate
      refund[q.kind](q, g, cost, at, after[g.s.holder .. ' ' .. g.field] or step and at + cost * step)
      if link.at then state.flat[link.at] = g.tat end
      touch(g)
      -- Who waited for it may compete again.
      if link.line then redis.call('ZADD', BLOCKED, 'XX', now, link.line) end
    end
  end
  if redis.call('ZREM', BLOCKED, entry[6]) == 1 then woken[#woken + 1] = entry[6] end
  others_gain = true
end

local function adapt(entry, finish)
  for _, link in ipairs(chain_links(entry)) do
    if link.q and link.q.kind == 'adaptive' then
      learn.adaptive(link.q, link, finish, entry[9])
      touch(link)
    end
  end
end

-- Feedback only tightens: a hold is extended, never shortened.
local function hold(lane, scope, until_ms, reason, device)
  local connection, group = lane:match('^(%d+)%.(.*)$')
  local s, field = state_of(scope == 'app' and 'app' or connection or lane), '!hold'
  if scope == 'group' and group then field = '!hold@' .. group end
  if scope == 'device' then field = '!hold#' .. string.format('%.0f', device) end
  ensure(s, { field, '!holds' })
  local old, ends = s.has[field], string.format('%.0f', until_ms)
  if not old or tonumber(old:match('^%S+')) < until_ms then
    s.has[field] = ends .. ' ' .. reason
    keep_state(s, field, s.has[field])
  end
  if scope == 'device' and tonumber(s.has['!holds'] or 0) < until_ms then
    s.has['!holds'] = ends
    keep_state(s, '!holds', ends)
  end
end

for i = 1, #plainly, 5 do
  local held = plainly[i + 4]
  if held then release(held, 'good', freed) end
  end_job(plainly[i], plainly[i + 1], plainly[i + 2], 'done', plainly[i + 3], 0)
end
local also, VERDICTS = {}, 5
for i = 1, #calls do
  local call, entry = calls[i], entries[i]
  local finish, shared, verdicts, from = call[2], entry[3], {}, VERDICTS
  if entry[2] then release(entry[2], finish, freed) end
  if finish == 'unsent' or (finish == 'error' and spec.free_errors) then give_back(entry, finish) end
  if spec.adaptive and finish ~= 'unsent' then adapt(entry, finish) end
  while call[from] do
    local n = call[from + 3]
    for k = from + 4, from + 3 + n do verdicts[call[k]] = from end
    from = from + 4 + n
  end
  local leased = jobs_of(entry)
  for k = 1, #leased, 2 do
    from = verdicts[leased[k]]
    if from then
      end_job(leased[k], leased[k + 1], shared, call[from], call[from + 1], call[from + 2])
    else
      end_job(leased[k], leased[k + 1], shared, 'again')
    end
  end
  if call[3] then
    for _, h in ipairs(call[3]) do hold(entry[6], h[1], h[2], h[3], h[4]) end
  end
  if call[4] then
    for _, told_of in ipairs(call[4]) do also[#also + 1] = told_of end
  end
end
if #also > 0 then
  local others = {}
  for i = 1, #ids do settled[ids[i]] = true end
  for i, told_of in ipairs(also) do others[i] = told_of[1] end
  local found = find_jobs(others)
  for _, told_of in ipairs(also) do refreshed(told_of[1], found[told_of[1]], told_of[2]) end
end
-- Where the jobs go before who held them: an error in between leaves a job twice, which is mended, and not nowhere.
write_due()
write_jobs(changed)
write_kept(kept)
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

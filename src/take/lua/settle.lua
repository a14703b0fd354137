-- settle: end calls. Their leases go, and each job goes where its outcome sends it.
-- KEYS  1 anchor
-- ARGV  1 now in ms, or '' for Redis's own
--       2 msgpack array of {call, unsent, jobs = {[id, verdict, number, kind]…},
--         holds = {[scope, until_ms, reason, device]…}}
--         verdict 'done'  number = when it was sent: next run at the next point of the grid, attempts 0
--                 'again' back to ready with its rank (throttled, not sent)
--                 'later' number = delay in ms: one attempt more of this kind of failure, due again after it
--                 'miss'  one attempt more of this kind; next at a point of the grid at least number ms away
--                 'skip'  the turn is given up: next point of the grid, attempts 0
--                 'drop'  number = version: forgotten (parked, paused, deleted) unless its owner has spoken since
-- Returns the calls that were no longer held, whose jobs somebody else has: nothing was changed for them.
-- An unsent call's grant returns to a quota only if no later grant was made on it: otherwise taking it back could
-- let a window overflow, and it stays spent.
local now = now_ms(ARGV[1])
local stale, due, ready, changed, gone, ended, woken = {}, {}, {}, {}, {}, {}, {}

-- Unlike failures do not add up: three times "gone" is gone, two outages and a "gone" are not.
local function fail(j, kind)
  j.attempts = j.kind == kind and math.min(j.attempts + 1, 255) or 1
  j.kind = kind
end

local function hold_key(scope, lane)
  if scope == 'app' then return P .. 'quota:app', '!hold' end
  local connection, group = lane:match('^(%d+)%.(.*)$')
  return P .. 'quota:' .. (connection or lane), scope == 'group' and group and ('!hold@' .. group) or '!hold'
end

for _, call in ipairs(cmsgpack.unpack(ARGV[2])) do
  local id = string.format('%.0f', call[1])
  local raw = redis.call('HGET', CALLS, id)
  if not raw then
    stale[#stale + 1] = call[1]
  else
    local entry = cmsgpack.unpack(raw)
    ended[#ended + 1] = id
    if call[2] then
      for _, s in ipairs(entry.spent) do
        local key = P .. 'quota:' .. s[1]
        if redis.call('HGET', key, s[2]) == s[4] then redis.call('HSET', key, s[2], s[3]) end
      end
      -- What blocked the lane may just have come back.
      if redis.call('ZREM', BLOCKED, entry.lane) == 1 then woken[#woken + 1] = entry.lane end
    end
    local verdicts = {}
    for _, job in ipairs(call[3]) do verdicts[job[1]] = job end
    local lane = entry.lane
    for job, j in pairs(read_jobs(entry.jobs)) do
      local verdict = verdicts[job] or { job, 'again', 0 }
      local kind = verdict[2]
      if kind == 'drop' and j and j.version > verdict[3] then kind = 'again' end
      if not j or j.dropped or kind == 'drop' then
        gone[#gone + 1] = job
      else
        if kind == 'again' then
          add_ready(ready, job, j)
        else
          if kind == 'done' then
            j.last, j.attempts, j.kind = math.max(j.last, math.floor(verdict[3])), 0, 0
            j.due = grid_after(j, math.max(j.last, j.due))
          elseif kind == 'later' then
            fail(j, verdict[4])
            j.due = now + math.floor(verdict[3])
          elseif kind == 'miss' then
            fail(j, verdict[4])
            j.due = grid_after(j, now + math.floor(verdict[3]))
          else
            j.attempts, j.kind = 0, 0
            j.due = grid_after(j, now)
          end
          changed[job] = j
          due[#due + 1] = j.due
          due[#due + 1] = job
        end
      end
    end
    for _, h in ipairs(call[4]) do
      local key, field
      if h[1] == 'device' then
        key, field = hold_key('connection', lane)
        field = '!hold#' .. string.format('%.0f', h[4])
      else
        key, field = hold_key(h[1], lane)
      end
      -- Feedback only tightens: a hold is extended, never shortened.
      local old = redis.call('HGET', key, field)
      if not old or tonumber(old:match('^%S+')) < h[2] then
        redis.call('HSET', key, field, string.format('%.0f', h[2]) .. ' ' .. h[3])
      end
    end
  end
end
-- Where the jobs go before who held them: an error in between leaves a job twice, which is mended, and not nowhere.
send('ZADD', DUE, due)
write_jobs(changed)
make_ready(ready)
wake_lanes(woken)
send('HDEL', CALLS, ended)
send('ZREM', LEASES, ended)
for _, job in ipairs(gone) do redis.call('HDEL', bucket_key(job), job) end
if #ended > 0 then redis.call('PUBLISH', P .. 'wake', '') end
return stale

-- Jobs: where settle sends the jobs of calls that ended.
-- Uses: Keys, Command, Record, Due, Lanes, Lease, Run, Ended
-- Gives: gone, changed, staged, ready, read_changed, job_of, succeed, end_all, add_unsolicited, refresh_unsolicited,
--   wake_ms
local now, floor, add_due, add_ready = Run.now, math.floor, Due.add, Lanes.add_ready
local add_alone, add_shared = Due.add_alone, Due.add_shared
local succeeded, stage, grid_after, ready_key = Record.succeeded, Record.stage, Record.grid_after, Record.ready_key
local VERDICTS, TRANSIENT = Ended.VERDICTS, 1
-- A device that had data before has some again any time, as an inverter has in the morning.
local NO_DATA, NO_DATA_INTERVALS = 5, 4
local waits_max = { [TRANSIENT] = Run.spec.waits_max_ms[1], lasting = Run.spec.waits_max_ms[2] }

-- Ids to be forgotten; records to be written, unpacked and packed; and ready sets to be filled.
local gone, changed, staged, ready = {}, {}, {}, {}
local wake

-- A job is as it was leased, unless its owner has changed it since: then it is as the schedule has it now.
local jobs, is_changed = {}, {}
local function read_changed(ids)
  if #ids == 0 or redis.call('EXISTS', Keys.changed) == 0 then return end
  local some = {}
  for i, is in ipairs(Command.ask('SMISMEMBER', Keys.changed, ids)) do
    if is == 1 then some[#some + 1] = ids[i] end
  end
  for id, j in pairs(Record.find(some)) do jobs[id], is_changed[id] = j, true end
  Command.send('SREM', Keys.changed, some)
end
local function job_of(id, raw)
  local j = jobs[id]
  if j == nil then
    j = Record.unpack(id, raw) or false
    jobs[id] = j
  end
  return j
end

local function due_again(id, j)
  changed[id] = j
  add_due(id, j, j.due)
  if not wake or j.due < wake then wake = j.due end
end

-- Unlike failures do not add up: three times "gone" is gone, two outages and a "gone" are not.
local function fail(j, kind)
  j.attempts = j.kind == kind and math.min(j.attempts + 1, 255) or 1
  j.kind = kind
end

-- The longest wait after failures of this kind in a row.
local function wait_max(j, kind)
  if kind == NO_DATA and j.last > 0 then return math.max(NO_DATA_INTERVALS * j.interval, waits_max[TRANSIENT]) end
  return math.max(j.interval, waits_max[kind] or waits_max.lasting)
end

-- Whether its owner has changed the job since it was leased: its failure says nothing of it as it is now.
local function is_newer(id, raw, j)
  local leased = is_changed[id] and Record.unpack(id, raw)
  return leased and j.version > leased.version
end

local function end_job(id, raw, verdict, number, kind)
  local j = job_of(id, raw)
  if verdict == 'drop' and j and j.version > number then verdict = 'again' end
  if not j or j.dropped or verdict == 'drop' then
    gone[#gone + 1] = id
  elseif verdict == 'again' and (j.urgent or j.due <= now) then
    add_ready(ready, id, j)
  elseif verdict == 'again' then
    due_again(id, j) -- it was granted for its instant, or piggybacked: its time is still to come
  elseif (verdict == 'later' or verdict == 'miss') and is_newer(id, raw, j) then
    j.attempts, j.kind, j.due = 0, 0, now
    due_again(id, j)
  elseif verdict == 'later' then
    fail(j, kind)
    j.due = now + math.floor(number)
    due_again(id, j)
  else
    local was_urgent = j.urgent
    j.urgent = false
    if verdict == 'done' then
      j.last, j.attempts, j.kind = math.max(j.last, math.floor(number)), 0, 0
      j.due = Record.due_after(j.interval, j.offset, j.last, j.due, was_urgent)
    else
      fail(j, kind)
      local wait = math.min(number * j.interval, wait_max(j, kind))
      j.due = grid_after(j.interval, j.offset, now + wait - j.interval)
    end
    due_again(id, j)
  end
end

-- The usual end of a job.
local function succeed(id, raw, shared, sent)
  if jobs[id] == nil then
    local next_raw, due, queue = succeeded(raw, shared, floor(sent))
    if next_raw then
      stage(staged, id, shared, next_raw)
      if queue then add_shared(queue, id, due) else add_alone(id, due) end
      if not wake or due < wake then wake = due end
      return
    end
  end
  end_job(id, raw, 'done', sent, 0)
end

-- Ends the jobs of a call by its verdicts.
local function end_all(leased, call)
  local verdicts, from, shared = {}, VERDICTS, leased[Lease.SHARED]
  while call[from] do
    local n = call[from + 3]
    for k = from + 4, from + 3 + n do verdicts[call[k]] = from end
    from = from + 4 + n
  end
  local its_jobs = Lease.jobs_of(leased)
  for k = 1, #its_jobs, 2 do
    local id, raw = its_jobs[k], its_jobs[k + 1]
    local at = verdicts[id]
    if not at then
      end_job(id, raw, 'again')
    elseif call[at] == 'done' then
      succeed(id, raw, shared, call[at + 1])
    else
      end_job(id, raw, call[at], call[at + 1], call[at + 2])
    end
  end
end

local unsolicited = {}
local function add_unsolicited(some)
  for _, pair in ipairs(some) do unsolicited[#unsolicited + 1] = pair end
end
-- Jobs with an unsolicited reading are fresh, so due an interval after it. One that is leased is left to that call; one
-- that this settle ended, to its own end.
local function refresh_unsolicited(ended)
  if #unsolicited == 0 then return end
  local others, settled = {}, {}
  for i = 1, #ended do settled[ended[i]] = true end
  for i, pair in ipairs(unsolicited) do others[i] = pair[1] end
  local found = Record.find(others)
  for _, pair in ipairs(unsolicited) do
    local id, sent = pair[1], pair[2]
    local j = found[id]
    if j and not j.dropped and not settled[id] and sent > j.last then
      settled[id] = true
      if Due.at(id, j) or redis.call('ZREM', ready_key(j), id) == 1 then
        j.last, j.urgent, j.attempts, j.kind = sent, false, 0, 0
        j.due = sent + j.interval
        due_again(id, j)
      end
    end
  end
end

-- In how many ms the first of these jobs is due; -1 for none.
local function wake_ms() return wake and math.max(wake - now, 0) or -1 end

return {
  gone = gone, changed = changed, staged = staged, ready = ready, read_changed = read_changed, job_of = job_of,
  succeed = succeed, end_all = end_all, add_unsolicited = add_unsolicited, refresh_unsolicited = refresh_unsolicited,
  wake_ms = wake_ms,
}

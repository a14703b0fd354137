-- Ended: the calls that settle ends, as their leases have them.
-- Uses: Keys, Lease, Run
-- Gives: END, HOLDS, UNSOLICITED, VERDICTS, ids, plain, leased, stale, read, remove_leases
local LEASE, unpack_single, jobs_of = Keys.lease, Lease.unpack_single, Lease.jobs_of
local has_adaptive = Run.spec.has_adaptive

-- Where a call's end has what.
local END, HOLDS, UNSOLICITED, VERDICTS = 2, 3, 4, 5

-- Jobs of calls that were still leased; and positions of calls that were not.
local ids, stale = {}, {}
-- Calls that ended well, by their jobs: {id, record, whether they can share a call, sent, held, …}; and of all others
-- the ends and, beside them, what their leases have.
local plain, calls, leased = {}, {}, {}
-- lease -> places that settle ends.
local ended = {}

local function add(raw, id, sent, call)
  if id and not has_adaptive then
    local first, record, shared, held = unpack_single(raw)
    if first == id then
      local n = #plain
      plain[n + 1], plain[n + 2], plain[n + 3], plain[n + 4], plain[n + 5] = id, record, shared, sent, held
      ids[#ids + 1] = id
      return
    end
  end
  local entry = Lease.unpack(raw)
  if not entry then return end
  calls[#calls + 1] = call or { false, 'good', false, false, 'done', sent, 0, 1, id }
  leased[#leased + 1] = entry
  local jobs = jobs_of(entry)
  for i = 1, #jobs, 2 do ids[#ids + 1] = jobs[i] end
end

-- A call that is settled twice in one batch is settled once.
local function read(wanted)
  local position, seen = 0, {}
  for _, group in ipairs(wanted) do
    local lease, well, others, places = group[1], group[2], group[3], {}
    for i = 1, #well, 3 do places[#places + 1] = well[i] end
    local count = #places
    for i = 1, #others do places[count + i] = others[i][1] end
    local found = redis.call('HMGET', LEASE .. lease, unpack(places))
    local known, done = seen[lease] or {}, ended[lease] or {}
    seen[lease], ended[lease] = known, done
    for i = 1, #places do
      local place, raw = places[i], found[i]
      if raw and not known[place] then
        known[place] = true
        done[#done + 1] = place
        add(raw, i <= count and well[3 * i - 1], i <= count and well[3 * i], others[i - count])
      else
        stale[#stale + 1] = position
      end
      position = position + 1
    end
  end
  return calls
end

local function remove_leases()
  for lease, places in pairs(ended) do
    if #places > 0 then redis.call('HDEL', LEASE .. lease, unpack(places)) end
    if redis.call('EXISTS', LEASE .. lease) == 0 then redis.call('ZREM', Keys.leases, lease) end
  end
end

return {
  END = END, HOLDS = HOLDS, UNSOLICITED = UNSOLICITED, VERDICTS = VERDICTS, ids = ids, plain = plain, leased = leased,
  stale = stale, read = read, remove_leases = remove_leases,
}

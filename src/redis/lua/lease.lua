-- Lease: a granted call as its lease keeps it. Up to Const.lease_width calls share a lease, a hash: a call's place
-- in it is its number modulo the width, as one digit. Few, because Redis looks through such a hash item by item.
--
-- A call is a row without a table of its own, because one is written and read for every call: how many jobs, held,
-- whether they can share a call, id, record (false for none), then what only few ends need: lane, resource, instant,
-- cost, urgent, after; id, record, id, record … of the other jobs. held and after: see Chain.spend.
-- Uses: Const
-- Gives: WIDTH, DIGITS, HELD, SHARED, LANE, RESOURCE, AT, COST, URGENT, AFTER, next_number, pack, unpack,
--   unpack_single, jobs_of
local WIDTH, DIGITS = Const.lease_width, Const.lease_digits
local pack_values, unpack_limit = cmsgpack.pack, cmsgpack.unpack_limit
local HELD, SHARED, FIRST, LANE, RESOURCE, AT, COST, URGENT, AFTER, OTHERS = 2, 3, 4, 6, 7, 8, 9, 10, 11, 12

-- A take's calls are numbered from a multiple of this: it is a multiple of WIDTH, and no take has more calls.
local STEP = 1024
-- The first number for a new take's calls, after the last fence. It grows across a loss of Redis too: it is never below
-- the time in µs.
local function next_number(fence, now)
  return (math.floor(math.max(tonumber(fence or 0), now * 1000) / STEP) + 1) * STEP
end

-- members: the call's jobs; none for an ad-hoc call.
local function pack(members, held, lane, resource, at, cost, urgent, after)
  local j = members[1]
  if not j then return pack_values(0, held, false, false, false, lane, resource, at, cost, urgent, after) end
  if not members[2] then
    return pack_values(1, held, j.shared, j.id, j.raw, lane, resource, at, cost, urgent, after)
  end
  local others = {}
  for i = 2, #members do others[2 * i - 3], others[2 * i - 2] = members[i].id, members[i].raw end
  return pack_values(#members, held, j.shared, j.id, j.raw, lane, resource, at, cost, urgent, after,
    unpack(others))
end

local function row(ok, ...) return ok and type((...)) == 'number' and { ... } or nil end
-- All of a call, or nil if it is corrupt: `check` finds out whose it was.
local function unpack_call(raw) return row(pcall(cmsgpack.unpack, raw)) end

-- Id, record, whether it can share a call, and held, of a call for one job; nothing else is unpacked.
local function unpack_single(raw)
  local ok, _, count, held, shared, id, record = pcall(unpack_limit, raw, FIRST + 1, 0)
  if ok and count == 1 then return id, record, shared, held end
end

-- Id and record of each of its jobs, in a row.
local function jobs_of(call)
  local jobs = {}
  if call[1] > 0 then jobs[1], jobs[2] = call[FIRST], call[FIRST + 1] end
  for i = OTHERS, #call do jobs[#jobs + 1] = call[i] end
  return jobs
end

return {
  WIDTH = WIDTH, DIGITS = DIGITS, HELD = HELD, SHARED = SHARED, LANE = LANE, RESOURCE = RESOURCE, AT = AT, COST = COST,
  URGENT = URGENT, AFTER = AFTER, next_number = next_number, pack = pack, unpack = unpack_call,
  unpack_single = unpack_single, jobs_of = jobs_of,
}

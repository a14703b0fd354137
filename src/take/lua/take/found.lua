-- Found: what this take has found and decided so far; the parts of take share it, and write.lua stores it.
--   calls_max  how many calls to grant at most: lease.lua numbers a take's calls within 1,024
--   lanes      name -> lane with due jobs; fresh: the same as a list, in the order they were met
--   opened_links  links that open with this take, {name, from = how many were let in, pending = how many of these were
--              not served yet, has_more}: their waitlists let lanes in, a few at a time (see contenders.lua)
--   corrupt    ids of jobs whose records cannot be read
--   reaped     how many calls had expired; freed: places that count fewer calls in flight because of it
--   calls      granted calls, as take returns them; leases: the same packed, a list of HSET arguments per lease
--   last_send  the latest instant of a granted call
--   joined     id -> true: piggybacked, or granted ahead of its time, and still in its due set
--   deferred   {job, instant, why}: put off by a limit of its own device
--   touched    name -> lane that was served or stopped
--   departed   key of a ready set -> ids that leave it
--   bound      {lane, quota or hold, until} as take returns it
--   app_opens  the instant from which the app's own limits allow the next call
--   app_until, app_why  when the app's own limits allow any call, and which does not before; nil while they do
--   v, finish  virtual time, and the latest finish tag
--   has_more_due  whether due jobs were left for the next take
-- Uses: Run, Probe, ARGV[3]
-- Gives: calls_max, lanes, fresh, opened_links, corrupt, reaped, freed, calls, leases, last_send, joined, deferred,
--   touched, departed, bound, app_opens, app_until, app_why, v, finish, has_more_due
return {
  calls_max = math.min(tonumber(ARGV[3]), 1000, Probe.calls_max), lanes = {}, fresh = {}, opened_links = {},
  corrupt = {}, reaped = 0, freed = {}, calls = {}, leases = {}, last_send = Run.now, joined = {}, deferred = {},
  touched = {}, departed = {}, bound = {}, app_opens = Run.now, app_until = nil, app_why = nil, v = Run.v,
  finish = Run.finish, has_more_due = false,
}

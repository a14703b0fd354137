-- take: grant the calls that may be sent now, or within the horizon.
-- KEYS  1 anchor "<prefix>{<provider>}:"
-- ARGV  1 now in ms, or '' for Redis's own
--       2 msgpack, the spec {distance = {lead_ms, late_ms, reach_ms}, horizon_ms, ahead_ms, lease_ms, jobs_max,
--                  piggyback_share, piggyback_ms, k, base = {b1..b5}, hold = {first_ms, cap_ms, reported_cap_ms},
--                  has_aligned, has_adaptive, has_free_errors, has_quota_inputs, quotas (see variable_limit.lua),
--                  resources = {name -> {max, cost, cost_per_device}}}
--       3 how many calls
--       4 msgpack {most, of = {connection -> calls}}, or '': no connection gets more of them than `of` says, or `most`
-- Returns msgpack {live, now, late_ms, wake_ms, reaped, calls, bound, corrupt, script_ms}
--   live    false when the schedule was not built on this run of the server (see revive.lua): nothing is granted
--   late_ms how much later than the tolerance calls may be sent
--   wake_ms when to take again if nothing else happens; -1: when something is put or a call ends
--   reaped  how many calls of lost workers were due again
--   calls   {[number, lane, resource, send_in_ms, id, due, attempts, kind of the last failure, version, id, …]…}: the
--           number is the call's fence
--   bound   {[lane, or '' for all, quota or hold, until_ms, or -1 until a call ends]…}
--   corrupt {id…}: jobs set aside because their records cannot be read
--   script_ms  how long this ran, by the clock that `now` is from
-- All quotas of a call's scope chain are spent together, or none is. Jobs beyond jobs_max are left for the next take.
-- Uses: Clock, Run, Probe, Chain, Found, Contenders, Gather, Serve, Ahead, Write
if not Run.is_live() then return cmsgpack.pack({ false, Run.now, 0, -1, 0, {}, {}, {}, 0 }) end
if Probe.wait_ms then return cmsgpack.pack({ true, Run.now, Run.late, Probe.wait_ms, 0, {}, {}, {}, 0 }) end
local calls, calls_max = Found.calls, Found.calls_max

-- Gather what competes.
Gather.reap()
Chain.wake_freed(Found.freed)
Gather.unblock()
Gather.promote()
Contenders.open()

-- Serve the lane that had least of all, one call at a time, until there are enough calls, no lane is left, or the app's
-- own limits or the bound on jobs stop all.
local is_stopped = false
while #calls < calls_max do
  local lane = Contenders.next()
  if not lane then break end
  if not (lane.queues or Serve.has_room()) then
    is_stopped = true
    break
  end
  local answer = Serve.serve(lane)
  if answer == 'app' then
    is_stopped = true
    break
  end
  Contenders.answered(lane, answer)
end
local is_drained = not is_stopped and Contenders.is_drained()

-- What is due within `ahead` is granted for its instant, if nothing at all stands in its way.
if is_drained and #calls < calls_max then Ahead.grant() end

Write.all(is_stopped, is_drained)
if #calls > 0 then Probe.granted() end
return cmsgpack.pack({
  true, Run.now, Run.late, Write.wake_ms(), Found.reaped, calls, Found.bound, Found.corrupt,
  Clock.now_ms(ARGV[1]) - Run.now,
})

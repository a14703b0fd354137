-- Run: what take, settle and reserve are given, and what the schedule says of itself as they begin.
-- Uses: Keys, Clock, ARGV[1], ARGV[2]
-- Gives: now, spec, from, ahead, look_ahead, horizon, limit, look_before, late, epoch, spent, v, finish, fence,
--   has_app_until, places, probe, is_live
local now, spec = Clock.now_ms(ARGV[1]), cmsgpack.unpack(ARGV[2])
local meta = redis.call('HMGET', Keys.meta, 'run', 'epoch', 'v', 'finish', 'fence', 'app_until', 'places',
  'probe_at', 'probe_calls', 'probe_gap', 'probe_gap_max', 'far')

-- Of all processes that call the provider, the one farthest from its servers counts: what its calls need is kept by
-- all. Stored as "<late ms> <its end> <spent at> <reach ms> <its end>".
--   late   how much later than the tolerance calls may be sent: all windows are stretched by it. Kept for an hour after
--          it was last needed: by then such calls are in no window that has no room for it
--   spent  when late last grew, no later grant had been made: by shorter windows, what a burst had left was less
--   reach  how much farther than the horizon calls are granted. Kept until all of them have been sent
local HOUR, TEN_SECONDS = 3600000, 10000
local own = spec.distance
local late, late_ends, spent, reach, reach_ends = (meta[12] or ''):match('^(%S+) (%S+) (%S+) (%S+) (%S+)$')
late, late_ends, spent = tonumber(late) or 0, tonumber(late_ends) or 0, tonumber(spent) or 0
reach, reach_ends = tonumber(reach) or 0, tonumber(reach_ends) or 0
if late_ends <= now then late, spent = 0, 0 end
if reach_ends <= now then reach = 0 end
-- Whether the caller needs more than is kept, or as much and for longer.
local function extends(needed, kept, ends, length)
  return needed > kept or needed > 0 and needed == kept and ends < now + length / 2
end
local extends_late = extends(own.late_ms, late, late_ends, HOUR)
local extends_reach = extends(own.reach_ms, reach, reach_ends, TEN_SECONDS)
if extends_reach then reach, reach_ends = own.reach_ms, now + TEN_SECONDS end
local horizon = spec.horizon_ms + reach
if extends_late then
  if own.late_ms > late then spent = now + horizon end
  late, late_ends = own.late_ms, now + HOUR
end
if extends_late or extends_reach then
  redis.call('HSET', Keys.meta, 'far',
    string.format('%.0f %.0f %.0f %.0f %.0f', late, late_ends, spent, reach, reach_ends))
end
if late > 0 then
  for _, q in ipairs(spec.quotas) do
    if q.kind == 'sliding' then q.emission_ms = q.emission_ms * (q.span_ms + late) / q.span_ms end
    if q.kind == 'aligned' then q.margin_ms = q.margin_ms + late end
    if q.varies then q.varies.span_ms = q.varies.span_ms + late end
  end
end
local epoch = tonumber(meta[2] or 0)

return {
  now = now,
  spec = spec,
  -- The earliest instant for which a job's call is granted: before it, the caller does not know its target.
  from = now + own.lead_ms,
  -- What is due within this time is granted for its instant; it is looked at half-way.
  ahead = spec.ahead_ms + 2 * own.lead_ms,
  look_ahead = spec.ahead_ms / 2 + 1.5 * own.lead_ms,
  -- How far ahead calls are granted, the latest instant, and how long before it what waits for it is looked at again.
  horizon = horizon,
  limit = now + horizon,
  look_before = (horizon + own.lead_ms) / 2,
  -- How much later than the tolerance a call may be sent, ms.
  late = late,
  -- Whatever is stored, a quota counts as fully spent at this instant, the last at which the schedule was revived after
  -- a restart or a loss: no history can have left it emptier than that. 0 if it never was.
  epoch = epoch,
  -- The same, for sliding quotas: they are also spent where windows became longer.
  spent = math.max(epoch, spent),
  v = tonumber(meta[3] or 0),
  finish = tonumber(meta[4] or 0),
  fence = meta[5],
  has_app_until = meta[6] and true or false,
  places = meta[7],
  -- How calls are held back while an incident lasts; without one, nothing is known of it.
  probe = {
    at = tonumber(meta[8]), calls = tonumber(meta[9]),
    gap = tonumber(meta[10]), gap_max = tonumber(meta[11]),
  },
  -- Whether the schedule was built on this run of the server (see revive.lua).
  is_live = function() return meta[1] == Clock.run_id() end,
}

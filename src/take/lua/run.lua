-- Run: what take, settle and reserve are given, and what the schedule says of itself as they begin.
-- Uses: Keys, Clock, ARGV[1], ARGV[2]
-- Gives: now, spec, limit, epoch, v, finish, fence, has_app_until, places, probe, is_live
local now, spec = Clock.now_ms(ARGV[1]), cmsgpack.unpack(ARGV[2])
local meta = redis.call('HMGET', Keys.meta, 'run', 'epoch', 'v', 'finish', 'fence', 'app_until', 'places',
  'probe_at', 'probe_calls', 'probe_gap', 'probe_gap_max')

return {
  now = now,
  spec = spec,
  -- The latest instant for which a call is granted.
  limit = now + spec.horizon_ms,
  -- Whatever is stored, a quota counts as fully spent at this instant, the last at which the schedule was revived after
  -- a restart or a loss: no history can have left it emptier than that. 0 if it never was.
  epoch = tonumber(meta[2] or 0),
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

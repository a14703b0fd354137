-- locate: where the schedule has jobs, for `paceline check` and for explaining one.
-- KEYS  1 anchor
-- ARGV  job ids
-- Returns msgpack array, one a job:
--   [known, in_due, in_ready, in_leased, due_ms, last_ms, interval_ms, class, version, lane, lane_awake].
-- A ready job whose lane is not awake would wait for ever.
local leased = {}
for _, raw in ipairs(redis.call('HVALS', CALLS)) do
  for _, id in ipairs(cmsgpack.unpack(raw).jobs) do leased[id] = true end
end
local found = {}
for i, id in ipairs(ARGV) do
  id = tonumber(id)
  local raw = redis.call('HGET', bucket_key(id), id)
  local j = raw and unpack_job(raw)
  local lane = j and j.lane or ''
  found[i] = {
    j ~= nil and j ~= false and not j.dropped,
    redis.call('ZSCORE', DUE, id) ~= false,
    redis.call('ZSCORE', ready_key(lane, j and j.resource or ''), id) ~= false,
    leased[id] == true,
    j and j.due or 0, j and j.last or 0, j and j.interval or 0, j and j.class or 0, j and j.version or 0, lane,
    (redis.call('ZSCORE', LANES, lane) or redis.call('ZSCORE', BLOCKED, lane)) ~= false,
  }
end
return cmsgpack.pack(found)

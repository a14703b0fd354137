-- locate: where the schedule has jobs, for `paceline check` and for explaining one.
-- KEYS  1 anchor
-- ARGV  job ids
-- Returns msgpack array, one per job:
--   [known, in_due, in_ready, in_leased, due_ms, last_ms, interval_ms, class, version, lane, lane_awake, until_ms,
--    why, urgent].
-- urgent: it was refreshed by hand and has not run since. A ready job whose lane is not awake would wait for ever.
-- until_ms and why: when its lane can be served and which quota or hold does not allow it before; 0 and '' where
-- nothing holds it back.
-- Uses: Keys, Record, Due, Lease
local leased = {}
for _, lease in ipairs(redis.call('ZRANGE', Keys.leases, 0, -1)) do
  for _, raw in ipairs(redis.call('HVALS', Keys.lease .. lease)) do
    local call = Lease.unpack(raw)
    local its_jobs = call and Lease.jobs_of(call) or {}
    for i = 1, #its_jobs, 2 do leased[its_jobs[i]] = true end
  end
end
local app = redis.call('HMGET', Keys.meta, 'app_until', 'app_why')
local found, jobs = {}, Record.find(ARGV)
for i, id in ipairs(ARGV) do
  local j = jobs[id] or nil
  local lane = j and j.lane or ''
  local at = j and Due.at(id, j)
  local blocked = redis.call('ZSCORE', Keys.blocked, lane)
  local until_ms, why = tonumber(blocked or 0), blocked and redis.call('HGET', Keys.why, lane)
  local reason, link = (why or ''):match('^(.-)%z(.*)$')
  if link then why, until_ms = reason, tonumber(redis.call('ZSCORE', Keys.blocked, link) or 0) end
  local waits = j ~= nil and redis.call('ZSCORE', Record.ready_key(j), id) ~= false
  local device = j and redis.call('HGET', Keys.why, '#' .. id)
  if at and device and tonumber(at) > j.due then
    until_ms, why = tonumber(at), device
  elseif waits and not blocked and app[1] then
    until_ms, why = tonumber(app[1]), app[2]
  end
  found[i] = {
    j ~= nil and j ~= false and not j.dropped,
    at ~= false and at ~= nil, waits, leased[id] == true,
    j and j.due or 0, j and j.last or 0, j and j.interval or 0, j and j.class or 0, j and j.version or 0, lane,
    (redis.call('ZSCORE', Keys.lanes, lane) or blocked) ~= false, until_ms, why or '', j and j.urgent or false,
  }
end
return cmsgpack.pack(found)

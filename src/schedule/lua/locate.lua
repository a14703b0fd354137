-- locate: where the schedule has jobs, for `paceline check` and for explaining one.
-- KEYS  1 anchor
-- ARGV  job ids
-- Returns msgpack array, one a job:
--   [known, in_due, in_ready, in_leased, due_ms, last_ms, interval_ms, class, version, lane, lane_awake, until_ms,
--    why].
-- A ready job whose lane is not awake would wait for ever. until_ms and why: when its lane can be served and which
-- quota or hold says so; 0 and '' where nothing holds it back.
local leased = {}
for _, n in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do
  for _, raw in ipairs(redis.call('HVALS', TAKE .. n)) do
    local entry = entry_of(raw)
    local jobs = entry and jobs_of(entry) or {}
    for i = 1, #jobs, 2 do leased[jobs[i]] = true end
  end
end
local app = redis.call('HMGET', META, 'app_until', 'app_why')
local found, jobs = {}, find_jobs(ARGV)
for i, id in ipairs(ARGV) do
  local j = jobs[id] or nil
  local lane = j and j.lane or ''
  local at = j and due_at(id, j)
  local blocked = redis.call('ZSCORE', BLOCKED, lane)
  local until_ms, why = tonumber(blocked or 0), blocked and redis.call('HGET', WHY, lane)
  local reason, link = (why or ''):match('^(.-)%z(.*)$')
  if link then why, until_ms = reason, tonumber(redis.call('ZSCORE', BLOCKED, link) or 0) end
  local waits = j ~= nil and redis.call('ZSCORE', ready_key(j), id) ~= false
  local device = j and redis.call('HGET', WHY, '#' .. id)
  if at and device and tonumber(at) > j.due then
    until_ms, why = tonumber(at), device
  elseif waits and not blocked and app[1] then
    until_ms, why = tonumber(app[1]), app[2]
  end
  found[i] = {
    j ~= nil and j ~= false and not j.dropped,
    at ~= false and at ~= nil, waits, leased[id] == true,
    j and j.due or 0, j and j.last or 0, j and j.interval or 0, j and j.class or 0, j and j.version or 0, lane,
    (redis.call('ZSCORE', LANES, lane) or blocked) ~= false, until_ms, why or '',
  }
end
return cmsgpack.pack(found)

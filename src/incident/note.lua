-- note: note how the last call of each connection ended. Opens an incident when a share of them fails the same way, and
-- closes it when fewer do.
-- KEYS  1 anchor
-- ARGV  1 now in ms, or '' for Redis's own
--       2 msgpack, the spec {window_ms, connections_min, share, probe_ms, probe_max_ms}
--       3 msgpack {well = {connection…}, failed = {{connection, outcome}…}}; with neither, nothing changes
-- Returns msgpack {change, outcome, since, failing, called, next_probe}
--   change  'opened', 'closed' or ''
--   outcome '' without an incident; then the rest is 0
--   since, next_probe  ms; next_probe is 0 while calls are not held back
-- Uses: Keys, Clock
local now, spec, notes = Clock.now_ms(ARGV[1]), cmsgpack.unpack(ARGV[2]), cmsgpack.unpack(ARGV[3])
-- How many calls probe at once; while calls go well, twice as many each second, until they are not held back.
local PROBES, RAMP_MS, UNLIMITED = 3, 1000, 1000
-- After so long without a success, calls that fail hold the others back again.
local RELAPSE_MS = 10 * RAMP_MS
local OUTCOMES = { 'transient', 'unauthorized', 'gone', 'broken' }
local PROBE = { 'probe_at', 'probe_calls', 'probe_gap', 'probe_gap_max' }

local meta = redis.call(
  'HMGET', Keys.meta, 'incident', 'incident_since', 'incident_well', 'probe_calls', 'probe_at')
local outcome, since, well_at = meta[1], tonumber(meta[2]), tonumber(meta[3] or 0)
local probe_calls = tonumber(meta[4] or UNLIMITED)

-- Connections that were called, in two buckets of time: their union is the window, and up to twice as long.
local bucket = math.floor(now / spec.window_ms)
local called_now = Keys.called .. string.format('%.0f', bucket)
local called_before = Keys.called .. string.format('%.0f', bucket - 1)
local connections = {}
for _, connection in ipairs(notes.well) do connections[#connections + 1] = connection end
for _, failure in ipairs(notes.failed) do connections[#connections + 1] = failure[1] end
if #connections > 0 then
  redis.call('PFADD', called_now, unpack(connections))
  redis.call('PEXPIRE', called_now, 2 * spec.window_ms)
end

for _, name in ipairs(OUTCOMES) do
  if #notes.well > 0 then redis.call('ZREM', Keys.failing .. name, unpack(notes.well)) end
end
for _, failure in ipairs(notes.failed) do
  -- What fails in another way while an incident lasts belongs to it.
  redis.call('ZADD', Keys.failing .. (outcome or failure[2]), now, failure[1])
end

-- How many connections fail so, of those that were called; and whether that is an incident.
local called = redis.call('PFCOUNT', called_now, called_before)
local function count(name)
  local key = Keys.failing .. name
  -- During an incident few calls are made, so what failed before them counts for as long as it lasts.
  if not outcome then redis.call('ZREMRANGEBYSCORE', key, '-inf', now - spec.window_ms) end
  redis.call('PEXPIRE', key, 24 * 3600 * 1000)
  return redis.call('ZCARD', key)
end
local function is_incident(failing) return failing >= spec.connections_min and failing >= spec.share * called end
local function hold_back(calls, at, gap, gap_max)
  redis.call('HSET', Keys.meta, 'probe_calls', calls, 'probe_at', string.format('%.0f', at), 'probe_gap', gap,
    'probe_gap_max', gap_max)
  return at
end
local function answer(change, failing, next_probe)
  return cmsgpack.pack({ change, outcome or '', since or 0, failing, called, next_probe })
end

-- A read: nothing to note.
if #connections == 0 then
  if not outcome then return answer('', 0, 0) end
  return answer('', redis.call('ZCARD', Keys.failing .. outcome), tonumber(meta[5] or 0))
end
if not outcome then
  for _, name in ipairs(OUTCOMES) do
    local failing = count(name)
    if is_incident(failing) then
      outcome, since = name, now
      redis.call('HSET', Keys.meta, 'incident', name, 'incident_since', string.format('%.0f', now))
      return answer('opened', failing, hold_back(PROBES, now + spec.probe_ms, spec.probe_ms, spec.probe_max_ms))
    end
  end
  return answer('', 0, 0)
end

local failing = count(outcome)
if not is_incident(failing) then
  for _, name in ipairs(OUTCOMES) do redis.call('DEL', Keys.failing .. name) end
  redis.call('HDEL', Keys.meta, 'incident', 'incident_since', 'incident_well', unpack(PROBE))
  outcome, since = nil, nil
  redis.call('PUBLISH', Keys.wake, '')
  return answer('closed', 0, 0)
end
local next_probe = tonumber(meta[5] or 0)
if #notes.well > 0 then
  redis.call('HSET', Keys.meta, 'incident_well', string.format('%.0f', now))
  if probe_calls < UNLIMITED and 2 * probe_calls >= UNLIMITED then
    redis.call('HDEL', Keys.meta, unpack(PROBE))
    next_probe = 0
  elseif probe_calls < UNLIMITED then
    local soon = now + RAMP_MS
    next_probe = hold_back(2 * probe_calls, next_probe > now and math.min(next_probe, soon) or soon, RAMP_MS, RAMP_MS)
  end
  redis.call('PUBLISH', Keys.wake, '')
elseif #notes.failed > 0 and probe_calls > PROBES and now > well_at + RELAPSE_MS then
  next_probe = hold_back(PROBES, now + spec.probe_ms, spec.probe_ms, spec.probe_max_ms)
end
return answer('', failing, next_probe)

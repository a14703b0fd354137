-- Probe: while an incident lasts, few calls are granted at a time, and ever more rarely. src/incident/note.lua writes
-- the fields and deletes them.
-- Uses: Keys, Run
-- Gives: calls_max, wait_ms, granted
local at, gap, gap_max = Run.probe.at, Run.probe.gap, Run.probe.gap_max

-- The next calls may be granted after the gap, and the ones after those after twice as long.
local function granted()
  if not at then return end
  local next_at = string.format('%.0f', Run.now + gap)
  redis.call('HSET', Keys.meta, 'probe_at', next_at, 'probe_gap', math.min(2 * gap, gap_max))
end

return {
  calls_max = Run.probe.calls or math.huge,
  -- In how many ms the next calls may be granted; nil if they may be now.
  wait_ms = at and at > Run.now and at - Run.now or nil,
  granted = granted,
}

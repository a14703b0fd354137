-- Probe: while an incident lasts, few calls are granted at a time, and ever more rarely. src/incident/note.lua writes
-- the fields and deletes them.
-- Uses: Keys, Run
-- Gives: calls_max, wait_ms, adhoc_wait_ms, granted, adhoc_granted
-- As in note.lua. More: calls go well again, and ever more of them are granted.
local PROBES = 3
local at, gap, gap_max = Run.probe.at, Run.probe.gap, Run.probe.gap_max

-- The next calls may be granted after the gap, and the ones after those after twice as long.
local function granted()
  if not at then return end
  local next_at = string.format('%.0f', Run.now + gap)
  redis.call('HSET', Keys.meta, 'probe_at', next_at, 'probe_gap', math.min(2 * gap, gap_max))
end

local wait_ms = at and at > Run.now and at - Run.now or nil
local is_probing = at and Run.probe.calls <= PROBES

return {
  calls_max = Run.probe.calls or math.huge,
  -- In how many ms the next calls may be granted; nil if they may be now.
  wait_ms = wait_ms,
  granted = granted,
  -- The same for an ad-hoc call: while calls fail, it is one of the few; once they go well, it is held back no more.
  adhoc_wait_ms = is_probing and wait_ms or nil,
  adhoc_granted = function()
    if is_probing then granted() end
  end,
}

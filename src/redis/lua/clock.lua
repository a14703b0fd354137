-- Clock: the time, and which run of the server this is.
-- Uses: nothing
-- Gives: now_ms, run_id

-- Redis's own time unless a test passes one: workers' wall clocks play no part.
local function now_ms(given)
  if given ~= '' then return tonumber(given) end
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- Changes with a restart, and with a failover.
local function run_id()
  local info = redis.call('INFO', 'server')
  local _, before = info:find('run_id:', 1, true)
  return info:sub(before + 1, before + 40)
end

return { now_ms = now_ms, run_id = run_id }

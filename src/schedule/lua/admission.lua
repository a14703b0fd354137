-- Admission: how many "refresh now" a tenant may ask for, so that those of one starve neither the schedule nor others'.
-- Three limits, all spent together or none: so many of the tenant's in a window (GCRA), one of a job in a while, and of
-- each quota of the app's a share for all tenants. Of a share, what was spent fades exponentially within its span, so
-- that the tenants' add up to the whole; a tenant is admitted while it has had no more than is left (dynamic
-- thresholds, Choudhury and Hahne 1998): one alone gets half of the share, and whoever comes next always finds room.
-- Uses: ARGV[1], ARGV[2], Keys, Clock
-- Gives: admit, left
if ARGV[2] == '' then
  return { admit = function() end, left = function() return 0, 0 end }
end
local limits, now = cmsgpack.unpack(ARGV[2]), Clock.now_ms(ARGV[1])
local all, mine, of_job = Keys.refreshes, Keys.refreshes .. ':' .. limits.tenant, Keys.refreshes .. ':#'
local emission_ms = limits.window_ms / limits.amount
-- What fades is forgotten after so many spans: less than a thousandth of it is left.
local SPANS = 8

local function tat() return math.max(tonumber(redis.call('HGET', mine, 'tat') or 0), now) end

-- What was spent of a share, as far as it has not faded: a field holds the amount and when it was so much.
local function spent(key, share)
  local level, at = (redis.call('HGET', key, share.quota) or '0 0'):match('(%S+) (%S+)')
  return tonumber(level) * math.exp(math.min(tonumber(at) - now, 0) / share.span_ms)
end
local function spend(key, share, level)
  redis.call('HSET', key, share.quota, string.format('%.6f %d', level + share.cost, now))
end
local function keep(key, ms)
  if redis.call('PTTL', key) < ms then redis.call('PEXPIRE', key, math.ceil(ms)) end
end

-- Spends one refresh of a job; or says what does not allow it, and for how many ms.
local function admit(id)
  local job_ms = redis.call('PTTL', of_job .. id)
  if job_ms > 0 then return 'job', job_ms end
  local wait_ms = tat() + emission_ms - limits.window_ms - now
  if wait_ms > 1e-6 then return 'tenant', wait_ms end
  local levels = {}
  for i, share in ipairs(limits.shares) do
    local whole, own = spent(all, share), spent(mine, share)
    local over = (whole + own) / (share.budget - share.cost)
    if over > 1 + 1e-9 then return share.quota, share.span_ms * math.log(over) end
    levels[i] = { whole, own }
  end
  redis.call('HSET', mine, 'tat', string.format('%.3f', tat() + emission_ms))
  keep(mine, limits.window_ms)
  for i, share in ipairs(limits.shares) do
    spend(all, share, levels[i][1])
    spend(mine, share, levels[i][2])
    keep(all, share.span_ms * SPANS)
    keep(mine, share.span_ms * SPANS)
  end
  if limits.job_ms > 0 then redis.call('SET', of_job .. id, '', 'PX', limits.job_ms) end
end

-- How many more the tenant may ask for at once, and in how many ms one more.
local function left()
  local ahead = tat() - now
  local whole = math.max(math.ceil(ahead / emission_ms - 1e-6) - 1, 0)
  return math.floor((limits.window_ms - ahead) / emission_ms + 1e-6), ahead - whole * emission_ms
end

return { admit = admit, left = left }

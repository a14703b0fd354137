-- Gcra: a sliding quota as one timestamp, the theoretical arrival time (tat). Twin of pace/quota.rs, which says why it
-- keeps every window. Units: ms, and cost.
-- Uses: nothing
-- Gives: prepare, spent_at, changed, refund

-- A cost may be spent from tat + q.wait_ms on; after that at an instant the tat is max(tat, instant) + q.step_ms. Both
-- are kept with a quota for the cost it was last asked for, because a call of a function costs more than they do.
local function prepare(q, cost)
  q.cost, q.wait_ms, q.step_ms = cost, (cost - q.burst) * q.emission_ms, cost * q.emission_ms
end

-- The tat of a quota that was fully spent at an instant.
local function spent_at(instant, burst, emission_ms) return instant + burst * emission_ms end

-- The tat where the emission interval may have been another before. It counts as fully spent at `spent`, the last
-- instant at which it may have been shorter, and as no more than fully spent at `granted`, the last instant of any
-- grant. A sliding quota whose interval changes while it runs then keeps every window: it is a bucket that holds b and
-- fills by one per interval. If the change itself puts nothing in, a window holds no more than was in the bucket and
-- what came back meanwhile, which is at most the greatest of the amounts in force during it; and a window that begins
-- after the change holds at most the new amount. By its tat there are b - (tat - t) / T in the bucket. With a longer T
-- that is more than there was: hence all counts as spent. With a shorter T it is less than there was, which is safe;
-- the bound by `granted` keeps anybody from waiting long by the former T.
local function changed(tat, burst, emission_ms, spent, granted)
  local all = burst * emission_ms
  return math.min(math.max(tat, spent + all), granted + all)
end

-- The tat after a cost that was spent is given back, `after` being the tat then. Only if no later grant was made: GCRA
-- forgets idle time, and taking back a grant that idle time has already covered would let a window overflow.
local function refund(tat, cost, after, emission_ms)
  if math.abs(tat - after) < 0.002 then return after - cost * emission_ms end
  return tat
end

return { prepare = prepare, spent_at = spent_at, changed = changed, refund = refund }

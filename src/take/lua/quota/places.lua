-- Places: the room that a limit keeps for an ad-hoc call that it could not let through yet. Without it, overdue jobs
-- take all that a saturated limit gives, and a call that is not ranked among them never gets through. A limit keeps one
-- place at a time, and none for a while after a call that had one: jobs get at least four fifths of what it gives.
-- Stored in the field `places` of `meta`, only by reserve: msgpack {link -> {request, cost, until_ms, pace_ms}}, link
-- being "<holder> <field>"; cost 0: the limit keeps no place until then.
-- Uses: Keys, Run, Gauge
-- Gives: any, of, later, keep, granted, save
local META, now, raw, earliest = Keys.meta, Run.now, Run.places, Gauge.earliest
-- Every take reads all of them: so there are few.
local PLACES_MAX = 32
-- Of what a limit gives, jobs get at least so many parts for each that an ad-hoc call gets by a place.
local JOBS_PARTS = 4

local places, own, is_changed = {}, nil, false
for link, place in pairs(raw and cmsgpack.unpack(raw) or {}) do
  if place[3] > now then places[link] = place end
end
local any = next(places) ~= nil
if raw and not any then redis.call('HDEL', META, 'places') end

-- The request of this script: what is kept for it does not stop it.
local function of(request) own = request end

local function link_of(link, state) return (link.s or state).holder .. ' ' .. (link.field or link.q.field) end

-- The instant t at which a quota allows a cost, put off by the place that it keeps for another call. When that expires,
-- t holds again.
local function later(t, link, state, cost, from)
  local place = places[link_of(link, state)]
  if not place or place[2] == 0 or place[1] == own then return t end
  local q, room = link.q, place[2]
  local put_off
  if q.kind == 'sliding' then
    put_off = t + room * q.emission_ms
  elseif q.kind == 'adaptive' then
    put_off = t + room * q.window_ms / link.rate
  elseif q.kind == 'aligned' then
    put_off = earliest.aligned(q, link, cost + room, from)
  else
    link.in_flight = link.in_flight + 1
    put_off = earliest[q.kind](q, link, cost, from)
    link.in_flight = link.in_flight - 1
  end
  return math.min(put_off, math.max(t, place[3]))
end

-- How long a quota takes to allow one more.
local function pace_of(link)
  local q = link.q
  if q.kind == 'sliding' then return q.emission_ms end
  if q.kind == 'adaptive' then return q.window_ms / link.rate end
  if q.kind == 'aligned' then return (q.boundaries[3] - q.boundaries[2]) / q.amount end
  return 1000 -- it depends on when calls end; about as often does one that waits ask again
end

-- Keeps places for this script's request, where that costs others little: at links that allow it about as late as its
-- whole chain does, `at`. A call that waits long for another limit keeps nobody from this one. alone(link): when this
-- link by itself allows it.
local function keep(links, state, cost, at, keep_ms, alone)
  local count = 0
  for _ in pairs(places) do count = count + 1 end
  for i = 1, #links do
    local link = links[i]
    if link.q and link.q.kind ~= 'hold' and not link.q.background and count < PLACES_MAX then
      local name, pace, t = link_of(link, state), pace_of(link), alone(link)
      local place = places[name]
      if (t == at or at - t <= 2 * cost * pace) and (not place or place[1] == own) then
        if not place then count = count + 1 end
        places[name] = { own, cost, (at == math.huge and now or at) + keep_ms, pace }
        is_changed = true
      end
    end
  end
end

-- This script's request was granted for an instant: its places are free.
local function granted(at)
  for _, place in pairs(places) do
    if place[1] == own then
      place[1], place[2], place[3] = '', 0, at + JOBS_PARTS * place[2] * place[4]
      is_changed = true
    end
  end
end

local function save()
  if is_changed then redis.call('HSET', META, 'places', cmsgpack.pack(places)) end
end

return { any = any, of = of, later = later, keep = keep, granted = granted, save = save }

-- State: what is stored of the quotas and holds of the app and of connections.
--
-- What counts for a connection as a whole lies in one field of `quotas`, as msgpack field, value, field …: so the state
-- of many connections is read, and written, with one command. What counts for the app, or for a connection's groups and
-- devices, lies in a hash of its own. Fields: <quota>, <quota>@<group>, <quota>#<device> hold a quota's state (see
-- gauge.lua); !hold, !hold@<group>, !hold#<device> a hold; !holds, until when any device is held. `holds` lists these.
-- Uses: Keys, Command, Run, Gcra, VariableLimit, Gauge
-- Gives: prefetch, of, ensure, set, gauge, touch, write
local QUOTAS, QUOTA_INPUTS, now, spec, spent = Keys.quotas, Keys.quota_inputs, Run.now, Run.spec, Run.spent
local send, spent_at = Command.send, Gcra.spent_at
local usual, inputs_of, tat_of = VariableLimit.usual, VariableLimit.inputs_of, VariableLimit.tat_of
local stored, read_gauge, write_gauge = usual.stored, Gauge.read, Gauge.write

-- By connection, packed as stored; and by holder, unpacked.
local packed, states, NONE = {}, {}, {}

-- Reads what is stored of these connections with one command. A connection that is met later is read alone.
local function prefetch(connections)
  local missing = {}
  for i = 1, #connections do
    local connection = connections[i]
    if packed[connection] == nil then
      missing[#missing + 1] = connection
      packed[connection] = false
    end
  end
  for from = 1, #missing, 4000 do
    local to = math.min(from + 3999, #missing)
    local values = redis.call('HMGET', QUOTAS, unpack(missing, from, to))
    for i = from, to do packed[missing[i]] = values[i - from + 1] end
    if spec.has_quota_inputs then
      values = redis.call('HMGET', QUOTA_INPUTS, unpack(missing, from, to))
      for i = from, to do VariableLimit.prefetched(missing[i], values[i - from + 1]) end
    end
  end
end

-- The instants of another declaration, or of a connection that was never called, in the order of this one.
local function in_order(flat)
  local has, all = {}, {}
  for i = 1, #flat, 2 do has[flat[i]] = flat[i + 1] end
  for k = 1, #stored do
    local field = stored[k].field
    all[2 * k - 1], all[2 * k] = field, tonumber(has[field]) or 0
    has[field] = nil
  end
  for field, value in pairs(has) do
    all[#all + 1] = field
    all[#all + 1] = value
  end
  return all
end
-- The instants of sliding quotas that were fully spent at an instant. Of Run.spent, computed once per script.
local function all_spent_at(instant)
  local tats = {}
  for k = 1, #stored do tats[k] = spent_at(instant, stored[k].burst, stored[k].emission_ms) end
  return tats
end
local least_usual
-- Sliding quotas count as fully spent at that instant. inputs: where limits depend on them. Returns whether any tat
-- became less too: that is stored, or it would move with the time.
local function as_spent_at(instant, flat, inputs)
  if inputs then
    local own, is_less = inputs.set.stored, false
    for k = 1, #own do
      local tat = tat_of(inputs, own[k], flat[2 * k], instant)
      is_less = is_less or tat < flat[2 * k]
      flat[2 * k] = tat
    end
    return flat, is_less
  end
  least_usual = least_usual or all_spent_at(spent)
  local least = instant == spent and least_usual or all_spent_at(instant)
  for k = 1, #stored do
    if flat[2 * k] < least[k] then flat[2 * k] = least[k] end
  end
  return flat, false
end
-- Once a hold is over, the connection is a usual one again: see chain.lua.
local function without_past_holds(flat)
  local left = {}
  for i = 1, #flat, 2 do
    local field, value = flat[i], flat[i + 1]
    local is_past = field:sub(1, 5) == '!hold' and Gauge.is_over(value)
    if not is_past then left[#left + 1], left[#left + 2] = field, value end
  end
  return left
end
local function flat_of(...)
  local flat = { ... }
  for k = 1, #stored do
    if flat[2 * k - 1] ~= stored[k].field then
      flat = in_order(flat)
      break
    end
  end
  if #flat > 2 * #stored then flat = without_past_holds(flat) end
  return flat
end
local function read_flat(raw, inputs) return as_spent_at(spent, flat_of(cmsgpack.unpack(raw)), inputs) end

-- holder: 'app' or a connection. flat: what is stored of a whole connection, {field, value, …}. has: field → value, or
-- false, of what was read. In the usual case a state is its own chain too: see chain.lua.
local function state_of(holder)
  local s = states[holder]
  if not s then
    s = { holder = holder, flat = false, changed = false, app = false, own = false, counts = false, alike = false,
      state = false }
    if holder ~= 'app' then
      local raw, ok, inputs = packed[holder], nil, spec.has_quota_inputs and inputs_of(holder)
      if raw == nil then raw = redis.call('HGET', QUOTAS, holder) end
      if raw then ok, s.flat, s.changed = pcall(read_flat, raw, inputs) end
      -- A corrupt state may have been anything: its sliding quotas count as spent, once; the others and holds are
      -- learned again from the cloud's refusals.
      if not ok then
        s.flat = as_spent_at(raw and now or spent, flat_of(), inputs)
        s.changed = raw and true or false
      end
    end
    states[holder] = s
  end
  return s
end

local function key_of(s) return Keys.quota .. s.holder end
local function is_of_whole(field) return not field:find('[@#]') end

-- Reads these fields with one command; those that were read before are not asked for again.
local function ensure(s, fields)
  local has, flat, missing = s.has, s.flat, {}
  if not has then
    has = {}
    for i = 1, flat and #flat or 0, 2 do has[flat[i]] = flat[i + 1] end
    s.has = has
  end
  for i = 1, #fields do
    local field = fields[i]
    if has[field] == nil then
      if flat and is_of_whole(field) then has[field] = false else missing[#missing + 1] = field end
    end
  end
  for from = 1, #missing, 4000 do
    local to = math.min(from + 3999, #missing)
    local values = redis.call('HMGET', key_of(s), unpack(missing, from, to))
    for i = from, to do has[missing[i]] = values[i - from + 1] end
  end
end

local function remove(flat, field)
  for i = 1, #flat, 2 do
    if flat[i] == field then
      table.remove(flat, i)
      table.remove(flat, i)
      return
    end
  end
end

-- Notes a field to be stored by `write`, or with false to be deleted.
local function set(s, field, value)
  s.changed = true
  local flat = s.flat
  if flat and is_of_whole(field) then
    if not value then return remove(flat, field) end
    for i = 1, #flat, 2 do
      if flat[i] == field then
        flat[i + 1] = value
        return
      end
    end
    flat[#flat + 1] = field
    flat[#flat + 1] = value
  elseif not value then
    redis.call('HDEL', key_of(s), field)
  else
    local rest = s.rest or {}
    s.rest = rest
    rest[#rest + 1] = field
    rest[#rest + 1] = value
  end
end

-- q: the quota's spec, or {kind} for a call in flight that is counted back. waitlist: see Chain.link_name.
local function gauge(s, field, q, device, waitlist)
  local gauges, g = s.gauges, nil
  if not gauges then
    gauges = {}
    s.gauges = gauges
  end
  for i = 1, #gauges do
    if gauges[i].field == field then
      g = gauges[i]
      break
    end
  end
  if not g then
    g = { s = s, field = field, q = q, device = device, waitlist = waitlist, changed = false, tat = 0 }
    read_gauge[q.kind](g, s.has[field] or nil)
    gauges[#gauges + 1] = g
  elseif g.q ~= q and q.name then
    g.q, g.device, g.waitlist = q, device, waitlist -- it was only counted back before
  end
  return g
end

local function touch(g)
  g.changed = true
  g.s.changed = true
end

-- The list of holds.
local function note_hold(g, is_stored)
  local member = g.s.holder .. ' ' .. g.field
  if not is_stored then
    redis.call('ZREM', Keys.holds, member)
  else
    redis.call('ZREMRANGEBYSCORE', Keys.holds, '-inf', now)
    redis.call('ZADD', Keys.holds, Gauge.expiry(g.ends, g.refusals), member)
  end
end

-- Stores what changed.
local function write()
  local whole, n = {}, 0
  for holder, s in pairs(states) do
    if s.changed then
      local gauges, flat = s.gauges or NONE, s.flat
      for i = 1, #gauges do
        local g = gauges[i]
        if g.changed then
          local value = write_gauge[g.q.kind](g)
          if g.q.kind == 'hold' then note_hold(g, value) end
          set(s, g.field, value)
        end
      end
      if flat and flat[1] then
        whole[n + 1], whole[n + 2] = holder, cmsgpack.pack(unpack(flat))
        n = n + 2
      end
      if s.rest then send('HSET', key_of(s), s.rest) end
    end
  end
  send('HSET', QUOTAS, whole)
end

return {
  prefetch = prefetch, of = state_of, ensure = ensure, set = set, gauge = gauge, touch = touch, write = write,
}

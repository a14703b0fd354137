-- Room: how many calls of one connection this take may grant: a connection whose calls hang would fill all places of
-- the caller, and others would have none.
-- Uses: ARGV[4]
-- Gives: is_full, note
local given = ARGV[4]
if not given or given == '' then
  return { is_full = function() return false end, note = function() end }
end
local room = cmsgpack.unpack(given)
local left, most = room.of, room.most

local function is_full(lane) return (left[lane.connection] or most) <= 0 end

local function note(lane) left[lane.connection] = (left[lane.connection] or most) - 1 end

return { is_full = is_full, note = note }

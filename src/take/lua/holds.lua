-- holds: list what is held, and what one call is to show to be over.
-- KEYS  1 anchor
-- ARGV  1 now in ms, or '' for Redis's own
--       2 msgpack, the spec: as for take
-- Returns msgpack {{holder, field, until_ms, refusals, in_flight, since_ms, reported_ms, reason}…}; holder is 'app' or
-- a connection, field as in state.lua; refusals in a row, 0 where nothing was refused; in_flight: calls that try
-- whether it is over; reported_ms: until when the provider asked to wait, 0 if it did not say
-- Uses: ActiveHolds
local rows = {}
for i, g in ipairs(ActiveHolds.all()) do rows[i] = ActiveHolds.row(g) end
return cmsgpack.pack(rows)

-- settle: end calls. Their leases go, and each job goes where its outcome sends it.
-- KEYS  1 anchor
-- ARGV  1 now in ms, or '' for Redis's own
--       2 msgpack, the spec: as for take
--       3 msgpack array of {lease, well, calls}
--         well    {digit, id, sent_ms, …}: calls for one job that ended well, with no more to say: 'good', 'done'
--         calls   {{digit, end, holds = {{scope, until_ms, reason, device, reported_ms}…},
--                 unsolicited = {{id, sent_ms}…}, verdict, number, kind, how many jobs, id…, verdict, number, …}…};
--                 both tables may be false; reported_ms is nil where nothing was refused
--         digit   the call's place in its lease, see lease.lua
--         end     'unsent' (what it spent may go back), 'good', 'error', 'throttled' or 'lost'
--         verdict 'done'  number = when it was sent: next run at the next point of the grid, an interval later at most,
--                         attempts 0
--                 'again' back to ready with its rank (throttled, not sent); so are jobs without a verdict
--                 'later' number = delay in ms: one attempt more of this kind of failure, due again after it
--                 'miss'  one attempt more of this kind; next at the last point of the grid within number intervals,
--                         at most spec.waits_max_ms, and not before the next point; of a job without data that had
--                         some before, at most 4 intervals or the first of spec.waits_max_ms
--                 'drop'  number = version: forgotten (paused, deleted) unless its owner has changed it since
--         unsolicited  jobs that the answer has records of without being asked: due again an interval after it
--       4 msgpack array of {id, sent_ms}: more unsolicited jobs of calls that were settled just before
-- Returns msgpack {stale, wake_ms}: the positions (from 0) of calls whose leases had expired: nothing was changed for
-- them; and in how many ms there is something to take because of this, -1 for never.
-- Uses: Keys, Record, Due, Lanes, State, Chain, Ended, Jobs, Quotas
local calls, gone = Ended.read(cmsgpack.unpack(ARGV[3])), Jobs.gone

-- End each call: its quotas learn, its jobs move.
Jobs.read_changed(Ended.ids)
local plain, succeed = Ended.plain, Jobs.succeed
for i = 1, #plain, 5 do
  local id, raw, shared, sent, held = plain[i], plain[i + 1], plain[i + 2], plain[i + 3], plain[i + 4]
  if held then Quotas.release(held, 'good') end
  succeed(id, raw, shared, sent)
end
for i = 1, #calls do
  local call, leased = calls[i], Ended.leased[i]
  Quotas.learn(leased, call[Ended.END])
  Jobs.end_all(leased, call)
  for _, hold in ipairs(call[Ended.HOLDS] or {}) do Quotas.hold(leased, unpack(hold, 1, 5)) end
  Jobs.add_unsolicited(call[Ended.UNSOLICITED] or {})
end
Jobs.add_unsolicited(cmsgpack.unpack(ARGV[4]))
Jobs.refresh_unsolicited(Ended.ids)

-- Store where jobs go before what held them: an error in between leaves a job twice, which is mended, and not nowhere.
Due.write()
Record.write(Jobs.changed)
Record.write_staged(Jobs.staged)
State.write()
Lanes.make_ready(Jobs.ready)
Lanes.wake(Quotas.woken)
Chain.wake_freed(Quotas.freed)
Ended.remove_leases()
for _, id in ipairs(gone) do Record.forget(id) end

-- The caller of settle knows when there is more to do; others need to hear only of what came back to them.
local others_gain = Quotas.has_gains()
if others_gain then redis.call('PUBLISH', Keys.wake, '') end
return cmsgpack.pack({ Ended.stale, (others_gain or next(Jobs.ready)) and 0 or Jobs.wake_ms() })

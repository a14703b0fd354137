-- Keys: the names of a provider's keys; src/redis/keys.rs says what each holds. They share one hash tag, so that all
-- lie in the slot of KEYS[1].
-- Uses: KEYS[1], the anchor "<prefix>{<provider>}:"
-- Gives: anchor, due, queue, ready, jobs, lanes, blocked, partly, hot, why, vtime, weights, groups, waitlist, left,
--   links, leases, lease, changed, corrupt, quotas, quota, holds, quota_inputs, gone, failing, called, refreshes, meta,
--   wake
local anchor = KEYS[1]
return {
  anchor = anchor,
  due = anchor .. 'due',
  queue = anchor .. 'due:',
  ready = anchor .. 'ready:',
  jobs = anchor .. 'jobs:',
  lanes = anchor .. 'lanes',
  blocked = anchor .. 'blocked',
  partly = anchor .. 'partly',
  hot = anchor .. 'hot',
  why = anchor .. 'why',
  vtime = anchor .. 'vtime',
  weights = anchor .. 'weights',
  groups = anchor .. 'homes',
  waitlist = anchor .. 'wait:',
  left = anchor .. 'left:',
  links = anchor .. 'links',
  leases = anchor .. 'leases',
  lease = anchor .. 'take:',
  changed = anchor .. 'changed_while_leased',
  corrupt = anchor .. 'corrupt',
  quotas = anchor .. 'quotas',
  quota = anchor .. 'quota:',
  holds = anchor .. 'holds',
  quota_inputs = anchor .. 'quota_inputs',
  gone = anchor .. 'gone',
  failing = anchor .. 'failing:',
  called = anchor .. 'called:',
  refreshes = anchor .. 'refreshes',
  meta = anchor .. 'meta',
  wake = anchor .. 'wake',
}

//! Scripts broken on purpose: the simulator must see each.

use crate::limits::Limits;
use crate::rig::Change;
use crate::world::{Setup, run};

/// How many seeds a broken script may survive.
const SEEDS: u64 = 60;

const fn take(from: &'static str, to: &'static str) -> Change {
    Change { script: "take", from, to }
}

const fn settle(from: &'static str, to: &'static str) -> Change {
    Change { script: "settle", from, to }
}

/// Some seed fails, and says that this property is broken.
async fn is_seen(says: &str, setup: Setup<'_>) {
    is_seen_by(says, setup, |seed| Limits::of(seed).without_quota_inputs().without_far()).await;
}

/// Likewise of runs with these limits.
async fn is_seen_by(says: &str, setup: Setup<'_>, limits: impl Fn(u64) -> Limits) {
    let mut others = Vec::new();
    for seed in 1..=SEEDS {
        let run = run(&limits(seed), setup).await;
        if run.wrong.iter().any(|wrong| wrong.starts_with(says)) {
            println!("{says}: seen in seed {seed}");
            return;
        }
        others.extend(run.wrong);
    }
    panic!("{setup:?} was not seen as {says:?} in {SEEDS} seeds, but as {others:#?}");
}

async fn seen(says: &str, changes: &[Change]) {
    is_seen(says, Setup { changes, without_twin: false }).await;
}

/// Seen by the cloud's own count or by the model, without the twin of each take.
async fn seen_from_outside(says: &str, changes: &[Change]) {
    is_seen(says, Setup { changes, without_twin: true }).await;
}

/// Likewise where workers may be far from the servers.
async fn seen_of_far(says: &str, changes: &[Change]) {
    is_seen_by(says, Setup { changes, without_twin: false }, Limits::of).await;
}

#[tokio::test]
async fn reaped_lease_that_stays_is_seen() {
    let remembers = take("for _, lease in ipairs(reaped) do redis.call('DEL', Keys.lease .. lease) end", "");
    seen("fence", &[remembers]).await;
}

#[tokio::test]
async fn settled_lease_that_stays_is_seen() {
    let remembers = settle("if #places > 0 then redis.call('HDEL', LEASE .. lease, unpack(places)) end", "");
    // Its jobs wait and are leased at once.
    seen("location", &[remembers]).await;
}

#[tokio::test]
async fn spending_only_the_apps_quotas_is_seen() {
    let half = take("held, after = spend_links(own, state, cost, at, urgent, held, after)", "");
    seen_from_outside("over quota", &[half]).await;
    seen("spent", &[half]).await;
}

#[tokio::test]
async fn checking_only_the_apps_quotas_is_seen() {
    let half = [
        take(
            "local own_at, own_by = earliest(own, state, cost, from, urgent)",
            "local own_at, own_by = from, nil",
        ),
        take(
            "local last, last_by = earliest(own, state, cost, again, urgent)",
            "local last, last_by = again, nil",
        ),
    ];
    seen_from_outside("over quota", &half).await;
}

#[tokio::test]
async fn leases_that_never_expire_are_seen() {
    let forever = take("redis.call('ZRANGEBYSCORE', Keys.leases, '-inf', now, 'LIMIT', 0, 100)", "{}");
    seen("lease", &[forever]).await;
}

#[tokio::test]
async fn leases_that_expire_at_once_are_seen() {
    let hasty = take("Found.last_send + spec.lease_ms", "now + 1");
    seen_from_outside("lease", &[hasty]).await;
}

#[tokio::test]
async fn good_calls_that_stay_counted_in_flight_are_seen() {
    let kept = settle("if held then Quotas.release(held, 'good') end", "");
    seen_from_outside("starved", &[kept]).await;
}

#[tokio::test]
async fn failed_calls_that_stay_counted_in_flight_are_seen() {
    let kept = settle("if leased[Lease.HELD] then release(leased[Lease.HELD], finish) end", "");
    seen_from_outside("starved", &[kept]).await;
}

#[tokio::test]
async fn calls_that_are_never_counted_in_flight_are_seen() {
    let free = take(
        "function spend.concurrent(_, g) g.in_flight = g.in_flight + 1 end",
        "function spend.concurrent() end",
    );
    seen_from_outside("over quota", &[free]).await;
}

#[tokio::test]
async fn freed_places_that_wake_no_lane_are_seen() {
    let deaf = [settle("Chain.wake_freed(Quotas.freed)", ""), take("Chain.wake_freed(Found.freed)", "")];
    seen("wake", &deaf).await;
}

#[tokio::test]
async fn refund_after_a_later_grant_is_seen() {
    let late = settle(
        "if math.abs(tat - after) < 0.002 then return after - cost",
        "if true then return after - cost",
    );
    seen_from_outside("over quota", &[late]).await;
}

#[tokio::test]
async fn errors_that_are_not_counted_are_seen() {
    let lenient = settle("g.errors, g.last = g.errors + 1, now", "g.last = now");
    seen_from_outside("over quota", &[lenient]).await;
}

#[tokio::test]
async fn loss_that_leaves_quotas_unspent_is_seen() {
    let forgotten = [take("epoch = tonumber(meta[2] or 0)", "epoch = 0")];
    seen_from_outside("over quota", &forgotten).await;
}

#[tokio::test]
async fn reserve_spent_by_background_syncs_is_seen() {
    let open = take("if q and not (urgent and q.background) then", "if q and not q.background then");
    seen_from_outside("reserve", &[open]).await;
}

#[tokio::test]
async fn rank_without_waiting_time_is_seen() {
    let by_due = take("local delay = now - since", "local delay = 1e14 - since");
    seen("rank", &[by_due]).await;
}

#[tokio::test]
async fn rank_without_priority_is_seen() {
    let alike = take("if k == 1 then return base[class] / delay end", "if true then return 1 / delay end");
    seen("rank", &[alike]).await;
}

#[tokio::test]
async fn refresh_now_that_waits_like_others_is_seen() {
    let patient = take("if class == 0 then return since - 1e15 end", "if class == 0 then return since end");
    seen("rank", &[patient]).await;
}

#[tokio::test]
async fn refresh_now_lost_with_its_worker_is_seen() {
    let lost = take("Due.add(id, j, j.urgent and math.min(j.due, now) or j.due)", "Due.add(id, j, j.due)");
    seen_from_outside("refresh", &[lost]).await;
}

#[tokio::test]
async fn cheap_calls_that_overtake_expensive_ones_are_seen() {
    let cheap = take(
        "if other == resource or not by.q or #by.q.resources == 0 then return true end",
        "if true then return other == resource end",
    );
    seen("rank", &[cheap]).await;
}

#[tokio::test]
async fn hold_that_shrinks_is_seen() {
    let shrinks = settle("if ends > g.ends then g.ends", "if true then g.ends");
    seen_from_outside("hold", &[shrinks]).await;
}

#[tokio::test]
async fn hold_that_does_not_grow_with_refusals_is_seen() {
    let same = settle("is_again and g.refusals + 1 or g.refusals", "g.refusals");
    seen_from_outside("hold", &[same]).await;
}

#[tokio::test]
async fn several_calls_at_once_after_a_hold_are_seen() {
    let all = take(
        "return g.in_flight > 0 and math.huge or math.max(from, g.ends)",
        "return math.max(from, g.ends)",
    );
    seen_from_outside("hold", &[all]).await;
}

#[tokio::test]
async fn refresh_that_puts_the_next_run_off_is_seen() {
    let unbounded = settle("if was_urgent and point - last > interval then", "if false then");
    seen_from_outside("grid", &[unbounded]).await;
}

#[tokio::test]
async fn failure_that_waits_longer_than_its_own_wait_is_seen() {
    let later = settle("now + wait - j.interval)", "now + wait)");
    seen_from_outside("grid", &[later]).await;
}

#[tokio::test]
async fn grid_that_drifts_is_seen() {
    let drifts =
        settle("return (floor((t - offset) / interval) + 1) * interval + offset", "return t + interval");
    seen_from_outside("grid", &[drifts]).await;
}

#[tokio::test]
async fn piggyback_long_before_the_time_is_seen() {
    let early = take("j.due - at <= spec.piggyback_share * j.interval", "true");
    seen_from_outside("asked", &[early]).await;
}

#[tokio::test]
async fn jobs_lost_between_two_sets_are_seen() {
    let late = take(
        "-- At once: a limit of its device may put a job off in this very take, and it comes back to where it \
         was.\n    Due.write()",
        "",
    );
    seen_from_outside("location", &[late]).await;
}

#[tokio::test]
async fn wake_time_without_due_jobs_is_seen() {
    let deaf = take("if due_head then sooner(", "if false then sooner(");
    seen_from_outside("wake", &[deaf]).await;
}

#[tokio::test]
async fn smaller_plan_that_does_not_bind_is_seen() {
    let lenient = take("inputs.since = since > 0 and since + Run.horizon or 0", "");
    is_seen_by("pace", Setup { changes: &[lenient], without_twin: false }, Limits::of).await;
    let larger = take("varies.plans[plan] or varies.least", "2 * varies.least");
    is_seen_by("over quota", Setup { changes: &[larger], without_twin: true }, Limits::of).await;
}

#[tokio::test]
async fn windows_that_are_not_stretched_for_far_workers_are_seen() {
    // The windows are long beside what workers are late: the cloud hardly ever counts one over.
    seen_of_far("pace", &[take("* (q.span_ms + late) / q.span_ms", "")]).await;
}

#[tokio::test]
async fn grants_that_come_too_late_for_far_workers_are_seen() {
    seen_of_far("far", &[take("from = now + own.lead_ms", "from = now")]).await;
}

#[tokio::test]
async fn bursts_that_are_not_spent_when_windows_grow_are_seen() {
    let all_there = take("spent = math.max(epoch, spent)", "spent = epoch");
    seen_of_far("pace", &[all_there]).await;
}

#[tokio::test]
async fn waits_without_data_that_grow_without_end_are_seen() {
    let endless = settle("if kind == NO_DATA and j.last > 0 then return", "if false then return");
    seen_from_outside("grid", &[endless]).await;
}

//! Every kind of quota on a real Redis, with the time as an argument.

use crate::take::{Rig, T0, ended, job, order, quota};
use paceline::schedule::Refresh;
use paceline::take::{Reservation, ReserveRequest, Settlement, Taken, Verdict};
use paceline::words::{DeviceId, End, Hold, Job, JobId, Priority, Scope, UnixMs};

fn quota_of_kind(name: &str, kind: &str, scope: &str, amount: u32, rest: &str) -> String {
    format!(
        "[[quota]]\nname = \"{name}\"\nkind = \"{kind}\"\nscope = \"{scope}\"\namount = {amount}\n{rest}\n"
    )
}

/// Puts jobs of one connection that are overdue at `T0`, the first of them the longest.
async fn put_overdue(rig: &Rig, count: i64) -> Vec<Job> {
    let jobs: Vec<_> = (1..=count).map(|id| job(id, 1, Priority::Normal)).collect();
    rig.put(&jobs, |j| T0 - 4_000_000 + j.id.0).await;
    jobs
}

impl Rig {
    /// Settles all calls of a take with the same end, and their jobs as done.
    async fn settle_all(&self, taken: &Taken, end: End, at: i64) {
        let settlement = |grant: &paceline::take::Grant| Settlement {
            jobs: grant.jobs.iter().map(|j| (j.id, Verdict::Done(UnixMs(at)))).collect(),
            ..ended(grant.call, end)
        };
        let all: Vec<_> = taken.grants.iter().map(settlement).collect();
        assert!(self.taker.settle(&all, Some(UnixMs(at))).await.unwrap().stale.is_empty());
    }
}

#[tokio::test]
async fn calendar_quota_is_spent_and_resets_at_its_boundary() {
    // T0 is a window boundary; nothing is sent within a margin of 2 % of it.
    let rig =
        Rig::new(&quota_of_kind("minute", "aligned", "connection", 3, "window = \"minute\"\nburst = 3"), 1)
            .await;
    let jobs = put_overdue(&rig, 5).await;
    let taken = rig.take(10, T0).await;
    assert!(taken.grants.is_empty());
    assert_eq!((taken.bound[0].by.as_str(), taken.bound[0].until_ms as i64), ("minute", T0 + 1_200));
    let taken = rig.take(10, T0 + 1_200).await;
    assert_eq!(order(&taken), [1, 2, 3]);
    assert_eq!(taken.bound[0].until_ms as i64, T0 + 61_200);
    rig.finish(taken, T0 + 1_300).await;
    assert!(rig.take(10, T0 + 59_000).await.grants.is_empty());
    assert_eq!(order(&rig.take(10, T0 + 61_200).await), [4, 5]);
    rig.assert_sound(&jobs).await;
}

#[tokio::test]
async fn unreadable_quota_state_counts_as_spent_once() {
    let rig = Rig::new(&quota("hour", "connection", 1, "1h", 1), 1).await;
    put_overdue(&rig, 2).await;
    let key = format!("{}quotas", rig.t.app.keys.anchor(&rig.provider));
    // The quota's name, then text instead of an instant.
    let mut corrupt = redis::cmd("HSET");
    corrupt.arg(&key).arg("1").arg(&b"\xa4hour\xa4soon"[..]);
    let _: i64 = corrupt.query_async(&mut rig.t.app.redis.link()).await.unwrap();
    let bound = rig.take(1, T0).await.bound;
    assert_eq!((bound[0].by.as_str(), bound[0].until_ms as i64), ("hour", T0 + 3_600_000));
    assert!(rig.take(1, T0 + 3_000_000).await.grants.is_empty());
    assert_eq!(rig.take(1, T0 + 3_600_000).await.grants.len(), 1);
}

#[tokio::test]
async fn hold_lasts_beyond_the_window_boundaries_within_it() {
    let rig =
        Rig::new(&quota_of_kind("minute", "aligned", "connection", 3, "window = \"minute\"\nburst = 3"), 1)
            .await;
    put_overdue(&rig, 5).await;
    let taken = rig.take(1, T0 + 1_200).await;
    let until = T0 + 600_000;
    let hold =
        Hold { scope: Scope::Connection, until: UnixMs(until), reason: "refused".into(), refusal: None };
    let refused = Settlement { holds: vec![(hold, None)], ..ended(taken.grants[0].call, End::Throttled) };
    rig.taker.settle(&[refused], Some(UnixMs(T0 + 1_300))).await.unwrap();
    let bound = rig.take(1, T0 + 1_300).await.bound;
    assert_eq!((bound[0].by.as_str(), bound[0].until_ms as i64), ("hold: refused", until));
    assert_eq!(rig.take(9, until + 1_200).await.grants.len(), 3);
}

#[tokio::test]
async fn calendar_quota_is_spread_evenly_over_its_window() {
    let rig = Rig::new(
        &quota_of_kind("minute", "aligned", "connection", 4, "window = \"minute\"\nheadroom = 0.0"),
        1,
    )
    .await;
    put_overdue(&rig, 9).await;
    let (mut now, mut sent) = (T0, Vec::new());
    while now < T0 + 120_000 {
        let taken = rig.take(10, now).await;
        sent.extend(taken.grants.iter().map(|g| ((now - T0) as f64 + g.send_in_ms).round() as i64));
        assert!(taken.wake_in_ms != 0.0, "busy at {now}");
        now += (taken.wake_in_ms.ceil() as i64).max(1);
    }
    assert_eq!(
        sent,
        [0, 20_000, 40_000, 60_000, 80_000, 100_000, 120_000][..sent.len()],
        "one of four at once, the others spread"
    );
    assert!(sent.len() >= 6);
}

#[tokio::test]
async fn errors_that_cost_nothing_are_refunded() {
    let free =
        quota_of_kind("day", "aligned", "connection", 2, "window = \"day\"\nburst = 2\nerrors_cost = false");
    let rig = Rig::new(&free, 1).await;
    put_overdue(&rig, 4).await;
    let noon = T0 + 12 * 3_600_000;
    let taken = rig.take(10, noon).await;
    assert_eq!(taken.grants.len(), 2);
    rig.settle_all(&taken, End::Error, noon + 1).await;
    let taken = rig.take(10, noon + 2).await;
    assert_eq!(taken.grants.len(), 2, "errors were refunded");
    rig.settle_all(&taken, End::Lost, noon + 3).await;
    assert!(
        rig.take(10, noon + 4).await.grants.is_empty(),
        "lost calls may have been counted, so they are not refunded"
    );
}

#[tokio::test]
async fn concurrent_quota_counts_calls_until_they_end() {
    let rig = Rig::new(&quota_of_kind("at-once", "concurrent", "connection", 2, ""), 1).await;
    let mut jobs: Vec<_> = (1..=6).map(|id| job(id, 1, Priority::Normal)).collect();
    for job in &mut jobs {
        job.group = format!("home{}", job.id.0 % 3);
    }
    rig.put(&jobs, |j| T0 - 4_000_000 + j.id.0).await;
    let first = rig.take(10, T0).await;
    assert_eq!(first.grants.len(), 2);
    assert_eq!((first.bound[0].by.as_str(), first.bound[0].until_ms), ("at-once", -1.0));
    assert!(rig.take(10, T0 + 100).await.grants.is_empty());
    // One ends, so another may start, of whichever group; settle returns that there is more to do.
    let done = vec![(first.grants[0].jobs[0].id, Verdict::Done(UnixMs(T0)))];
    let settlement = Settlement { jobs: done, ..ended(first.grants[0].call, End::Good) };
    let settled = rig.taker.settle(&[settlement], Some(UnixMs(T0 + 200))).await.unwrap();
    assert_eq!(settled.wake_in_ms, Some(0.0));
    assert_eq!(rig.take(10, T0 + 200).await.grants.len(), 1);
    assert!(rig.take(10, T0 + 300).await.grants.is_empty());
    // The workers of both died: their leases expire, and their places become free.
    let again = rig.take(10, T0 + 40_000).await;
    assert_eq!((again.reaped, again.grants.len()), (2, 2));
    rig.assert_sound(&jobs).await;
}

#[tokio::test]
async fn concurrent_quota_of_the_app_stops_all_lanes() {
    let rig = Rig::new(&quota_of_kind("at-once", "concurrent", "app", 1, ""), 1).await;
    let jobs: Vec<_> = (1..=3).map(|id| job(id, id, Priority::Normal)).collect();
    rig.put(&jobs, |j| T0 - 4_000_000 + j.id.0).await;
    let mut seen = Vec::new();
    for n in 0..3 {
        let taken = rig.take(10, T0 + n).await;
        assert_eq!(taken.grants.len(), 1);
        if n < 2 {
            assert_eq!((taken.bound[0].lane.as_str(), taken.bound[0].until_ms), ("", -1.0));
            let location = rig.queue().locate(&rig.provider, &[JobId(3)]).await.unwrap().remove(0);
            assert_eq!((location.blocked_by.as_str(), location.until_ms), ("at-once", -1.0));
        }
        seen.extend(order(&taken));
        assert!(rig.take(10, T0 + n).await.grants.is_empty());
        rig.settle_all(&taken, End::Good, T0 + n).await;
    }
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 3]);
    rig.assert_sound(&jobs).await;
}

#[tokio::test]
async fn error_quota_counts_calls_in_flight_as_possible_errors() {
    let rig = Rig::new(&quota_of_kind("errors", "errors", "connection", 3, "window = \"10m\""), 1).await;
    let jobs = put_overdue(&rig, 20).await;
    let first = rig.take(10, T0).await;
    assert_eq!(first.grants.len(), 3, "each of them may end in an error");
    rig.settle_all(&first, End::Error, T0 + 100).await;
    let stopped = rig.take(10, T0 + 200).await;
    assert!(stopped.grants.is_empty());
    assert_eq!((stopped.bound[0].by.as_str(), stopped.bound[0].until_ms as i64), ("errors", T0 + 600_100));
    let again = rig.take(10, T0 + 600_100).await;
    assert_eq!(again.grants.len(), 3);
    let one = Taken { grants: again.grants[..1].to_vec(), ..again.clone() };
    rig.settle_all(&one, End::Error, T0 + 600_200).await;
    assert!(rig.take(10, T0 + 600_200).await.grants.is_empty(), "one error and two calls in flight");
    let two = Taken { grants: again.grants[1..].to_vec(), ..again };
    rig.settle_all(&two, End::Good, T0 + 600_300).await;
    assert_eq!(rig.take(10, T0 + 600_300).await.grants.len(), 3, "a success resets the count");
    rig.assert_sound(&jobs).await;
}

#[tokio::test]
async fn adaptive_quota_halves_when_throttled_and_rises_after_good_responses() {
    let adaptive = quota_of_kind("adaptive", "adaptive", "connection", 100, "window = \"1s\"\nstart = 10");
    let rig = Rig::new(&adaptive, 1).await;
    put_overdue(&rig, 900).await;
    let spacing = async |at: i64| {
        let taken = rig.take(2, at).await;
        let [one, two] = &taken.grants[..] else { panic!("{taken:?}") };
        (two.send_in_ms - one.send_in_ms, taken)
    };
    let (interval_ms, taken) = spacing(T0).await;
    assert!((interval_ms - 100.0).abs() < 0.01, "{interval_ms}");
    rig.settle_all(&taken, End::Throttled, T0 + 300).await;
    let (interval_ms, taken) = spacing(T0 + 1_000).await;
    assert!((interval_ms - 200.0).abs() < 0.01, "halved once for both: {interval_ms}");
    rig.settle_all(&taken, End::Good, T0 + 1_300).await;
    let (interval_ms, _) = spacing(T0 + 2_000).await;
    // Two good responses at 5/s raise the rate by 2 · 0.02 · 100 / 5, the second by a little less.
    assert!(interval_ms < 200.0 / 1.14 && interval_ms > 200.0 / 1.17, "{interval_ms}");
}

#[tokio::test]
async fn reserve_is_kept_for_refresh_now() {
    let reserve =
        quota_of_kind("minute", "aligned", "connection", 4, "window = \"minute\"\nburst = 4\nreserve = 0.5");
    let rig = Rig::new(&reserve, 1).await;
    let mut jobs = put_overdue(&rig, 6).await;
    let now = T0 + 30_000;
    assert_eq!(order(&rig.take(10, now).await), [1, 2], "half is reserved");
    let refresh = async |ids: &[i64]| {
        let ids: Vec<_> = ids.iter().map(|id| JobId(*id)).collect();
        rig.queue().refresh(&rig.provider, &ids).await.unwrap()
    };
    assert_eq!(
        refresh(&[6, 6, 1, 99]).await,
        [Refresh::Queued, Refresh::Waiting, Refresh::Running, Refresh::Unknown]
    );
    // A job that is not due.
    let later = Job { interval: "31days".parse().unwrap(), ..job(7, 1, Priority::Background) };
    rig.put(std::slice::from_ref(&later), |_| T0 - 1).await;
    jobs.push(later);
    assert_eq!(refresh(&[7]).await, [Refresh::Queued]);
    let urgent = rig.take(10, now + 1).await;
    assert_eq!(order(&urgent), [6, 7], "the job that waits longest first");
    assert_eq!(refresh(&[6]).await, [Refresh::Running]);
    rig.settle_all(&urgent, End::Good, now + 2).await;
    assert!(rig.take(10, now + 3).await.grants.is_empty(), "all four are spent");
    assert_eq!(refresh(&[6]).await, [Refresh::Queued]);
    assert_eq!(refresh(&[6]).await, [Refresh::Waiting]);
    rig.assert_sound(&jobs).await;
    assert_eq!(order(&rig.take(10, T0 + 61_200).await)[..1], [6], "ahead of jobs that waited longer");
}

#[tokio::test]
async fn refresh_now_goes_ahead_of_every_lane() {
    let rig = Rig::new(&quota("app", "app", 1, "1s", 1), 1).await;
    let mut jobs: Vec<_> = (1..=8).map(|id| job(id, id % 4, Priority::Realtime)).collect();
    jobs.push(job(9, 9, Priority::Background));
    rig.put(&jobs, |j| T0 - 4_000_000 + j.id.0).await;
    let mut seen = order(&rig.take(1, T0).await);
    rig.queue().refresh(&rig.provider, &[JobId(9)]).await.unwrap();
    for n in 1..4 {
        seen.extend(order(&rig.take(1, T0 + n * 1_000).await));
    }
    assert_eq!(seen[1], 9, "{seen:?}");
    rig.assert_sound(&jobs).await;
}

#[tokio::test]
async fn hold_of_a_device_does_not_stop_other_devices_of_its_lane() {
    let rig = Rig::new(&quota("own", "connection", 100, "1s", 100), 1).await;
    let jobs = put_overdue(&rig, 3).await;
    let first = rig.take(1, T0).await;
    let hold =
        Hold { scope: Scope::Device, until: UnixMs(T0 + 60_000), reason: "HTTP 429".into(), refusal: None };
    let held = Settlement {
        holds: vec![(hold, Some(jobs[0].device))],
        ..ended(first.grants[0].call, End::Throttled)
    };
    rig.taker.settle(&[held], Some(UnixMs(T0 + 1))).await.unwrap();
    let others = rig.take(10, T0 + 2).await;
    assert_eq!(order(&others), [2, 3]);
    rig.finish(others, T0 + 3).await;
    let location = rig.queue().locate(&rig.provider, &[JobId(1)]).await.unwrap().remove(0);
    // It competes again 250 ms before the hold ends, as calls may be granted that far ahead.
    assert_eq!((location.blocked_by.as_str(), location.until_ms as i64), ("hold: HTTP 429", T0 + 59_750));
    rig.assert_sound(&jobs).await;
    assert_eq!(order(&rig.take(10, T0 + 60_000).await), [1]);
}

#[tokio::test]
async fn every_kind_of_quota_counts_as_spent_after_a_restart() {
    for (text, until) in [
        (quota_of_kind("q", "aligned", "connection", 3, "window = \"minute\"\nburst = 3"), 61_200 - 30_000),
        (quota_of_kind("q", "concurrent", "connection", 3, ""), 30_000),
        (quota_of_kind("q", "errors", "connection", 3, "window = \"10m\""), 600_000),
        (quota_of_kind("q", "adaptive", "connection", 100, "window = \"10s\"\nstart = 10"), 1_000),
        (quota("q", "connection", 10, "10s", 1), 1_000),
    ] {
        let rig = Rig::new(&text, 1).await;
        let jobs = put_overdue(&rig, 2).await;
        // As after a restart: the schedule belongs to an earlier run of the server.
        let meta = rig.t.app.keys.meta(&rig.provider);
        redis::cmd("HSET")
            .arg(meta)
            .arg("run")
            .arg("0")
            .query_async::<()>(&mut rig.t.app.redis.link())
            .await
            .unwrap();
        let now = T0 + 30_000;
        assert!(!rig.take(5, now).await.live);
        rig.queue().revive(&rig.provider, true, 0, Some(UnixMs(now))).await.unwrap();
        let taken = rig.take(5, now).await;
        assert!(taken.grants.is_empty(), "{text}: {taken:?}");
        assert_eq!(taken.bound[0].until_ms as i64 - now, until, "{text}");
        assert!(!rig.take(5, now + until).await.grants.is_empty(), "{text}");
        rig.assert_sound(&jobs).await;
    }
}

#[tokio::test]
async fn reservation_counts_like_a_call_and_is_refunded_if_unsent() {
    let text =
        quota_of_kind("at-once", "concurrent", "connection", 1, "") + &quota("app", "connection", 2, "1h", 2);
    let rig = Rig::new(&text, 1).await;
    let jobs = put_overdue(&rig, 1).await;
    let devices = vec![DeviceId(9)];
    let request = ReserveRequest {
        lane: "1".to_owned(),
        resource: "state".parse().unwrap(),
        cost: 1,
        devices,
        keep_ms: 0,
        probes: true,
    };
    let ask = async |at: i64| rig.taker.reserve(&request, Some(UnixMs(at))).await.unwrap();
    let Reservation::Granted { call: first, in_ms, .. } = ask(T0).await else {
        panic!("all quotas are free")
    };
    assert_eq!(in_ms, 0.0);
    assert_eq!(ask(T0).await, Reservation::NotYet { by: "at-once".to_owned(), wait_ms: None });
    assert!(rig.take(9, T0).await.grants.is_empty(), "the reservation is in flight");
    rig.taker.settle(&[Settlement::unsent(first)], Some(UnixMs(T0 + 1))).await.unwrap();
    let taken = rig.take(9, T0 + 2).await;
    assert_eq!(order(&taken), [1]);
    assert!(taken.grants[0].call > first, "call numbers increase");
    rig.finish(taken, T0 + 3).await;
    let Reservation::Granted { call: second, .. } = ask(T0 + 4).await else { panic!("one of two is left") };
    rig.taker.settle(&[ended(second, End::Good)], Some(UnixMs(T0 + 5))).await.unwrap();
    assert!(
        matches!(ask(T0 + 6).await, Reservation::NotYet { by, wait_ms: Some(ms) } if by == "app" && ms > 3e6)
    );
    rig.assert_sound(&jobs).await;
}

#[tokio::test]
async fn expired_reservation_frees_its_concurrent_slot_and_stays_spent() {
    let text =
        quota_of_kind("at-once", "concurrent", "connection", 1, "") + &quota("app", "connection", 1, "1h", 1);
    let rig = Rig::new(&text, 1).await;
    let request = ReserveRequest {
        lane: "1".to_owned(),
        resource: "state".parse().unwrap(),
        cost: 1,
        devices: Vec::new(),
        keep_ms: 0,
        probes: true,
    };
    assert!(matches!(
        rig.taker.reserve(&request, Some(UnixMs(T0))).await.unwrap(),
        Reservation::Granted { .. }
    ));
    assert_eq!(rig.take(9, T0 + 600_000).await.reaped, 1);
    let outcome = rig.taker.reserve(&request, Some(UnixMs(T0 + 600_001))).await.unwrap();
    assert!(matches!(outcome, Reservation::NotYet { by, .. } if by == "app"));
}

/// How many jobs are granted while an ad-hoc call waits and asks again at each wake time; none: too many. Calls
/// take 20 ms, and the next jobs are taken as soon as they have ended.
async fn granted_meanwhile(rig: &Rig, request: &ReserveRequest, from: i64) -> Option<usize> {
    let (mut granted, mut ask_at, mut in_flight) = (0, from, None);
    for now in (from..from + 600_000).step_by(20) {
        if let Some(taken) = in_flight.take() {
            rig.settle_all(&taken, End::Good, now).await;
        }
        let taken = rig.take(100, now).await;
        granted += taken.grants.len();
        in_flight = Some(taken);
        if granted > 100 {
            return None;
        }
        if now < ask_at {
            continue;
        }
        match rig.taker.reserve(request, Some(UnixMs(now))).await.unwrap() {
            Reservation::Granted { .. } => return Some(granted),
            Reservation::NotYet { wait_ms, .. } => ask_at = now + wait_ms.map_or(500, |ms| ms.ceil() as i64),
            other => unreachable!("it is built, and there is no incident: {other:?}"),
        }
    }
    None
}

#[tokio::test]
async fn saturated_limit_lets_an_adhoc_call_through_after_few_jobs() {
    let per_second = |scope, amount, burst| quota("second", scope, amount, "1s", burst);
    let two = per_second("connection", 8, 1) + &quota("minute", "app", 300, "1m", 1);
    for (text, cost) in [
        (per_second("connection", 10, 1), 1),
        (per_second("connection", 10, 5), 1),
        (per_second("connection", 10, 2), 3),
        (per_second("app", 10, 1), 1),
        (quota("minute", "connection", 6, "1m", 1), 1),
        (quota_of_kind("minute", "aligned", "connection", 600, "window = \"minute\"\nburst = 1"), 1),
        (two, 1),
        (quota_of_kind("at-once", "concurrent", "connection", 1, ""), 1),
    ] {
        let rig = Rig::new(&text, 1).await;
        put_overdue(&rig, 400).await;
        // Past what the bursts give.
        for step in 0..50 {
            let taken = rig.take(100, T0 + 20 * step).await;
            rig.settle_all(&taken, End::Good, T0 + 20 * step).await;
        }
        let lane = "1".to_owned();
        let resource = "state".parse().unwrap();
        let request =
            ReserveRequest { lane, resource, cost, devices: Vec::new(), keep_ms: 60_000, probes: true };
        let from = T0 + 1_000;
        let granted = granted_meanwhile(&rig, &request, from).await;
        assert!(granted.is_some_and(|granted| granted <= 6), "{text}: {granted:?} jobs came before it");
    }
}

#[tokio::test]
async fn place_of_a_call_that_never_asks_again_expires() {
    let rig = Rig::new(&quota_of_kind("at-once", "concurrent", "connection", 1, ""), 1).await;
    put_overdue(&rig, 3).await;
    let first = rig.take(1, T0).await;
    assert_eq!(first.grants.len(), 1);
    let (lane, resource) = ("1".to_owned(), "state".parse().unwrap());
    let request =
        ReserveRequest { lane, resource, cost: 1, devices: Vec::new(), keep_ms: 5_000, probes: true };
    let asked = rig.taker.reserve(&request, Some(UnixMs(T0 + 10))).await.unwrap();
    assert!(matches!(asked, Reservation::NotYet { .. }), "{asked:?}");
    rig.settle_all(&first, End::Good, T0 + 20).await;
    let kept = rig.take(1, T0 + 30).await;
    assert!(kept.grants.is_empty(), "its place is kept");
    assert_eq!(kept.bound[0].until_ms as i64, T0 + 5_010, "and others are woken when it expires");
    assert_eq!(rig.take(1, T0 + 5_010).await.grants.len(), 1);
}

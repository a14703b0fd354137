//! What follows from refusals: waits that grow, one call that goes first, and operators who lift holds.

use crate::take::{Rig, T0, ended, job, order, quota};
use paceline::take::{HoldHolder, Reservation, ReserveRequest, Settlement, Taken, Verdict};
use paceline::words::{ConnectionId, End, Hold, Job, JobId, Priority, Refusal, Scope, UnixMs};

const SECOND: i64 = 1_000;
const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;

/// A refusal at `now` that holds until one instant, and tells to wait until another.
fn refusal(scope: Scope, until: i64, reported: i64) -> Hold {
    let refusal = Some(Refusal { reported_until: Some(UnixMs(reported)) });
    Hold { scope, until: UnixMs(until), reason: "HTTP 429".to_owned(), refusal }
}

impl Rig {
    /// A rig with jobs of one connection that are overdue at `T0`, and a quota that lets all of them go at once.
    async fn with_jobs(count: i64) -> (Self, Vec<Job>) {
        let rig = Self::new(&quota("second", "connection", 100, "1s", 100), 1).await;
        let jobs: Vec<_> = (1..=count).map(|id| job(id, 1, Priority::Normal)).collect();
        rig.put(&jobs, |j| T0 - 4_000_000 + j.id.0).await;
        (rig, jobs)
    }

    /// All calls of a take are refused, for the device of their first job where that is the scope.
    async fn refuse(&self, taken: &Taken, hold: &Hold, at: i64) {
        let refused = |grant: &paceline::take::Grant| {
            let device =
                (hold.scope == Scope::Device).then_some(job(grant.jobs[0].id.0, 1, Priority::Normal).device);
            Settlement { holds: vec![(hold.clone(), device)], ..ended(grant.call, End::Throttled) }
        };
        let all: Vec<_> = taken.grants.iter().map(refused).collect();
        self.taker.settle(&all, Some(UnixMs(at))).await.unwrap();
    }

    async fn until(&self, at: i64) -> Vec<(i64, u32)> {
        let holds = self.taker.holds(Some(UnixMs(at))).await.unwrap();
        holds.iter().map(|hold| (hold.until.0 - at, hold.refusals)).collect()
    }
}

#[tokio::test]
async fn refusals_that_tell_no_wait_cost_ever_fewer_calls() {
    // `Retry-After: 0`, a past date and a negative one are a reported wait of none: see wait.rs.
    let (rig, jobs) = Rig::with_jobs(3).await;
    let (mut now, mut calls) = (T0, Vec::new());
    while now < T0 + 6 * HOUR {
        let taken = rig.take(10, now).await;
        if taken.grants.is_empty() {
            now += (taken.wake_in_ms.ceil() as i64).max(1);
            continue;
        }
        let sent = now + taken.grants[0].send_in_ms as i64;
        calls.push((sent - T0, taken.grants.len()));
        now = sent + 20;
        rig.refuse(&taken, &refusal(Scope::Connection, now + SECOND, now), now).await;
    }
    // Those in flight at once count once; then 1 s, 2 s, 4 s … 512 s, and every 15 minutes.
    let within = |ms| calls.iter().filter(|(at, _)| *at < ms).count();
    assert_eq!(calls[0].1, 3);
    assert!(calls[1..].iter().all(|(_, count)| *count == 1), "{calls:?}");
    assert_eq!((within(150 * SECOND), within(HOUR)), (8, 13), "{calls:?}");
    assert_eq!(calls.len(), 13 + 5 * 4, "{calls:?}");
    rig.assert_sound(&jobs).await;
}

#[tokio::test]
async fn one_call_goes_first_after_a_hold_and_a_success_ends_it() {
    let (rig, jobs) = Rig::with_jobs(4).await;
    let first = rig.take(1, T0).await;
    rig.refuse(&first, &refusal(Scope::Connection, T0 + 5 * SECOND, T0), T0).await;
    let at = T0 + 5 * SECOND;
    let tried = rig.take(10, at).await;
    assert_eq!(tried.grants.len(), 1);
    assert!(rig.take(10, at + 1).await.grants.is_empty());
    assert!(rig.taker.holds(Some(UnixMs(at + 1))).await.unwrap()[0].is_tried);
    // A request for a token may be what the call itself waits for.
    let token = ReserveRequest {
        lane: "1".to_owned(),
        resource: "token".parse().unwrap(),
        cost: 1,
        devices: Vec::new(),
        keep_ms: 0,
        probes: true,
    };
    assert!(matches!(
        rig.taker.reserve(&token, Some(UnixMs(at + 1))).await.unwrap(),
        Reservation::Granted { .. }
    ));
    // Handed back, it showed nothing: another goes first.
    rig.taker.settle(&[Settlement::unsent(tried.grants[0].call)], Some(UnixMs(at + 2))).await.unwrap();
    let again = rig.take(10, at + 2).await;
    assert_eq!(again.grants.len(), 1);
    // Nor does an error.
    rig.taker.settle(&[ended(again.grants[0].call, End::Error)], Some(UnixMs(at + 3))).await.unwrap();
    assert_eq!(rig.until(at + 3).await, [(-3, 1)]);
    let good = rig.take(10, at + 3).await;
    assert_eq!(good.grants.len(), 1);
    rig.finish(good, at + 4).await;
    assert!(rig.taker.holds(Some(UnixMs(at + 4))).await.unwrap().is_empty());
    let others = rig.take(10, at + 4).await;
    assert_eq!(others.grants.len(), 3);
    // The next refusal is a first one.
    rig.refuse(&others, &refusal(Scope::Connection, at + 5, at), at + 5).await;
    assert_eq!(rig.until(at + 5).await, [(SECOND, 1)]);
    rig.assert_sound(&jobs).await;
}

#[tokio::test]
async fn reported_wait_of_a_year_is_tried_again_ever_more_rarely() {
    let (rig, _) = Rig::with_jobs(1).await;
    let (mut now, mut waits) = (T0, Vec::new());
    for _ in 0..7 {
        let taken = rig.take(10, now).await;
        assert_eq!(taken.grants.len(), 1, "at {}", now - T0);
        // The longest window is 2 h.
        rig.refuse(&taken, &refusal(Scope::Connection, now + 2 * HOUR, now + 365 * DAY), now).await;
        let hold = rig.taker.holds(Some(UnixMs(now))).await.unwrap().remove(0);
        assert_eq!((hold.reported_until, hold.since), (Some(UnixMs(now + 365 * DAY)), UnixMs(T0)));
        waits.push((hold.until.0 - now) / HOUR);
        now = hold.until.0;
    }
    assert_eq!(waits, [2, 4, 8, 16, 24, 24, 24]);
}

#[tokio::test]
async fn lifted_hold_lets_calls_go_at_once() {
    let connection = ConnectionId(1);
    for (scope, holder) in [
        (Scope::App, HoldHolder::App),
        (Scope::Connection, HoldHolder::Connection(connection)),
        (Scope::Device, HoldHolder::Device(connection, job(1, 1, Priority::Normal).device)),
    ] {
        let (rig, jobs) = Rig::with_jobs(1).await;
        let first = rig.take(1, T0).await;
        assert_eq!(first.grants[0].jobs[0].id, JobId(1));
        rig.refuse(&first, &refusal(scope, T0 + DAY, T0 + 365 * DAY), T0 + 1).await;
        let now = T0 + SECOND;
        assert!(rig.take(9, now).await.grants.is_empty());
        let holds = rig.taker.holds(Some(UnixMs(now))).await.unwrap();
        assert_eq!((&holds[0].holder, holds[0].refusals, holds.len()), (&holder, 1, 1));
        let others =
            [HoldHolder::Connection(ConnectionId(2)), HoldHolder::Group(connection, "home".to_owned())];
        assert!(rig.taker.lift(&others, Some(UnixMs(now))).await.unwrap().is_empty());
        let lifted = rig.taker.lift(&[holder], Some(UnixMs(now))).await.unwrap();
        assert_eq!(lifted.len(), 1, "{scope:?}");
        assert!(rig.taker.holds(Some(UnixMs(now))).await.unwrap().is_empty());
        assert_eq!(order(&rig.take(9, now).await), [1], "{scope:?}");
        assert!(rig.taker.lift(&[], Some(UnixMs(now))).await.unwrap().is_empty());
        rig.assert_sound(&jobs).await;
    }
}

#[tokio::test]
async fn lift_of_a_connection_takes_its_groups_and_devices_along() {
    let rig = Rig::new(&quota("second", "connection", 100, "1s", 100), 1).await;
    let mut jobs: Vec<_> = (1..=2).map(|id| job(id, 1, Priority::Normal)).collect();
    jobs[0].group = "a home".to_owned();
    rig.put(&jobs, |j| T0 - 4_000_000 + j.id.0).await;
    let taken = rig.take(2, T0).await;
    for grant in &taken.grants {
        let is_first = grant.jobs[0].id == JobId(1);
        let scope = if is_first { Scope::Group } else { Scope::Device };
        let one = Taken { grants: vec![grant.clone()], ..taken.clone() };
        rig.refuse(&one, &refusal(scope, T0 + HOUR, T0), T0 + 1).await;
    }
    let now = T0 + SECOND;
    assert!(rig.take(9, now).await.grants.is_empty());
    let lifted = rig.taker.lift(&[HoldHolder::Connection(ConnectionId(1))], Some(UnixMs(now))).await.unwrap();
    let mut scopes: Vec<_> = lifted.iter().map(|hold| hold.holder.scope().as_str()).collect();
    scopes.sort_unstable();
    assert_eq!(scopes, ["device", "group"]);
    let again = rig.take(9, now).await;
    assert_eq!(again.grants.len(), 2);
    let done = |grant: &paceline::take::Grant| (grant.jobs[0].id, Verdict::Done(UnixMs(now)));
    for grant in &again.grants {
        assert!(rig.settle(grant.call, vec![done(grant)], now + 1).await.is_empty());
    }
    rig.assert_sound(&jobs).await;
}

//! The deciding script on a real Redis, with the time handed in.

use crate::support::TestApp;
use paceline::provider::Provider;
use paceline::schedule::{Entry, Queue, score};
use paceline::take::{FailureKind, Settlement, Taken, Taker, TakerSettings, Verdict};
use paceline::words::{
    CallId, ConnectionId, DeviceId, End, Hold, Interval, Job, JobId, JobState, Priority, ProviderName, Scope,
    TenantId, UnixMs,
};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use std::collections::{BTreeMap, HashMap};

pub const T0: i64 = 1_800_000_000_000;

pub struct Rig {
    pub t: TestApp,
    pub provider: ProviderName,
    pub taker: Taker,
    settings: TakerSettings,
    shared: bool,
}

/// A call that ended so, its jobs back in their rank.
pub fn ended(call: CallId, end: End) -> Settlement {
    Settlement { end, ..Settlement::unsent(call) }
}

fn definition(quotas: &str, batch_max: u32) -> String {
    let unit = if batch_max > 1 { "batch" } else { "device" };
    format!(
        r#"
title = "Taken"
[http]
base_url = "http://127.0.0.1:9"
{quotas}
[resource.state]
unit = "{unit}"
batch_max = {batch_max}
interval_min = "1s"
interval_default = "1m"
path = "/"
records = "."
[resource.energy]
interval_min = "1s"
interval_default = "1m"
path = "/"
records = "."
"#
    )
}

pub fn quota(name: &str, scope: &str, amount: u32, window: &str, burst: u32) -> String {
    format!(
        "[[quota]]\nname = \"{name}\"\nscope = \"{scope}\"\namount = {amount}\nwindow = \"{window}\"\n\
         burst = {burst}\nheadroom = 0.0\n"
    )
}

impl Rig {
    pub async fn new(quotas: &str, batch_max: u32) -> Self {
        let text = definition(quotas, batch_max);
        let t = TestApp::with(&[("taken", &text)]).await;
        Self::on(t, &text, batch_max).await
    }

    /// Likewise, on a Redis at another address.
    pub async fn at(redis_url: &str, quotas: &str, batch_max: u32) -> Self {
        let text = definition(quotas, batch_max);
        let t = TestApp::with(&[("taken", &text)]).await.at_redis(redis_url).await;
        Self::on(t, &text, batch_max).await
    }

    async fn on(t: TestApp, text: &str, batch_max: u32) -> Self {
        let provider: ProviderName = "taken".parse().unwrap();
        let settings = t.app.taker_settings();
        let found = Provider::parse(provider.clone(), "taken.toml", text).unwrap();
        let taker = Taker::new(t.app.redis.clone(), &found, &settings);
        t.app.queue.revive(&provider, false, 0, Some(UnixMs(T0 - 1))).await.unwrap();
        Self { t, provider, taker, settings, shared: batch_max > 1 }
    }

    pub fn queue(&self) -> &Queue {
        &self.t.app.queue
    }

    /// Jobs that are overdue at `T0`.
    pub async fn put(&self, jobs: &[Job], last_run: impl Fn(&Job) -> i64) {
        let entry = |job: &Job| Entry {
            job: job.clone(),
            offset_ms: 0,
            last_run: Some(UnixMs(last_run(job))),
            wanted_since: None,
            shared: self.shared,
            weight: 1,
            failures: None,
        };
        let entries: Vec<_> = jobs.iter().map(entry).collect();
        self.queue().put_at(&self.provider, &entries, Some(UnixMs(T0))).await.unwrap();
    }

    pub async fn take(&self, calls: usize, at: i64) -> Taken {
        self.taker.take(calls, Some(UnixMs(at))).await.unwrap()
    }

    pub async fn finish(&self, taken: Taken, at: i64) {
        for grant in taken.grants {
            let jobs = grant.jobs.iter().map(|j| (j.id, Verdict::Done(UnixMs(at)))).collect();
            assert!(self.settle(grant.call, jobs, at).await.is_empty());
        }
    }

    pub async fn settle(&self, call: CallId, jobs: Vec<(JobId, Verdict)>, at: i64) -> Vec<CallId> {
        let settlement = Settlement { jobs, ..ended(call, End::Good) };
        self.taker.settle(&[settlement], Some(UnixMs(at))).await.unwrap().stale
    }

    /// Every job is in exactly one place.
    pub async fn assert_sound(&self, jobs: &[Job]) {
        let ids: Vec<_> = jobs.iter().map(|j| j.id).collect();
        for (id, place) in ids.iter().zip(self.queue().locate(&self.provider, &ids).await.unwrap()) {
            assert!(place.is_sound(), "{id}: {place:?}");
        }
    }
}

pub fn job(id: i64, connection: i64, priority: Priority) -> Job {
    Job {
        id: JobId(id),
        tenant: TenantId(1),
        provider: "taken".parse().unwrap(),
        connection: ConnectionId(connection),
        device: DeviceId(id + 1_000),
        group: String::new(),
        resource: "state".parse().unwrap(),
        interval: "1h".parse::<Interval>().unwrap(),
        priority,
        state: JobState::Active,
        version: 1,
    }
}

/// The order in which the calls of a take serve jobs.
pub fn order(taken: &Taken) -> Vec<i64> {
    taken.grants.iter().flat_map(|g| g.jobs.iter().map(|j| j.id.0)).collect()
}

#[tokio::test]
async fn take_orders_jobs_by_rank() {
    for seed in 0..20 {
        let rig = Rig::new("", 1).await;
        let mut chance = StdRng::seed_from_u64(seed);
        let pick = |chance: &mut StdRng| Priority::ALL[chance.random_range(0..5)];
        // More than fit the script's first look, so that both of its ways to find the best are tried.
        let count = if seed % 2 == 0 { 12 } else { 150 };
        let jobs: Vec<_> = (1..=count).map(|id| job(id, 1, pick(&mut chance))).collect();
        let last: HashMap<_, _> = jobs
            .iter()
            .map(|j| (j.id, T0 - 7_200_000 - i64::from(chance.next_u32() % 100_000_000)))
            .collect();
        rig.put(&jobs, |j| last[&j.id]).await;
        let taken = rig.take(10, T0).await;
        let bases = rig.settings.base;
        let mut expected: Vec<_> = jobs
            .iter()
            .map(|j| {
                let base = bases[usize::from(j.priority.class()) - 1];
                (score::score(base, T0 - last[&j.id], rig.settings.k), j.id.0)
            })
            .collect();
        expected.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let expected: Vec<_> = expected.iter().take(10).map(|(_, id)| *id).collect();
        assert_eq!(order(&taken), expected, "seed {seed}");
        rig.assert_sound(&jobs).await;
    }
}

#[tokio::test]
async fn all_quotas_of_the_chain_are_spent_together_or_none_is() {
    let quotas = quota("app", "app", 4, "1s", 1) + &quota("own", "connection", 2, "10s", 2);
    let rig = Rig::new(&quotas, 1).await;
    let jobs: Vec<_> = (1..=9).map(|id| job(id, 1 + id % 3, Priority::Normal)).collect();
    rig.put(&jobs, |j| T0 - 4_000_000 - j.id.0).await;
    let mut sent: Vec<(f64, String)> = Vec::new();
    let mut now = T0;
    while now < T0 + 11_000 {
        let taken = rig.take(20, now).await;
        for grant in taken.grants {
            sent.push((now as f64 + grant.send_in_ms, grant.lane));
        }
        assert!(taken.wake_in_ms != 0.0, "busy at {now}");
        now += if taken.wake_in_ms > 0.0 { taken.wake_in_ms.ceil() as i64 } else { 60_000 };
    }
    // 2 in 10 s each: T = 10 s, so two at once and the third 10 s later; the app spaces them by 250 ms.
    assert_eq!(sent.len(), 9);
    for pair in sent.windows(2) {
        assert!(pair[1].0 - pair[0].0 >= 249.9, "{sent:?}");
    }
    let mut by_lane: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (at, lane) in &sent {
        by_lane.entry(lane).or_default().push(*at);
    }
    for times in by_lane.values() {
        assert_eq!(times.len(), 3);
        assert!(times[2] - times[0] >= 9_999.0, "{times:?}");
    }
    // Fair across lanes: the first three calls are of three accounts.
    let first: std::collections::BTreeSet<_> = sent[..3].iter().map(|(_, lane)| lane).collect();
    assert_eq!(first.len(), 3);
    rig.assert_sound(&jobs).await;
}

#[tokio::test]
async fn hold_of_a_connection_blocks_no_other_connection() {
    let rig = Rig::new(&quota("own", "connection", 100, "1s", 1), 1).await;
    let jobs: Vec<_> = (1..=4).map(|id| job(id, 1 + id % 2, Priority::Normal)).collect();
    rig.put(&jobs, |_| T0 - 4_000_000).await;
    let taken = rig.take(1, T0).await;
    let held = &taken.grants[0];
    let hold = Hold {
        scope: Scope::Connection,
        until: UnixMs(T0 + 60_000),
        reason: "HTTP 429".into(),
        refusal: None,
    };
    let settlement = Settlement { holds: vec![(hold, None)], ..ended(held.call, End::Throttled) };
    rig.taker.settle(std::slice::from_ref(&settlement), Some(UnixMs(T0))).await.unwrap();
    // A hold is only ever extended.
    let shorter =
        Hold { scope: Scope::Connection, until: UnixMs(T0 + 5), reason: "shorter".into(), refusal: None };
    let taken = rig.take(10, T0).await;
    assert!(taken.grants.iter().all(|g| g.lane != held.lane), "{taken:?}");
    assert_eq!(taken.grants.len(), 2);
    let other = Settlement { call: taken.grants[0].call, holds: vec![(shorter, None)], ..settlement };
    rig.taker.settle(&[other], Some(UnixMs(T0))).await.unwrap();
    let bound = &taken.bound[0];
    assert_eq!((bound.by.as_str(), bound.until_ms as i64), ("hold: HTTP 429", T0 + 60_000));
    assert!(rig.take(10, T0 + 30_000).await.grants.iter().all(|g| g.lane != held.lane));
    assert!(rig.take(10, T0 + 60_000).await.grants.iter().any(|g| g.lane == held.lane));
    rig.assert_sound(&jobs).await;
}

#[tokio::test]
async fn device_quota_delays_only_its_device() {
    let rig = Rig::new(&quota("each", "device", 1, "1m", 1), 1).await;
    let mut jobs: Vec<_> = (1..=3).map(|id| job(id, 1, Priority::Normal)).collect();
    // Two resources of one device share its limit.
    jobs[1].device = jobs[0].device;
    jobs[1].resource = "energy".parse().unwrap();
    rig.put(&jobs, |j| T0 - 4_000_000 + j.id.0).await;
    let taken = rig.take(10, T0).await;
    assert_eq!(order(&taken), [1, 3]);
    rig.assert_sound(&jobs).await;
    rig.finish(taken, T0).await;
    assert!(rig.take(10, T0 + 59_000).await.grants.is_empty());
    assert_eq!(order(&rig.take(10, T0 + 60_000).await), [2]);
    rig.assert_sound(&jobs).await;
}

#[tokio::test]
async fn groups_have_quotas_of_their_own() {
    let rig = Rig::new(&quota("home", "group", 1, "1m", 1), 5).await;
    let mut jobs: Vec<_> = (1..=4).map(|id| job(id, 1, Priority::Normal)).collect();
    for job in &mut jobs {
        job.group = format!("home{}", job.id.0 % 2);
    }
    rig.put(&jobs, |_| T0 - 4_000_000).await;
    let taken = rig.take(10, T0).await;
    assert_eq!(taken.grants.len(), 2);
    assert!(taken.grants.iter().all(|g| g.jobs.len() == 2), "{taken:?}");
    rig.assert_sound(&jobs).await;
}

#[tokio::test]
async fn quota_of_one_resource_does_not_limit_another() {
    let only = quota("state-only", "connection", 1, "1m", 1) + "resources = [\"state\"]\n";
    let rig = Rig::new(&only, 1).await;
    let mut jobs: Vec<_> = (1..=4).map(|id| job(id, 1, Priority::Normal)).collect();
    jobs[2].resource = "energy".parse().unwrap();
    jobs[3].resource = "energy".parse().unwrap();
    rig.put(&jobs, |j| T0 - 4_000_000 + j.id.0).await;
    let taken = rig.take(10, T0).await;
    assert_eq!(order(&taken), [1, 3, 4]);
    rig.finish(taken, T0).await;
    assert_eq!(order(&rig.take(10, T0 + 60_000).await), [2]);
    rig.assert_sound(&jobs).await;
}

#[tokio::test]
async fn a_lost_workers_calls_are_taken_again_and_its_settlement_is_refused() {
    let rig = Rig::new("", 1).await;
    let jobs = [job(1, 1, Priority::Normal)];
    rig.put(&jobs, |_| T0 - 4_000_000).await;
    let first = rig.take(1, T0).await.grants.remove(0);
    assert!(rig.take(1, T0 + 1_000).await.grants.is_empty());
    // Lease and the provider's timeout: 20 s + 10 s.
    let taken = rig.take(1, T0 + 30_001).await;
    assert_eq!((taken.reaped, order(&taken)), (1, vec![1]));
    let second = &taken.grants[0];
    assert!(second.call > first.call);
    let done = vec![(JobId(1), Verdict::Done(UnixMs(T0 + 500)))];
    assert_eq!(rig.settle(first.call, done, T0 + 30_002).await, [first.call]);
    rig.assert_sound(&jobs).await;
    let done = vec![(JobId(1), Verdict::Done(UnixMs(T0 + 30_001)))];
    assert!(rig.settle(second.call, done.clone(), T0 + 30_500).await.is_empty());
    assert_eq!(rig.settle(second.call, done, T0 + 30_500).await, [second.call], "twice is once");
    let place = rig.queue().locate(&rig.provider, &[JobId(1)]).await.unwrap().remove(0);
    assert!(place.due && place.is_sound());
    assert_eq!(place.due_ms, (T0 + 30_001) / 3_600_000 * 3_600_000 + 3_600_000, "the grid is kept");
}

#[tokio::test]
async fn unsent_grant_is_refunded_unless_a_later_one_was_made() {
    let rig = Rig::new(&quota("own", "connection", 1, "1m", 1), 1).await;
    let jobs: Vec<_> = (1..=2).map(|id| job(id, 1, Priority::Normal)).collect();
    rig.put(&jobs, |_| T0 - 4_000_000).await;
    let unsent = Settlement::unsent;
    let first = rig.take(5, T0).await;
    assert_eq!(first.grants.len(), 1);
    rig.taker.settle(&[unsent(first.grants[0].call)], Some(UnixMs(T0))).await.unwrap();
    let second = rig.take(5, T0 + 1).await;
    assert_eq!(second.grants.len(), 1, "it came back");
    // Its job is dropped with it: the lane's other job must not be forgotten.
    let dropped = vec![(second.grants[0].jobs[0].id, Verdict::Drop(1))];
    let put_aside = Settlement { jobs: dropped, ..unsent(second.grants[0].call) };
    rig.taker.settle(&[put_aside], Some(UnixMs(T0 + 2))).await.unwrap();
    let left: Vec<_> = jobs.into_iter().filter(|j| j.id != second.grants[0].jobs[0].id).collect();
    rig.assert_sound(&left).await;
    let second = rig.take(5, T0 + 3).await;
    assert_eq!(second.grants.len(), 1, "it came back again");
    rig.put(&[job(9, 1, Priority::Normal)], |_| T0 - 4_000_000).await;
    let third = rig.take(5, T0 + 60_003).await;
    assert_eq!(third.grants.len(), 1);
    rig.taker.settle(&[unsent(second.grants[0].call)], Some(UnixMs(T0 + 60_004))).await.unwrap();
    assert!(rig.take(5, T0 + 60_005).await.grants.is_empty(), "it stays spent");
    rig.assert_sound(&left).await;
}

#[tokio::test]
async fn job_dropped_while_leased_is_deleted_when_its_call_ends() {
    let rig = Rig::new("", 1).await;
    let jobs: Vec<_> = (1..=2).map(|id| job(id, 1, Priority::Normal)).collect();
    rig.put(&jobs, |_| T0 - 4_000_000).await;
    let taken = rig.take(2, T0).await;
    rig.queue().drop(&rig.provider, &[(JobId(1), 1), (JobId(2), 1)]).await.unwrap();
    // The owner changes their mind about one before the call ends.
    rig.put(&jobs[1..], |_| T0 - 4_000_000).await;
    for grant in &taken.grants {
        let done = grant.jobs.iter().map(|j| (j.id, Verdict::Done(UnixMs(T0)))).collect();
        assert!(rig.settle(grant.call, done, T0).await.is_empty());
    }
    let places = rig.queue().locate(&rig.provider, &[JobId(1), JobId(2)]).await.unwrap();
    assert!(!places[0].known && !places[0].due && !places[0].ready);
    assert!(places[1].is_sound() && places[1].due);
}

/// However a crowd of workers takes, settles, crashes and pauses, the referee counts no window over quota.
#[tokio::test]
async fn no_window_is_ever_over_quota() {
    for seed in 0..6 {
        let mut chance = StdRng::seed_from_u64(seed);
        let quotas = quota("app", "app", 9, "1s", 3) + &quota("own", "connection", 7, "2s", 2);
        let mut rig = Rig::new(&quotas, 3).await;
        // Short leases, so that what crashed comes back often.
        rig.settings.lease = "100ms".parse().unwrap();
        let text = definition(&quotas, 3)
            .replace("[[quota]]\nname = \"app\"", "timeout = \"1s\"\n[[quota]]\nname = \"app\"");
        let found = Provider::parse(rig.provider.clone(), "taken.toml", &text).unwrap();
        rig.taker = Taker::new(rig.t.app.redis.clone(), &found, &rig.settings);
        let jobs: Vec<_> = (1..=40)
            .map(|id| Job {
                interval: "1s".parse().unwrap(),
                ..job(id, id % 4, Priority::ALL[(id % 5) as usize])
            })
            .collect();
        rig.put(&jobs, |_| T0 - 10_000).await;
        let (mut now, mut sent): (i64, Vec<(f64, String)>) = (T0, Vec::new());
        for _ in 0..250 {
            now += i64::from(chance.random_range(0..400_u32));
            let taken = rig.take(chance.random_range(1..8), now).await;
            for grant in taken.grants {
                let jobs: Vec<_> = grant.jobs.iter().map(|j| j.id).collect();
                let verdict = |v: Verdict| jobs.iter().map(|id| (*id, v)).collect::<Vec<_>>();
                let fate: f64 = chance.random();
                if fate < 0.1 {
                    continue; // crashed before sending
                }
                if fate < 0.2 {
                    let unsent = Settlement::unsent(grant.call);
                    rig.taker.settle(&[unsent], Some(UnixMs(now))).await.unwrap();
                    continue;
                }
                sent.push((now as f64 + grant.send_in_ms, grant.lane.clone()));
                if fate < 0.3 {
                    continue; // crashed after sending
                }
                let verdict = match chance.random_range(0..4) {
                    0 => verdict(Verdict::Later(100, FailureKind::Transient)),
                    1 => verdict(Verdict::Again),
                    _ => verdict(Verdict::Done(UnixMs(now))),
                };
                rig.settle(grant.call, verdict, now + 1).await;
            }
        }
        assert!(sent.len() > 200, "{}", sent.len());
        over_quota(&sent, 9, 1_000.0);
        for lane in 0..4 {
            let own: Vec<_> = sent.iter().filter(|(_, l)| *l == lane.to_string()).cloned().collect();
            over_quota(&own, 7, 2_000.0);
        }
        rig.assert_sound(&jobs).await;
    }
}

fn over_quota(sent: &[(f64, String)], amount: usize, window_ms: f64) {
    let mut times: Vec<f64> = sent.iter().map(|(at, _)| *at).collect();
    times.sort_by(f64::total_cmp);
    for (n, at) in times.iter().enumerate() {
        let held = times[n..].iter().take_while(|t| **t < at + window_ms - 0.01).count();
        assert!(held <= amount, "{held} of {amount} in {window_ms} ms from {at}");
    }
}

#[tokio::test]
async fn group_names_may_contain_any_character() {
    let rig = Rig::new(&quota("home", "group", 1, "1m", 1), 1).await;
    let named = |id: i64| Job { group: "Flat #3: 1.OG".into(), ..job(id, 1, Priority::Normal) };
    let jobs = [named(1), named(2)];
    rig.put(&jobs, |j| T0 - 4_000_000 + j.id.0).await;
    let taken = rig.take(5, T0).await;
    assert_eq!((order(&taken), taken.bound.len()), (vec![1], 1));
    rig.finish(taken, T0).await;
    assert_eq!(order(&rig.take(5, T0 + 60_000).await), [2]);
    rig.assert_sound(&jobs).await;
}

#[tokio::test]
async fn exhausted_quota_of_one_resource_delays_no_other() {
    let only = quota("energy-only", "connection", 1, "1h", 1) + "resources = [\"energy\"]\n";
    let rig = Rig::new(&only, 1).await;
    let energy = |id: i64| Job { resource: "energy".parse().unwrap(), ..job(id, 1, Priority::Realtime) };
    // So many wait for the quota that no look at the best of the lane would see past them.
    let mut jobs: Vec<_> = (1..=400).map(energy).collect();
    rig.put(&jobs, |_| T0 - 9_000_000).await;
    let taken = rig.take(50, T0).await;
    assert_eq!(taken.grants.len(), 1);
    rig.finish(taken, T0).await;
    assert!(rig.take(50, T0 + 1).await.grants.is_empty());
    // The lane is blocked now, and a job of another resource comes due.
    let state = job(1_001, 1, Priority::Background);
    rig.put(std::slice::from_ref(&state), |_| T0 - 4_000_000).await;
    assert_eq!(order(&rig.take(50, T0 + 2).await), [1_001]);
    jobs.push(state);
    rig.assert_sound(&jobs).await;
}

#[tokio::test]
async fn thousands_of_jobs_are_taken_reaped_and_settled() {
    let rig = Rig::new("", 100).await;
    let jobs: Vec<_> = (1..=6_000).map(|id| job(id, id % 3, Priority::Normal)).collect();
    rig.put(&jobs, |_| T0 - 4_000_000).await;
    let mut taken = Vec::new();
    for _ in 0..12 {
        taken.extend(rig.take(10, T0).await.grants);
    }
    assert_eq!(taken.iter().map(|g| g.jobs.len()).sum::<usize>(), 6_000);
    rig.assert_sound(&jobs).await;
    // All their workers die at once: the jobs come back some leases at a time.
    let (mut settlements, mut grants, mut reaped) = (Vec::new(), Vec::new(), 0);
    while reaped < taken.len() {
        let again = rig.take(1, T0 + 40_000).await;
        assert_eq!((again.reaped, again.wake_in_ms), (5, 0.0));
        reaped += again.reaped as usize;
        grants.extend(again.grants);
        rig.assert_sound(&jobs).await;
    }
    while grants.len() < taken.len() {
        grants.extend(rig.take(50, T0 + 40_000).await.grants);
    }
    for grant in &grants {
        let jobs = grant.jobs.iter().map(|j| (j.id, Verdict::Done(UnixMs(T0 + 40_000)))).collect();
        settlements.push(Settlement { jobs, ..ended(grant.call, End::Good) });
    }
    assert!(rig.taker.settle(&settlements, Some(UnixMs(T0 + 40_001))).await.unwrap().stale.is_empty());
    rig.assert_sound(&jobs).await;
}

/// How many of these jobs a take moved out of where they waited for their time.
async fn gathered(rig: &Rig, jobs: &[Job]) -> usize {
    let ids: Vec<_> = jobs.iter().map(|job| job.id).collect();
    let places = rig.queue().locate(&rig.provider, &ids).await.unwrap();
    places.iter().filter(|place| !place.due).count()
}

#[tokio::test]
async fn take_of_many_overdue_queues_gathers_a_bounded_part_and_serves_all_in_the_end() {
    let rig = Rig::new("", 20).await;
    let jobs: Vec<_> = (1..=6_000).map(|id| job(id, id % 40, Priority::Normal)).collect();
    rig.put(&jobs, |_| T0 - 4_000_000).await;
    let mut taken = rig.take(10, T0).await;
    assert_eq!(gathered(&rig, &jobs).await, 500);
    let mut served = std::collections::BTreeSet::new();
    while served.len() < jobs.len() {
        assert!(!taken.grants.is_empty(), "{} of {} were served", served.len(), jobs.len());
        served.extend(order(&taken));
        rig.finish(taken, T0).await;
        taken = rig.take(50, T0).await;
    }
    rig.assert_sound(&jobs).await;
}

#[tokio::test]
async fn take_of_a_large_backlog_looks_at_a_bounded_part_of_it() {
    // Each lane may send one call an hour, so that a take would look at all of them.
    let rig = Rig::new(&quota("own", "connection", 1, "1h", 1), 1).await;
    let jobs: Vec<_> = (1..=4_000).map(|id| job(id, id % 1_000, Priority::Normal)).collect();
    rig.put(&jobs, |_| T0 - 4_000_000).await;
    let mut takes = 0;
    // Nothing is settled: first all lanes spend their quotas, then all are blocked.
    loop {
        let taken = rig.take(1_000, T0).await;
        takes += 1;
        assert!(taken.bound.len() <= 1_000, "{} lanes were looked at", taken.bound.len());
        if taken.wake_in_ms != 0.0 {
            break;
        }
    }
    assert!(takes > 3, "{takes}");
    rig.assert_sound(&jobs).await;
}

#[tokio::test]
async fn settle_of_more_jobs_than_a_script_handles_ends_them_all() {
    let rig = Rig::new("", 100).await;
    let jobs: Vec<_> = (1..=3_000).map(|id| job(id, id % 3, Priority::Normal)).collect();
    rig.put(&jobs, |_| T0 - 4_000_000).await;
    let mut grants = Vec::new();
    while grants.len() < 15 {
        grants.extend(rig.take(15 - grants.len(), T0).await.grants);
    }
    let (first, rest) = grants.split_at(1);
    // One that is stale, many that were never sent, and an answer with records of all others.
    assert!(rig.settle(first[0].call, Vec::new(), T0).await.is_empty());
    let leased: Vec<_> = rest.iter().flat_map(|grant| grant.jobs.iter().map(|job| job.id)).collect();
    let others = jobs.iter().map(|job| job.id).filter(|id| !leased.contains(id));
    let answered = Settlement {
        jobs: rest[0].jobs.iter().map(|job| (job.id, Verdict::Done(UnixMs(T0)))).collect(),
        unsolicited: others.map(|id| (id, UnixMs(T0))).collect(),
        ..ended(rest[0].call, End::Good)
    };
    let unsent = rest[1..].iter().chain(first).map(|grant| Settlement::unsent(grant.call));
    let settlements: Vec<_> = unsent.chain([answered]).collect();
    let settled = rig.taker.settle(&settlements, Some(UnixMs(T0))).await.unwrap();
    assert_eq!((settled.stale, settled.wake_in_ms), (vec![first[0].call], Some(0.0)));
    rig.assert_sound(&jobs).await;
    let ids: Vec<_> = jobs.iter().map(|job| job.id).collect();
    let places = rig.queue().locate(&rig.provider, &ids).await.unwrap();
    let fresh = places.iter().filter(|place| place.last_ms == T0).count();
    assert_eq!(fresh, jobs.len() - leased.len() + rest[0].jobs.len());
}

#[tokio::test]
async fn schedule_built_with_another_layout_is_built_again() {
    let rig = Rig::new("", 1).await;
    let queue = rig.queue();
    queue.mark_built(&rig.provider).await.unwrap();
    assert!(queue.is_live(&rig.provider).await.unwrap());
    // As a version before wrote it.
    let mut built = redis::cmd("HSET");
    built.arg(rig.t.app.keys.meta(&rig.provider)).arg("built").arg(T0);
    built.query_async::<()>(&mut rig.t.app.redis.link()).await.unwrap();
    assert!(!queue.is_live(&rig.provider).await.unwrap());
    let put = paceline::keep::rebuild_if_lost(&rig.t.app, &rig.provider).await.unwrap();
    assert!(matches!(put, paceline::keep::Rebuild::Done(_)) && queue.is_live(&rig.provider).await.unwrap());
}

#[tokio::test]
async fn attempts_count_one_kind_of_failure_only() {
    let rig = Rig::new("", 1).await;
    rig.put(&[job(1, 1, Priority::Normal)], |_| T0 - 4_000_000).await;
    let mut now = T0;
    let mut seen = Vec::new();
    for kind in [
        FailureKind::Transient,
        FailureKind::Transient,
        FailureKind::Gone,
        FailureKind::Gone,
        FailureKind::Transient,
    ] {
        let taken = rig.take(1, now).await;
        let granted = &taken.grants[0].jobs[0];
        seen.push((granted.attempts, granted.kind));
        rig.settle(taken.grants[0].call, vec![(JobId(1), Verdict::Later(100, kind))], now).await;
        now += 200;
    }
    assert_eq!(seen, [(0, 0), (1, 1), (2, 1), (1, 3), (2, 3)]);
}

#[tokio::test]
async fn preference_changed_while_leased_wins_over_an_older_drop() {
    let rig = Rig::new("", 1).await;
    let old = job(1, 1, Priority::Normal);
    rig.put(std::slice::from_ref(&old), |_| T0 - 4_000_000).await;
    let taken = rig.take(1, T0).await;
    let newer = Job { version: 2, ..old };
    rig.put(std::slice::from_ref(&newer), |_| T0 - 4_000_000).await;
    rig.settle(taken.grants[0].call, vec![(JobId(1), Verdict::Drop(1))], T0).await;
    rig.assert_sound(std::slice::from_ref(&newer)).await;
    rig.queue().drop(&rig.provider, &[(JobId(1), 1)]).await.unwrap();
    rig.assert_sound(&[newer]).await;
}

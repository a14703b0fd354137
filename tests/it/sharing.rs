//! Shared calls, shared quotas, piggyback jobs and unsolicited records: on a real Redis with simulated time.

use crate::take::{Rig, T0, ended, job, order, quota};
use paceline::schedule::Entry;
use paceline::take::{Settlement, Verdict};
use paceline::words::{End, Job, JobId, Priority, UnixMs};
use std::collections::BTreeMap;

fn every(id: i64, interval: &str) -> Job {
    Job { interval: interval.parse().unwrap(), ..job(id, 1, Priority::Normal) }
}

impl Rig {
    /// Puts jobs that are due at these instants.
    async fn put_due(&self, jobs: &[(Job, i64)], shared: bool) {
        let entry = |(job, at): &(Job, i64)| {
            let interval_ms = job.interval.as_ms() as i64;
            Entry {
                job: job.clone(),
                offset_ms: (at % interval_ms) as u32,
                last_run: Some(UnixMs(at - interval_ms)),
                wanted_since: None,
                shared,
                weight: 1,
                failures: None,
            }
        };
        let entries: Vec<_> = jobs.iter().map(entry).collect();
        self.queue().put_at(&self.provider, &entries, Some(UnixMs(T0))).await.unwrap();
    }
}

#[tokio::test]
async fn job_due_within_the_horizon_is_granted_for_its_due_time() {
    let rig = Rig::new("", 1).await;
    let jobs = [(every(1, "10s"), T0 + 40), (every(2, "10s"), T0 + 90), (every(3, "10s"), T0 + 160)];
    rig.put_due(&jobs, false).await;
    let taken = rig.take(10, T0).await;
    let sends: Vec<_> = taken.grants.iter().map(|g| (g.jobs[0].id.0, g.send_in_ms)).collect();
    assert_eq!(sends, [(1, 40.0), (2, 90.0)]);
    // The worker wakes for the third 50 ms before it is due.
    assert_eq!(taken.wake_in_ms, 110.0);
    rig.assert_sound(&jobs.map(|(job, _)| job)).await;
}

#[tokio::test]
async fn job_that_a_quota_would_delay_is_not_granted_ahead() {
    let rig = Rig::new(&quota("own", "connection", 10, "1s", 1), 1).await;
    let jobs = [(every(1, "10s"), T0), (every(2, "10s"), T0 + 40), (every(3, "10s"), T0 + 90)];
    rig.put_due(&jobs, false).await;
    let taken = rig.take(10, T0).await;
    assert_eq!(order(&taken), [1], "calls are 100 ms apart, so the others would be late");
    assert_eq!(taken.wake_in_ms, 40.0);
    rig.assert_sound(&jobs.map(|(job, _)| job)).await;
}

#[tokio::test]
async fn jobs_due_soon_join_a_call_with_free_places() {
    let rig = Rig::new("", 3).await;
    // Jobs 2 and 4 are due within a tenth of their intervals; job 3 is not.
    let jobs = [
        (every(1, "10s"), T0),
        (every(2, "10s"), T0 + 900),
        (every(3, "10s"), T0 + 1_100),
        (every(4, "1m"), T0 + 5_000),
        (every(5, "1h"), T0 + 5_100),
    ];
    rig.put_due(&jobs, true).await;
    let taken = rig.take(10, T0).await;
    assert_eq!(order(&taken), [1, 2, 4], "three places");
    assert_eq!(taken.grants.len(), 1);
    rig.finish(taken, T0 + 10).await;
    let places = rig.queue().locate(&rig.provider, &[JobId(1), JobId(2), JobId(4)]).await.unwrap();
    let due: Vec<_> = places.iter().map(|place| place.due_ms - T0).collect();
    assert_eq!(due, [10_000, 10_900, 65_000], "these runs are done, and the grid is kept");
    rig.assert_sound(&jobs.map(|(job, _)| job)).await;
}

#[tokio::test]
async fn unsolicited_records_count_as_runs() {
    let rig = Rig::new("", 1).await;
    let jobs = [
        (every(1, "10s"), T0),
        (every(2, "10s"), T0 + 3_000),
        (every(3, "1m"), T0 - 1),
        (every(4, "10s"), T0 - 2),
    ];
    rig.put_due(&jobs, true).await;
    let taken = rig.take(2, T0).await;
    let mut asked = order(&taken);
    asked.sort_unstable();
    let call = taken.grants[0].call;
    let unsolicited = [1, 2, 3, 4, 99].map(|id| (JobId(id), UnixMs(T0 + 5))).to_vec();
    let jobs_done = taken.grants[0].jobs.iter().map(|j| (j.id, Verdict::Done(UnixMs(T0 + 5)))).collect();
    let settled = Settlement { jobs: jobs_done, unsolicited, ..ended(call, End::Good) };
    rig.taker.settle(&[settled], Some(UnixMs(T0 + 10))).await.unwrap();
    let ids = [1, 2, 3, 4].map(JobId);
    let places = rig.queue().locate(&rig.provider, &ids).await.unwrap();
    let other = taken.grants[1].jobs[0].id;
    for (id, place) in ids.iter().zip(&places).filter(|(id, _)| **id != taken.grants[0].jobs[0].id) {
        if *id == other {
            assert!(place.leased, "another call has leased it");
            continue;
        }
        let interval = if id.0 == 3 { 60_000 } else { 10_000 };
        assert!(place.due, "{id}: {place:?}");
        assert_eq!(place.due_ms, T0 + 5 + interval, "{id}: {place:?}");
    }
    rig.assert_sound(&jobs.map(|(job, _)| job)).await;
}

#[tokio::test]
async fn lanes_share_a_quota_by_weight() {
    let rig = Rig::new(&quota("app", "app", 10, "1s", 1), 1).await;
    let weights = [1_u32, 2, 3];
    let mut jobs = Vec::new();
    for id in 1..=900_i64 {
        let job = Job { interval: "31days".parse().unwrap(), ..job(id, id % 3, Priority::Normal) };
        let entry = Entry {
            job: job.clone(),
            offset_ms: 0,
            last_run: Some(UnixMs(T0 - 31 * 86_400_000 - 5)),
            wanted_since: None,
            shared: false,
            weight: weights[(id % 3) as usize],
            failures: None,
        };
        rig.queue().put_at(&rig.provider, &[entry], Some(UnixMs(T0))).await.unwrap();
        jobs.push(job);
    }
    let (mut now, mut served) = (T0, BTreeMap::<String, u32>::new());
    while served.values().sum::<u32>() < 300 {
        let taken = rig.take(20, now).await;
        for grant in &taken.grants {
            *served.entry(grant.lane.clone()).or_default() += 1;
        }
        rig.finish(taken.clone(), now).await;
        now += (taken.wake_in_ms.ceil() as i64).max(1);
    }
    for (lane, weight) in [("0", 1), ("1", 2), ("2", 3)] {
        let share = f64::from(served[lane]) / 50.0 / f64::from(weight);
        assert!((0.96..=1.04).contains(&share), "{served:?}");
    }
    rig.assert_sound(&jobs).await;
}

#[tokio::test]
async fn corrupt_record_affects_only_its_job() {
    let rig = Rig::new("", 1).await;
    let jobs: Vec<_> = (1..=6).map(|id| job(id, 1, Priority::Normal)).collect();
    rig.put(&jobs, |j| T0 - 4_000_000 + j.id.0).await;
    let anchor = rig.t.app.keys.anchor(&rig.provider);
    let corrupt = async |id: i64| {
        // Where the scripts store it: see `bucket` in record.lua.
        let bucket = (id as u64 * 2_654_435_769) % (1 << 32) / (1 << 21);
        redis::cmd("HSET")
            .arg(format!("{anchor}jobs:0:{bucket}"))
            .arg(id)
            .arg("?")
            .query_async::<()>(&mut rig.t.app.redis.link())
            .await
            .unwrap();
    };
    corrupt(2).await; // due
    let first = rig.take(2, T0).await;
    assert_eq!((order(&first), first.corrupt.clone()), (vec![1, 3], vec![JobId(2)]));
    corrupt(4).await; // ready
    corrupt(3).await; // leased
    rig.finish(first, T0 + 1).await;
    let second = rig.take(10, T0 + 2).await;
    assert_eq!((order(&second), second.corrupt.clone()), (vec![5, 6], vec![JobId(4)]));
    rig.finish(second, T0 + 3).await;
    // Postgres still has them, so they can be put again.
    rig.put(&jobs, |j| T0 - 4_000_000 + j.id.0).await;
    let mut again = order(&rig.take(10, T0 + 4).await);
    again.sort_unstable();
    assert_eq!(again, [2, 4], "the leased job was settled with the record it was taken with");
    rig.assert_sound(&jobs).await;
}

#[tokio::test]
async fn jobs_that_never_ran_are_served_however_often_redis_is_lost() {
    let rig = Rig::new("", 1).await;
    let jobs: Vec<_> =
        (1..=40).map(|id| Job { interval: "10s".parse().unwrap(), ..job(id, 1, Priority::Normal) }).collect();
    // Three quarters have run; there is time for five in ten seconds, and then Redis is emptied.
    let mut last: BTreeMap<_, _> = jobs.iter().take(30).map(|job| (job.id, T0 - 60_000)).collect();
    let mut waiting: Vec<_> = jobs.iter().skip(30).map(|job| job.id).collect();
    let mut link = rig.t.app.redis.link();
    for loss in 1..=30 {
        let now = T0 + loss * 10_000;
        let anchor = rig.t.app.keys.anchor(&rig.provider);
        let keys: Vec<String> =
            redis::cmd("KEYS").arg(format!("{anchor}*")).query_async(&mut link).await.unwrap();
        for key in keys {
            redis::cmd("DEL").arg(key).query_async::<()>(&mut link).await.unwrap();
        }
        rig.queue().revive(&rig.provider, true, loss * 1_000, Some(UnixMs(now))).await.unwrap();
        let entry = |job: &Job| Entry {
            job: job.clone(),
            offset_ms: (job.id.0 * 240) as u32,
            last_run: last.get(&job.id).map(|at| UnixMs(*at)),
            wanted_since: Some(UnixMs(T0)),
            failures: None,
            shared: false,
            weight: 1,
        };
        let entries: Vec<_> = jobs.iter().map(entry).collect();
        rig.queue().put_at(&rig.provider, &entries, Some(UnixMs(now))).await.unwrap();
        let at = now + 9_999;
        let taken = rig.take(5, at).await;
        for job in taken.grants.iter().flat_map(|grant| &grant.jobs) {
            last.insert(job.id, at);
            waiting.retain(|id| *id != job.id);
        }
        rig.finish(taken, at).await;
    }
    assert_eq!(waiting, []);
}

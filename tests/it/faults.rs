//! Redis refusing, answering nonsense, forgetting, dying; and workers with wrong clocks. No job is lost or doubled.

use crate::journey::{BATCH, PATIENT, Rig as Journeys, good};
use crate::private_redis::PrivateRedis;
use crate::redis_proxy::{Fault, RedisProxy, Verb};
use crate::support::server;
use crate::take::{Rig, T0, ended, job, order, quota};
use paceline::journey::{Journey, Step};
use paceline::keep;
use paceline::schedule::Entry;
use paceline::take::{Settlement, Taker, Verdict};
use paceline::words::{CallId, End, Hold, Job, JobId, Priority, Scope, UnixMs};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use wiremock::ResponseTemplate;

const FULL: &str = "CONFIG SET maxmemory 1";
const ROOMY: &str = "CONFIG SET maxmemory 0";

/// Jobs of three connections, overdue at `T0`.
async fn waiting(rig: &Rig, count: i64) -> Vec<Job> {
    let jobs: Vec<_> = (1..=count).map(|id| job(id, 1 + id % 3, Priority::Normal)).collect();
    rig.put(&jobs, |j| T0 - 4_000_000 + j.id.0).await;
    jobs
}

fn entry(job: Job) -> Entry {
    Entry {
        job,
        offset_ms: 0,
        last_run: Some(UnixMs(T0 - 4_000_000)),
        wanted_since: None,
        shared: false,
        weight: 1,
        failures: None,
    }
}

fn done(call: CallId, jobs: &[JobId]) -> Settlement {
    Settlement {
        jobs: jobs.iter().map(|job| (*job, Verdict::Done(UnixMs(T0 + 5)))).collect(),
        ..ended(call, End::Good)
    }
}

#[tokio::test]
async fn full_redis_changes_nothing_and_recovers() {
    let server = PrivateRedis::start().await;
    let rig = Rig::at(&server.url, &quota("second", "connection", 10, "1s", 2), 1).await;
    let jobs = waiting(&rig, 20).await;
    let taken = rig.take(4, T0).await;
    let mut served = order(&taken);
    assert_eq!(served.len(), 4);
    let out: Vec<_> =
        taken.grants.iter().map(|g| done(g.call, &g.jobs.iter().map(|j| j.id).collect::<Vec<_>>())).collect();

    let before = server.everything().await;
    server.say(FULL).await;
    let refused = |what: &str, error: Option<String>| {
        assert!(error.as_ref().is_some_and(|e| e.contains("OOM")), "{what}: {error:?}");
    };
    refused("take", rig.taker.take(4, Some(UnixMs(T0))).await.err().map(|e| e.to_string()));
    refused("settle", rig.taker.settle(&out, Some(UnixMs(T0 + 9))).await.err().map(|e| e.to_string()));
    let new = rig.queue().put_at(&rig.provider, &[entry(job(21, 1, Priority::High))], Some(UnixMs(T0))).await;
    refused("put", new.err().map(|e| e.to_string()));
    assert!(server.everything().await == before, "what was refused left something behind");

    server.say(ROOMY).await;
    assert!(rig.taker.settle(&out, Some(UnixMs(T0 + 9))).await.unwrap().stale.is_empty());
    let mut now = T0 + 10;
    while served.len() < 20 {
        let taken = rig.take(4, now).await;
        served.extend(order(&taken));
        rig.finish(taken, now).await;
        now += 100;
        assert!(now < T0 + 10_000, "{served:?}");
    }
    assert_eq!(served.iter().collect::<BTreeSet<_>>().len(), 20, "each once: {served:?}");
    rig.assert_sound(&jobs).await;
}

/// Redis looks for room at a script's first write only: one that begins with a write that needs none is let through to
/// its end. Were one refused in its middle, a job would be found in two places, or in none.
#[tokio::test]
async fn full_redis_stops_no_script_halfway() {
    let server = PrivateRedis::start().await;
    let rig = Rig::at(&server.url, &quota("minute", "connection", 2, "1m", 2), 1).await;
    let mut jobs = waiting(&rig, 12).await;
    // All lanes are blocked now, with jobs in rank; two calls a lane are out.
    let taken = rig.take(12, T0).await;
    assert_eq!(taken.grants.len(), 6);
    let mut moved: Vec<_> = jobs[8..].to_vec();
    moved.iter_mut().for_each(|j| (j.interval, j.version) = ("2h".parse().unwrap(), 2));
    let moved: Vec<_> = moved.into_iter().map(entry).collect();
    let hold = Hold {
        scope: Scope::Connection,
        until: UnixMs(T0 + 99_000),
        reason: "told to wait".parse().unwrap(),
        refusal: None,
    };
    let give_back = |n: usize| Settlement {
        holds: vec![(hold.clone(), None)],
        ..Settlement::unsent(taken.grants[n].call)
    };
    let (queue, provider, far) = (rig.queue(), &rig.provider, Some(UnixMs(T0 + 3_600_000)));
    server.say(FULL).await;
    for attempt in 0..6 {
        let before = server.everything().await;
        let outcome = match attempt {
            0 => queue.put_at(provider, &moved, Some(UnixMs(T0 + 1))).await.map(drop),
            1 => queue.refresh(provider, &[JobId(9), JobId(10)]).await.map(drop),
            2 => queue.drop(provider, &[(JobId(11), 9)]).await,
            3 => rig.taker.settle(&[give_back(5), give_back(4)], Some(UnixMs(T0 + 2))).await.map(drop),
            // Lost calls come back, lanes are unblocked.
            4 => rig.taker.take(12, far).await.map(drop),
            _ => rig.taker.take(12, Some(UnixMs(T0 + 7_200_000))).await.map(drop),
        };
        if let Err(error) = &outcome {
            assert!(error.to_string().contains("OOM"), "{attempt}: {error}");
            assert!(server.everything().await == before, "{attempt}: refused in its middle");
        }
        if attempt == 2 && outcome.is_ok() {
            jobs.retain(|j| j.id != JobId(11));
        }
        rig.assert_sound(&jobs).await;
    }
    server.say(ROOMY).await;
    rig.take(12, T0 + 7_200_000).await;
    rig.assert_sound(&jobs).await;
}

/// What a call's end survives, whatever ends it: readings recorded once, the job settled once, readers see it.
async fn lands_once(rig: &Journeys) {
    let device = rig.devices[0];
    assert_eq!(rig.value(device).await, Some((json!({"t": 21.5}), true)));
    let place = rig.location(device).await;
    assert!(place.due && place.is_sound(), "{place:?}");
    assert!(place.due_ms > place.last_ms && place.due_ms - place.last_ms <= 3_600_000, "{place:?}");
    let cached = rig.t.app.cache.get(rig.t.tenant, &rig.devices).await.unwrap();
    assert!(cached[0].get("state").is_some_and(|state| state.contains("21.5")), "{cached:?}");
    assert_eq!(rig.cloud.received_requests().await.unwrap().len(), 1);
    let (call, rows): (i64, i64) =
        sqlx::query_as("SELECT max(fence), (SELECT count(*) FROM readings) FROM latest")
            .fetch_one(&rig.t.app.pool)
            .await
            .unwrap();
    assert_eq!(rows, 1);
    assert!(rig.check().await.clean);
    // Whoever settles it again is late, and changes nothing.
    let again = done(CallId(call), &[JobId(1)]);
    assert_eq!(taker(rig).settle(&[again], None).await.unwrap().stale, [CallId(call)]);
    assert_eq!(rig.location(device).await, place);
}

fn taker(rig: &Journeys) -> Taker {
    let provider = rig.t.app.registry.get(rig.provider).unwrap();
    Taker::new(rig.t.app.redis.clone(), provider, &rig.t.app.taker_settings())
}

#[tokio::test]
async fn readings_land_once_redis_recovers() {
    for (error, begin, end) in
        [("OOM", FULL, ROOMY), ("READONLY", "REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE")]
    {
        let server = PrivateRedis::start().await;
        let rig = Journeys::at(&server.url, PATIENT, 1, "1h").await;
        rig.answer(good(21.5)).await;
        rig.start(&rig.journey).await.unwrap();
        server.say(begin).await;
        let (landed, ()) = tokio::join!(rig.journey.land(), async {
            server.has_refused(error).await;
            assert_eq!(rig.leased().await, 1, "{error}");
            server.say(end).await;
        });
        assert_eq!(landed.unwrap().sent, 1, "{error}");
        lands_once(&rig).await;
    }
}

const ANSWERS: [&str; 7] = [
    "LOADING Redis is loading the dataset in memory",
    "MOVED 1 127.0.0.1:1",
    "NOSCRIPT No matching script. Please use EVAL.",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "CLUSTERDOWN The cluster is down",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "ERR no such thing",
];

fn faults() -> impl Iterator<Item = Fault> {
    ANSWERS.into_iter().map(Fault::Error).chain([Fault::CutBefore, Fault::CutAfter])
}

#[tokio::test]
async fn failed_settle_is_retried_and_settles_once() {
    for fault in faults() {
        let proxy = RedisProxy::to(&server("PACELINE_TEST_REDIS_URL")).await;
        let rig = Journeys::at(&proxy.url, PATIENT, 1, "1h").await;
        rig.answer(good(21.5)).await;
        rig.start(&rig.journey).await.unwrap();
        proxy.inject(Verb::Settle, fault);
        assert_eq!(rig.journey.land().await.unwrap().sent, 1, "{fault:?}");
        assert!(proxy.has_injected(), "{fault:?}");
        lands_once(&rig).await;
    }
}

#[tokio::test]
async fn failure_settled_twice_counts_once() {
    for fault in [Fault::CutBefore, Fault::CutAfter] {
        let proxy = RedisProxy::to(&server("PACELINE_TEST_REDIS_URL")).await;
        let rig = Journeys::at(&proxy.url, PATIENT, 1, "1h").await;
        rig.answer(ResponseTemplate::new(500)).await;
        rig.start(&rig.journey).await.unwrap();
        proxy.inject(Verb::Settle, fault);
        rig.journey.land().await.unwrap();
        assert!(proxy.has_injected(), "{fault:?}");
        let due = rig.location(rig.devices[0]).await.due_ms - rig.t.app.redis.time_ms().await.unwrap();
        sleep(Duration::from_millis(u64::try_from(due).unwrap_or(0))).await;
        let taken = taker(&rig).take(1, None).await.unwrap();
        assert_eq!(taken.grants[0].jobs[0].attempts, 1, "{fault:?}");
    }
}

#[tokio::test]
async fn failed_take_loses_no_job() {
    for fault in faults() {
        let proxy = RedisProxy::to(&server("PACELINE_TEST_REDIS_URL")).await;
        let rig = Journeys::at(&proxy.url, PATIENT, 3, "1h").await;
        rig.answer(good(21.5)).await;
        // All are due.
        sleep(Duration::from_millis(110)).await;
        proxy.inject(Verb::Take, fault);
        let spoiled = rig.journey.pull().await;
        assert!(proxy.has_injected(), "{fault:?}");
        match fault {
            // The driver teaches the script and asks again by itself.
            Fault::Error(error) if error.starts_with("NOSCRIPT") => assert!(spoiled.is_ok()),
            _ => assert!(spoiled.is_err(), "{fault:?}: {spoiled:?}"),
        }
        // What was granted to nobody comes back when its lease has run out; nothing was sent for it.
        assert_eq!(rig.leased().await > 0, fault == Fault::CutAfter || spoiled.is_ok(), "{fault:?}");
        assert_eq!(rig.check().await.scheduled, 3);
        if fault == Fault::CutAfter {
            let leases = rig.t.app.keys.anchor(&rig.provider.parse().unwrap()) + "leases";
            let mut link = rig.t.app.redis.link();
            let all: Vec<String> =
                redis::cmd("ZRANGE").arg(&leases).arg(0).arg(-1).query_async(&mut link).await.unwrap();
            for call in all {
                redis::cmd("ZADD").arg(&leases).arg(0).arg(call).query_async::<()>(&mut link).await.unwrap();
            }
        }
        let started = if let Ok(Step::Ran(started, _)) = spoiled { started } else { 0 };
        let (mut ended, mut sent) = (0, 0);
        while ended < started {
            let now = rig.journey.land().await.unwrap();
            (ended, sent) = (ended + now.ended, sent + now.sent);
        }
        rig.land(3 - sent).await;
        assert_eq!(rig.cloud.received_requests().await.unwrap().len(), 3, "{fault:?}");
        assert!(rig.check().await.clean, "{fault:?}");
    }
}

/// Who settles learns from it when to look again: an answer that was lost must not make it oversleep.
#[tokio::test]
async fn settle_with_lost_response_delays_no_later_run() {
    let proxy = RedisProxy::to(&server("PACELINE_TEST_REDIS_URL")).await;
    let rig = Journeys::at(&proxy.url, PATIENT, 1, "1s").await;
    rig.answer(good(21.5)).await;
    let stop = CancellationToken::new();
    let provider = rig.t.app.registry.get(rig.provider).unwrap();
    let journey = Arc::new(Journey::new(&rig.t.app, provider, stop.clone()).unwrap());
    proxy.inject(Verb::Settle, Fault::CutAfter);
    let working = tokio::spawn(paceline::journey::run(journey));
    let asked_again = async {
        let mut tick = interval(Duration::from_millis(20));
        while rig.cloud.received_requests().await.unwrap().len() < 3 {
            tick.tick().await;
        }
    };
    timeout(Duration::from_secs(10), asked_again).await.expect("run after run");
    assert!(proxy.has_injected());
    stop.cancel();
    timeout(Duration::from_secs(10), working).await.unwrap().unwrap();
    assert!(rig.check().await.clean);
}

#[tokio::test]
async fn flushed_scripts_are_loaded_again() {
    let server = PrivateRedis::start().await;
    let rig = Journeys::at(&server.url, PATIENT, 1, "1h").await;
    rig.answer(good(21.5)).await;
    server.say("SCRIPT FLUSH").await;
    rig.start(&rig.journey).await.unwrap();
    server.say("SCRIPT FLUSH").await;
    assert_eq!(rig.journey.land().await.unwrap().sent, 1);
    lands_once(&rig).await;
}

#[tokio::test]
async fn killed_redis_grants_nothing_until_rebuilt() {
    let mut server = PrivateRedis::start().await;
    let rig = Journeys::at(&server.url, BATCH, 45, "1h").await;
    rig.answer(ResponseTemplate::new(200).set_body_json(json!({"devices": []}))).await;
    sleep(Duration::from_millis(110)).await;
    let started = rig.start(&rig.journey).await.unwrap();
    server.crash().await;
    // The schedule is there again, as far as it was written; nobody can tell how far that is.
    let mut landed = 0;
    while landed < started {
        landed += rig.journey.land().await.unwrap().ended;
    }
    let provider = rig.provider.parse().unwrap();
    let step = loop {
        // The first to ask finds its connection closed.
        if let Ok(step) = rig.journey.pull().await {
            break step;
        }
    };
    assert_eq!(step, Step::Idle(None));
    assert!(!rig.t.app.queue.is_live(&provider).await.unwrap());
    let revived = rig.t.app.redis.time_ms().await.unwrap();
    let rebuilt = keep::rebuild_if_lost(&rig.t.app, &provider).await.unwrap();
    assert_eq!(rebuilt, keep::Rebuild::Done(45));
    let report = rig.check().await;
    assert!(report.clean && report.scheduled == 45, "{report:?}");
    // The burst of 10 is gone: what is due at once has its first call only T after the revival, about 104 ms.
    let all = rig.t.app.queue.ids(&provider, JobId(1_000)).await.unwrap();
    rig.t.app.queue.refresh(&provider, &all).await.unwrap();
    let taken = taker(&rig).take(10, None).await.unwrap();
    for (n, grant) in (1..).zip(&taken.grants) {
        let since = (taken.now.0 - revived) as f64 + grant.send_in_ms;
        assert!(since >= f64::from(n) * 100.0, "call {n} after {since} ms");
    }
    assert!(!taken.grants.is_empty());
}

//! An account whose cloud hangs: others keep their pace.

use crate::metered::{DEFINITION, Running, settings};
use crate::support::{TestApp, server};
use crate::take::{Rig, T0, job, order, quota};
use crate::worker::good;
use paceline::take::Room;
use paceline::words::{ConnectionId, Job, Priority, UnixMs};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::sleep;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

/// Eight calls at a time in each process, and a quota that is no limit.
fn definition() -> String {
    DEFINITION
        .replace("timeout = \"2s\"\nin_flight = 256", "timeout = \"4s\"\nin_flight = 8")
        .replace("amount = 200", "amount = 1000")
}

async fn account(t: &TestApp, label: &str, answer: ResponseTemplate, devices: usize) -> MockServer {
    let cloud = MockServer::start().await;
    Mock::given(method("GET")).respond_with(answer).mount(&cloud).await;
    let connection = t.connect("mocked", label, &cloud.uri()).await;
    t.add_devices("mocked", connection, devices, "1s").await;
    cloud
}

#[tokio::test]
async fn slow_account_whose_calls_hang_leaves_others_their_pace() {
    let t = TestApp::with_settings(&[("mocked", &definition())], settings).await;
    let hangs = good().set_delay(Duration::from_secs(60));
    let hanging = account(&t, "hangs", hangs, 200).await;
    let mut others = Vec::new();
    for label in ["a", "b", "c"] {
        others.push(account(&t, label, good(), 4).await);
    }
    let worker = Running::start(t.app_at(&server("PACELINE_TEST_REDIS_URL")).await);
    sleep(Duration::from_secs(5)).await;
    let calls = async |cloud: &MockServer| cloud.received_requests().await.unwrap_or_default().len();
    let before = [calls(&others[0]).await, calls(&others[1]).await, calls(&others[2]).await];
    sleep(Duration::from_secs(10)).await;
    let mut shares = Vec::new();
    for (cloud, before) in others.iter().zip(before) {
        shares.push((calls(cloud).await - before) as f64 / 40.0);
    }
    let asked = calls(&hanging).await;
    worker.end().await;
    println!("of the calls wanted: {shares:.2?}; {asked} calls hung");
    assert!(shares.iter().all(|share| *share >= 0.9), "{shares:.2?}");
    // It is not left out either.
    assert!(asked >= 8, "{asked}");
}

#[tokio::test]
async fn take_grants_no_connection_more_than_there_is_room_for() {
    let rig = Rig::new("", 1).await;
    let jobs: Vec<_> = (1..=60).map(|id| job(id, 1 + id % 3, Priority::Normal)).collect();
    rig.put(&jobs, |job| T0 - 10_000_000 - job.id.0).await;
    let take = async |most, of: &[(i64, usize)], at| {
        let of = of.iter().map(|(connection, calls)| (ConnectionId(*connection), *calls)).collect();
        rig.taker.take_within(30, Some(&Room { most, of }), Some(UnixMs(at))).await.unwrap()
    };
    let by_connection = |taken: &_| {
        let mut calls = HashMap::new();
        for id in order(taken) {
            *calls.entry(1 + id % 3).or_insert(0) += 1;
        }
        calls
    };
    // New lanes, and then lanes with a backlog.
    for at in [T0, T0 + 1] {
        let taken = take(4, &[(1, 0), (2, 2)], at).await;
        assert_eq!(by_connection(&taken), HashMap::from([(2, 2), (3, 4)]));
        assert_eq!(taken.wake_in_ms, 25.0);
        rig.assert_sound(&jobs).await;
        rig.finish(taken, at).await;
    }
    // Nothing is left of it: further takes serve all the others.
    let mut served = 0;
    for at in T0 + 2..T0 + 10 {
        let taken = rig.take(30, at).await;
        served += order(&taken).len();
        rig.finish(taken, at).await;
    }
    assert_eq!(served, 60 - 12);
    rig.assert_sound(&jobs).await;
}

#[tokio::test]
async fn lanes_that_a_link_lets_in_keep_their_places_where_there_is_no_room() {
    let rig = Rig::new(&quota("shared", "connection", 1, "1s", 1), 1).await;
    let jobs: Vec<_> =
        (1..=6).map(|id| Job { group: format!("home-{id}"), ..job(id, 1, Priority::Normal) }).collect();
    rig.put(&jobs, |_| T0 - 10_000_000).await;
    let none = Room { most: 0, of: HashMap::new() };
    let (mut served, mut now) = (0, T0);
    // Each time the quota opens, a process without room looks first.
    for _ in 0..8 {
        let taken = rig.taker.take_within(10, Some(&none), Some(UnixMs(now))).await.unwrap();
        assert!(taken.grants.is_empty(), "{taken:?}");
        rig.assert_sound(&jobs).await;
        let taken = rig.take(10, now + 1).await;
        served += order(&taken).len();
        rig.finish(taken, now + 1).await;
        now += 2_000;
    }
    assert_eq!(served, 6);
}

//! Logins: a token is asked for once, written before it is used, renewed in time; its refusal is the owner's to mend.

use crate::journey::Rig;
use paceline::authorise::{Authoriser, Ready};
use paceline::journey::{Journey, Step};
use paceline::preference::connections;
use paceline::token::{self, StartOutcome};
use paceline::words::{Connection, Secrets};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wiremock::matchers::{body_partial_json, header, method, path};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

const LOGIN: &str = r#"
title = "Login"
[http]
base_url = "{{ params.base_url }}"
timeout = "2s"
in_flight = 1
[auth]
kind = "bearer"
[auth.login]
url = "/login"
json = '{"user": "me", "password": {{ secrets.secret }}}'
secrets = ["secret"]
token = ".token"
lifetime = ".ttl"
interval_min = "100ms"
[[quota]]
name = "second"
scope = "connection"
amount = 50
window = "1s"
burst = 10
[resource.state]
interval_min = "1s"
interval_default = "1m"
path = "/devices/{{ device.external_id }}"
records = "{values: {t: .t}}"
"#;

/// Gives `token-1`, `token-2` … for an hour each.
struct Tokens(AtomicU32, Duration);

impl Respond for Tokens {
    fn respond(&self, _: &Request) -> ResponseTemplate {
        let n = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        let answer =
            ResponseTemplate::new(200).set_body_json(json!({"token": format!("token-{n}"), "ttl": 3600}));
        answer.set_delay(self.1)
    }
}

/// Logins are answered with tokens, and calls that carry this one with a reading.
async fn cloud(cloud: &MockServer, token: &str, delay: Duration) {
    let bearer = format!("Bearer {token}");
    let good = ResponseTemplate::new(200).set_body_json(json!({"t": 1}));
    Mock::given(method("GET")).and(header("authorization", bearer)).respond_with(good).mount(cloud).await;
    let refused = ResponseTemplate::new(401).set_body_string("token token-1 of s3cret is no good");
    Mock::given(method("GET")).respond_with(refused).mount(cloud).await;
    Mock::given(path("/login"))
        .and(body_partial_json(json!({"password": "s3cret"})))
        .respond_with(Tokens(AtomicU32::new(0), delay))
        .mount(cloud)
        .await;
}

async fn rig(devices: usize, token: &str) -> Rig {
    let rig = Rig::new(LOGIN, devices).await;
    cloud(&rig.cloud, token, Duration::ZERO).await;
    rig
}

async fn logins(rig: &Rig) -> usize {
    rig.cloud.received_requests().await.unwrap().iter().filter(|r| r.url.path() == "/login").count()
}

async fn connection(rig: &Rig) -> Arc<Connection> {
    let app = &rig.t.app;
    let mut opened = connections::open(&app.pool, &app.sealer, &[rig.connection.0], false).await.unwrap();
    Arc::new(opened.remove(0))
}

fn authoriser(rig: &Rig) -> Authoriser {
    let provider = rig.t.app.registry.get(rig.provider).unwrap();
    Authoriser::new(&rig.t.app, provider).unwrap()
}

async fn standing(rig: &Rig) -> (String, Option<String>) {
    sqlx::query_as("SELECT state, state_reason FROM connections").fetch_one(&rig.t.app.pool).await.unwrap()
}

/// Pulls and lands until every device has a reading; calls that wait for a token are handed back meanwhile. A pull is
/// given up only where nothing is left to take for long: one that is cut off in its middle loses what it took.
async fn until_read(rig: &Rig, journeys: &[&Journey]) {
    for _ in 0..60 {
        let mut read = true;
        for device in &rig.devices {
            read &= rig.value(*device).await.is_some();
        }
        if read {
            return;
        }
        for journey in journeys {
            if let Ok(Some(_)) = tokio::time::timeout(Duration::from_secs(1), rig.start(journey)).await {
                journey.land().await.unwrap();
            }
        }
    }
    panic!("not every device is read");
}

/// Everything that is stored in text.
async fn stored(rig: &Rig) -> String {
    let mut all = String::new();
    for table in ["connections", "tokens", "jobs", "sync_events", "latest"] {
        let rows = format!("SELECT coalesce(string_agg(t::text, ' '), '') FROM {table} t");
        let text: String =
            sqlx::query_scalar(sqlx::AssertSqlSafe(rows)).fetch_one(&rig.t.app.pool).await.unwrap();
        all += &text;
    }
    all
}

#[tokio::test]
async fn token_is_requested_once_and_sent_with_every_call() {
    let rig = rig(3, "token-1").await;
    until_read(&rig, &[&rig.journey]).await;
    assert_eq!(logins(&rig).await, 1);
    let (stored, kept) = (stored(&rig).await, connection(&rig).await);
    assert!(!stored.contains("token-1") && !stored.contains("s3cret"), "{stored}");
    let token = kept.token.as_ref().unwrap();
    assert_eq!(token.generation, 1);
    assert!(!format!("{kept:?}").contains("token-1"), "{kept:?}");
    let (now, hour) = (rig.t.app.clock.now(), 3_600_000);
    let left = [token.renew_at, token.expires_at].map(|at| at.unwrap().since_ms(now));
    assert!(left[0] > hour * 8 / 10 && left[0] < left[1] && left[1] < hour, "{left:?}");
    assert!(rig.check().await.clean);
}

#[tokio::test]
async fn token_refused_during_calls_is_renewed_once_and_the_device_is_fetched() {
    let rig = rig(1, "token-1").await;
    rig.land(1).await;
    // From now on the cloud takes the next one only, long before the first one's time.
    rig.cloud.reset().await;
    let next = Tokens(AtomicU32::new(1), Duration::ZERO);
    let good = ResponseTemplate::new(200).set_body_json(json!({"t": 2}));
    Mock::given(header("authorization", "Bearer token-2"))
        .respond_with(good)
        .expect(1)
        .mount(&rig.cloud)
        .await;
    let refused = ResponseTemplate::new(401).set_body_string("token token-1 of s3cret is no good");
    Mock::given(method("GET")).respond_with(refused).expect(1).mount(&rig.cloud).await;
    Mock::given(path("/login")).respond_with(next).expect(1).mount(&rig.cloud).await;
    rig.run_again().await;
    rig.land(2).await;
    assert_eq!(rig.value(rig.devices[0]).await, Some((json!({"t": 2}), true)));
    assert_eq!(standing(&rig).await, ("active".to_owned(), None));
    let stored = stored(&rig).await;
    assert!(stored.contains("is no good"), "what the cloud said is kept: {stored}");
    assert!(!stored.contains("token-1") && !stored.contains("s3cret"), "{stored}");
    assert!(rig.check().await.clean);
}

#[tokio::test]
async fn token_is_renewed_before_it_expires_and_used_until_then_if_renewal_fails() {
    let rig = rig(1, "token-1").await;
    rig.land(1).await;
    sqlx::query("UPDATE tokens SET renew_at = now() - interval '1 s', asked_at = now() - interval '1 h'")
        .execute(&rig.t.app.pool)
        .await
        .unwrap();
    rig.cloud.reset().await;
    let down = ResponseTemplate::new(503).set_body_string("down for s3cret");
    Mock::given(path("/login")).respond_with(down).expect(1).mount(&rig.cloud).await;
    let authoriser = authoriser(&rig);
    // Twice: the second is within the wait after the failure, and asks nobody.
    for _ in 0..2 {
        let Ready::Go(connection) = authoriser.ready(&connection(&rig).await).await else {
            panic!("it still works")
        };
        assert_eq!(connection.token.as_ref().unwrap().generation, 1);
    }
    let stored = stored(&rig).await;
    assert!(stored.contains("down for ***") && !stored.contains("s3cret"), "{stored}");

    sqlx::query("UPDATE tokens SET retry_at = NULL, asked_at = NULL").execute(&rig.t.app.pool).await.unwrap();
    rig.cloud.reset().await;
    cloud(&rig.cloud, "token-1", Duration::ZERO).await;
    let Ready::Go(renewed) = authoriser.ready(&connection(&rig).await).await else { panic!("it is renewed") };
    assert_eq!(renewed.token.as_ref().unwrap().generation, 2);
}

#[tokio::test]
async fn two_processes_request_one_token() {
    let rig = Rig::new(LOGIN, 4).await;
    cloud(&rig.cloud, "token-1", Duration::from_millis(200)).await;
    let provider = rig.t.app.registry.get(rig.provider).unwrap();
    let other = Journey::new(&rig.t.app, provider, CancellationToken::new()).unwrap();
    // One call each, on their way at once.
    let [a, b] = [&rig.journey, &other];
    assert_eq!(rig.start(a).await, Some(1));
    assert_eq!(rig.start(b).await, Some(1));
    // Either is handed back where its instant has passed by then.
    let (first, second) = tokio::join!(a.land(), b.land());
    assert_eq!((first.unwrap().ended, second.unwrap().ended), (1, 1));
    until_read(&rig, &[a, b]).await;
    assert_eq!(logins(&rig).await, 1);
    assert!(rig.check().await.clean);
}

#[tokio::test]
async fn token_stored_before_a_crash_is_used_and_one_not_stored_is_requested_again() {
    let rig = rig(1, "token-2").await;
    let (app, mine) = (&rig.t.app, connection(&rig).await);
    // Started, and never finished.
    let (now, spans) = (app.clock.now(), (300, 0));
    let started = token::begin(&app.pool, &app.sealer, &mine, None, now, spans).await.unwrap();
    assert!(matches!(started, StartOutcome::Mine(_)), "{started:?}");
    let Ready::NotYet(_, reason) = authoriser(&rig).ready(&mine).await else { panic!("another has it") };
    assert!(reason.contains("being renewed"), "{reason}");
    assert_eq!(logins(&rig).await, 0);
    sqlx::query(
        "UPDATE tokens SET renewing_until = now() - interval '1 s', asked_at = now() - interval '2 s'",
    )
    .execute(&app.pool)
    .await
    .unwrap();
    // Its place is taken. This one dies when the token is written, before it is used.
    let Ready::Go(dead) = authoriser(&rig).ready(&mine).await else { panic!("it is asked for again") };
    drop(dead);
    let Ready::Go(other) = authoriser(&rig).ready(&mine).await else { panic!("it is there") };
    assert_eq!(other.token.as_ref().unwrap().generation, 1);
    assert_eq!(logins(&rig).await, 1);
    // The one that was thought dead comes back with what it was given: too late.
    let StartOutcome::Mine(late) = started else { panic!() };
    let granted = paceline::words::Granted { access: "late".into(), refresh: None, lifetime_ms: Some(1_000) };
    let kept = token::keep(&app.pool, &app.sealer, &mine, &late, &granted, now).await.unwrap();
    assert!(kept.is_none(), "{kept:?}");
}

#[tokio::test]
async fn refusal_leaves_a_token_alone_that_another_process_stored_meanwhile() {
    let rig = rig(1, "token-1").await;
    let (app, mine) = (&rig.t.app, connection(&rig).await);
    let now = app.clock.now();
    let mut started = Vec::new();
    // The second finds the time of the first run out, and begins with the same token.
    for at in [now, now.plus_ms(1)] {
        let one = token::begin(&app.pool, &app.sealer, &mine, None, at, (0, 0)).await.unwrap();
        let StartOutcome::Mine(renewal) = one else { panic!("{one:?}") };
        started.push(renewal);
    }
    let [slow, refused] = &started[..] else { panic!() };
    let give_up =
        async |renewal| token::give_up(&app.pool, &mine, renewal, "spent", now.plus_ms(2)).await.unwrap();
    // Not the slow one's to say: the other has it now.
    assert_eq!(give_up(slow).await, None);
    let granted = paceline::words::Granted { access: "a".into(), refresh: None, lifetime_ms: Some(1_000) };
    let kept = token::keep(&app.pool, &app.sealer, &mine, slow, &granted, now).await.unwrap();
    assert_eq!(kept.unwrap().generation, 1);
    assert_eq!(give_up(refused).await, None);
    token::fail(&app.pool, &mine, refused, "spent", now.plus_ms(60_000)).await.unwrap();
    assert_eq!(standing(&rig).await, ("active".to_owned(), None));
    let failed: (i32, Option<String>) =
        sqlx::query_as("SELECT failures, failure FROM tokens").fetch_one(&app.pool).await.unwrap();
    assert_eq!(failed, (0, None));
    // What is said of the token that is there counts.
    let later = now.plus_ms(2_000);
    let started = token::begin(&app.pool, &app.sealer, &mine, Some(1), later, (0, 0)).await.unwrap();
    let StartOutcome::Mine(last) = started else { panic!("{started:?}") };
    assert_eq!(give_up(&last).await.unwrap(), [], "its only job probes it");
    assert_eq!(standing(&rig).await, ("needs_reauth".to_owned(), Some("spent".to_owned())));
}

#[tokio::test]
async fn refused_login_is_sent_once_and_waits_for_the_owner() {
    let rig = Rig::new(LOGIN, 2).await;
    let refused = ResponseTemplate::new(401).set_body_string("no such password: s3cret");
    Mock::given(path("/login")).respond_with(refused).expect(1).mount(&rig.cloud).await;
    assert_eq!(rig.start(&rig.journey).await, Some(1));
    assert_eq!(rig.journey.land().await.unwrap().sent, 0);
    let (state, reason) = standing(&rig).await;
    let reason = reason.unwrap();
    assert_eq!(state, "needs_reauth");
    assert!(reason.contains("no such password: ***") && !reason.contains("s3cret"), "{reason}");
    let (probe, other) = (rig.location(rig.devices[0]).await, rig.location(rig.devices[1]).await);
    assert!(probe.due && !probe.ready && !probe.leased, "one job tries again: {probe:?}");
    assert!(!other.due && !other.ready && !other.leased, "{other:?}");
    assert!(rig.check().await.clean);
    rig.cloud.verify().await;

    // Its owner gives another password: all is well again, as soon as the least interval lets it.
    rig.cloud.reset().await;
    let tokens = Tokens(AtomicU32::new(0), Duration::ZERO);
    Mock::given(body_partial_json(json!({"password": "better"})))
        .respond_with(tokens)
        .mount(&rig.cloud)
        .await;
    let good = ResponseTemplate::new(200).set_body_json(json!({"t": 1}));
    Mock::given(header("authorization", "Bearer token-1")).respond_with(good).mount(&rig.cloud).await;
    let app = &rig.t.app;
    let better = Secrets::only("better");
    paceline::preference::activation::reauthorise(
        &app.pool,
        &app.sealer,
        rig.t.tenant,
        rig.connection,
        &better,
    )
    .await
    .unwrap();
    paceline::keep::drain(app).await.unwrap();
    until_read(&rig, &[&rig.journey]).await;
    assert_eq!(standing(&rig).await, ("active".to_owned(), None));
    assert_eq!(logins(&rig).await, 1);
}

#[tokio::test]
async fn failed_login_holds_the_connection_and_is_not_repeated_at_once() {
    let rig = Rig::new(LOGIN, 2).await;
    let busy = ResponseTemplate::new(429).insert_header("retry-after", "600");
    Mock::given(path("/login")).respond_with(busy).expect(1).mount(&rig.cloud).await;
    assert_eq!(rig.start(&rig.journey).await, Some(1));
    assert_eq!(rig.journey.land().await.unwrap().sent, 0);
    // The other device comes due, and finds the hold.
    let wake = loop {
        let step = rig.journey.pull().await.unwrap();
        let Step::Idle(Some(wake)) = step else { panic!("{step:?}") };
        if wake > Duration::from_secs(1) {
            break wake;
        }
        tokio::time::sleep(wake).await;
    };
    assert!(wake > Duration::from_secs(500) && wake <= Duration::from_secs(600), "{wake:?}");
    assert_eq!(standing(&rig).await.0, "active");
    // Another process, which does not know of the hold, does not ask either.
    let ready = authoriser(&rig).ready(&connection(&rig).await).await;
    assert!(matches!(&ready, Ready::NotYet(_, reason) if reason.contains("HTTP 429")), "{ready:?}");
    assert!(rig.check().await.clean);
}

#[tokio::test]
async fn token_is_stored_although_its_caller_goes_away() {
    let rig = Rig::new(LOGIN, 1).await;
    cloud(&rig.cloud, "token-1", Duration::from_millis(300)).await;
    let (authoriser, mine) = (authoriser(&rig), connection(&rig).await);
    // Whoever asked goes away as soon as it is sent.
    let arrived = Arc::new(Notify::new());
    let told = arrived.clone();
    Mock::given(move |_: &Request| {
        told.notify_one();
        false
    })
    .respond_with(ResponseTemplate::new(500))
    .with_priority(1)
    .mount(&rig.cloud)
    .await;
    tokio::select! {
        ready = authoriser.ready(&mine) => panic!("{ready:?}"),
        () = arrived.notified() => {}
    }
    rig.t.app.detached.close();
    rig.t.app.detached.wait().await;
    let kept = connection(&rig).await;
    assert_eq!(kept.token.as_ref().map(|token| token.generation), Some(1));
    let Ready::Go(_) = authoriser.ready(&kept).await else { panic!("it is there") };
    assert_eq!(logins(&rig).await, 1);
}

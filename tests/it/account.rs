//! What a cloud must tell of an account before its calls are made: asked for once, in the place of a granted call,
//! kept, corrected, and asked for again once the secrets are others.

use crate::journey::Rig;
use paceline::journey::Journey;
use paceline::preference::{connections, learned};
use paceline::words::Secrets;
use paceline::{discovery, keep};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wiremock::matchers::{any, header, path};
use wiremock::{Mock, ResponseTemplate};

const ACCOUNT: &str = r#"
title = "Account"
[http]
base_url = "{{ params.base_url }}"
hosts = ["127.0.0.1"]
timeout = "2s"
in_flight = 4
[auth]
kind = "bearer"
[bootstrap]
path = "/me"
values = "{home: .homes[0].id, plan}"
[[quota]]
name = "second"
scope = "connection"
amount = 50
window = "1s"
burst = 10
forgives_ms = 5000
[resource.state]
interval_min = "1s"
interval_default = "1m"
path = "/homes/{{ bootstrap.home }}/devices/{{ device.external_id }}"
records = "{values: {t: .t}}"
[[rule]]
status = [421]
outcome = "transient"
learn = { home = ".moved_to" }
[[rule]]
status = [409]
outcome = "device_offline"
"#;

async fn me(rig: &Rig, home: &str, secret: &str, delay: Duration) {
    let answer = ResponseTemplate::new(200).set_body_json(json!({"homes": [{"id": home}], "plan": 3}));
    Mock::given(path("/me"))
        .and(header("authorization", format!("Bearer {secret}")))
        .respond_with(answer.set_delay(delay))
        .mount(&rig.cloud)
        .await;
}

async fn devices(rig: &Rig, home: &str, answer: ResponseTemplate) {
    for n in 0..rig.devices.len() {
        let at = path(format!("/homes/{home}/devices/d{n}"));
        Mock::given(at).respond_with(answer.clone()).mount(&rig.cloud).await;
    }
    let lost = ResponseTemplate::new(404);
    Mock::given(any()).respond_with(lost).with_priority(9).mount(&rig.cloud).await;
}

fn good() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({"t": 1}))
}

async fn kept(rig: &Rig) -> serde_json::Value {
    let sql = "SELECT jsonb_build_object('at', bootstrap_at IS NOT NULL, 'of', bootstrap) FROM connections";
    sqlx::query_scalar(sql).fetch_one(&rig.t.app.pool).await.unwrap()
}

async fn asked(rig: &Rig, of: &str) -> usize {
    rig.cloud.received_requests().await.unwrap().iter().filter(|r| r.url.path() == of).count()
}

async fn due_again(rig: &Rig) {
    rig.run_again().await;
    sqlx::query("DELETE FROM latest").execute(&rig.t.app.pool).await.unwrap();
}

#[tokio::test]
async fn bootstrap_values_are_requested_once_per_connection_and_stored() {
    let rig = Rig::new(ACCOUNT, 4).await;
    me(&rig, "7", "s3cret", Duration::from_millis(300)).await;
    devices(&rig, "7", good()).await;
    rig.read_all(&rig.journey).await;
    assert_eq!(asked(&rig, "/me").await, 1);
    assert_eq!(kept(&rig).await, json!({"at": true, "of": {"home": "7", "plan": "3"}}));
    // A definition that asks for something else asks again.
    let sql = "UPDATE connections SET bootstrap = '{}', bootstrap_of = 'another question'";
    sqlx::query(sql).execute(&rig.t.app.pool).await.unwrap();
    due_again(&rig).await;
    rig.read_all(&rig.journey).await;
    assert_eq!(asked(&rig, "/me").await, 2);
    assert_eq!(kept(&rig).await, json!({"at": true, "of": {"home": "7", "plan": "3"}}));
    // Another process knows it from Postgres.
    let provider = rig.t.app.registry.get(rig.provider).unwrap();
    let other = Journey::new(&rig.t.app, provider, CancellationToken::new()).unwrap();
    due_again(&rig).await;
    rig.read_all(&other).await;
    assert_eq!(asked(&rig, "/me").await, 2);
    let found = rig.check().await;
    assert!(found.clean, "{found:?}");
}

#[tokio::test]
async fn failed_bootstrap_is_judged_like_any_call() {
    let rig = Rig::new(ACCOUNT, 1).await;
    let busy = ResponseTemplate::new(429).insert_header("retry-after", "600");
    Mock::given(path("/me")).respond_with(busy).mount(&rig.cloud).await;
    assert_eq!(rig.start(&rig.journey).await, Some(1));
    rig.journey.land().await.unwrap();
    assert_eq!(kept(&rig).await, json!({"at": false, "of": {}}));
    let step = rig.journey.pull().await.unwrap();
    let text = format!("{step:?}");
    // The window is a second: what is told beyond it is tried again.
    assert!(text.starts_with("Idle(Some("), "{text}");

    // No object, no value, a list in the place of a text: nothing is kept, the jobs say why.
    let said_back = json!({"homes": [{"id": "as s3cret as can be"}], "plan": 3});
    for wrong in
        [json!([]), json!({"homes": [], "plan": 3}), json!({"homes": [{"id": ["7"]}], "plan": 3}), said_back]
    {
        let rig = Rig::new(ACCOUNT, 1).await;
        Mock::given(path("/me"))
            .respond_with(ResponseTemplate::new(200).set_body_json(&wrong))
            .mount(&rig.cloud)
            .await;
        assert_eq!(rig.start(&rig.journey).await, Some(1));
        rig.journey.land().await.unwrap();
        assert_eq!(kept(&rig).await, json!({"at": false, "of": {}}), "{wrong}");
        let sql = "SELECT last_error FROM jobs";
        let error: Option<String> = sqlx::query_scalar(sql).fetch_one(&rig.t.app.pool).await.unwrap();
        assert!(error.as_deref().is_some_and(|e| e.contains("values")), "{wrong}: {error:?}");
    }
}

#[tokio::test]
async fn wrong_region_is_corrected_by_the_response() {
    let rig = Rig::new(ACCOUNT, 1).await;
    me(&rig, "7", "s3cret", Duration::ZERO).await;
    let moved = ResponseTemplate::new(421).set_body_json(json!({"moved_to": "8"}));
    Mock::given(path("/homes/7/devices/d0")).respond_with(moved).mount(&rig.cloud).await;
    devices(&rig, "8", good()).await;
    rig.read_all(&rig.journey).await;
    assert_eq!(kept(&rig).await, json!({"at": true, "of": {"home": "8", "plan": "3"}}));
    assert_eq!(asked(&rig, "/me").await, 1);
}

#[tokio::test]
async fn new_secrets_clear_the_bootstrap_values() {
    let rig = Rig::new(ACCOUNT, 1).await;
    me(&rig, "7", "s3cret", Duration::ZERO).await;
    me(&rig, "9", "other", Duration::ZERO).await;
    devices(&rig, "7", good()).await;
    rig.read_all(&rig.journey).await;
    let app = &rig.t.app;
    let mut opened = connections::open(&app.pool, &app.sealer, &[rig.connection.0], false).await.unwrap();
    let before = opened.remove(0);
    let other = Secrets::only("other");
    paceline::preference::activation::reauthorise(
        &app.pool,
        &app.sealer,
        rig.t.tenant,
        rig.connection,
        &other,
    )
    .await
    .unwrap();
    assert_eq!(kept(&rig).await, json!({"at": false, "of": {}}));
    // What was asked with the former ones comes too late.
    let late = [("home".to_owned(), "7".to_owned())].into();
    let asked_at = app.clock.now();
    learned::learn(&app.pool, &before, &late, Some("as before"), asked_at).await.unwrap();
    assert_eq!(kept(&rig).await, json!({"at": false, "of": {}}));
    devices(&rig, "9", good()).await;
    keep::drain(app).await.unwrap();
    due_again(&rig).await;
    rig.read_all(&rig.journey).await;
    assert_eq!(kept(&rig).await["of"]["home"], "9");
}

#[tokio::test]
async fn failure_of_the_bootstrap_request_is_not_recorded_for_its_devices() {
    for status in [404, 304, 409] {
        let rig = Rig::new(ACCOUNT, 1).await;
        Mock::given(path("/me")).respond_with(ResponseTemplate::new(status)).mount(&rig.cloud).await;
        assert_eq!(rig.start(&rig.journey).await, Some(1));
        rig.journey.land().await.unwrap();
        assert_eq!(rig.value(rig.devices[0]).await, None);
        let (state, failing, error) = rig.standing(rig.devices[0]).await;
        let error = error.unwrap_or_default();
        assert_eq!((state.as_str(), failing), ("active", false), "{status}: {error}");
        assert!(error.contains("transient: its account could not be looked up"), "{status}: {error}");
    }
}

#[tokio::test]
async fn bootstrap_values_that_lead_calls_to_other_hosts_are_rejected() {
    let text = ACCOUNT
        .replace("\"{{ params.base_url }}\"", "\"{{ bootstrap.url | default(params.base_url) }}\"")
        .replace("values = \"{home: .homes[0].id, plan}\"", "values = \"{home: .home} + (.more // {})\"")
        .replace("learn = { home = \".moved_to\" }", "learn = { url = \".moved_to\" }");
    let rig = Rig::new(text.leak(), 1).await;
    let answers = [json!({"home": "7", "more": {"url": "https://evil.example.com"}}), json!({"home": "7"})];
    for (n, answer) in (1..).zip(answers) {
        let answer = ResponseTemplate::new(200).set_body_json(answer);
        Mock::given(path("/me"))
            .respond_with(answer)
            .up_to_n_times(1)
            .with_priority(n)
            .mount(&rig.cloud)
            .await;
    }
    let moved = ResponseTemplate::new(421).set_body_json(json!({"moved_to": "https://evil.example.com"}));
    Mock::given(path("/homes/7/devices/d0"))
        .respond_with(moved)
        .up_to_n_times(1)
        .with_priority(1)
        .mount(&rig.cloud)
        .await;
    devices(&rig, "7", good()).await;
    // The lookup fails, succeeds, and the call is refused once.
    while rig.value(rig.devices[0]).await.is_none() {
        rig.run_again().await;
        let mut left = rig.start(&rig.journey).await.unwrap_or(0);
        while left > 0 {
            left -= rig.journey.land().await.unwrap().ended;
        }
    }
    assert_eq!(asked(&rig, "/me").await, 2);
    assert_eq!(asked(&rig, "/homes/7/devices/d0").await, 2);
    assert_eq!(kept(&rig).await, json!({"at": true, "of": {"home": "7"}}));
}

#[tokio::test]
async fn discovery_whose_bootstrap_failed_waits_before_the_next_try() {
    let text = format!("{ACCOUNT}[discovery]\npath = \"/list\"\ndevices = \".[]\"\n");
    let rig = Rig::new(text.leak(), 0).await;
    Mock::given(path("/me")).respond_with(ResponseTemplate::new(500)).mount(&rig.cloud).await;
    let wanted = discovery::DiscoverRequest {
        provider: rig.t.app.registry.get(rig.provider).unwrap().clone(),
        tenant: rig.t.tenant,
        connection: rig.connection,
        timeout: Duration::from_secs(5),
        dry_run: false,
    };
    let error = discovery::discover(&rig.t.app, wanted).await.unwrap_err().to_string();
    assert!(error.contains("gave none: transient: HTTP 500"), "{error}");
    let sql = "SELECT discovery_error FROM connections WHERE discovery_at IS NOT NULL";
    let kept: Option<String> = sqlx::query_scalar(sql).fetch_one(&rig.t.app.pool).await.unwrap();
    assert_eq!(kept, Some(error));
    assert_eq!(asked(&rig, "/list").await, 0);
}

#[tokio::test]
async fn bootstrap_values_are_stored_although_the_caller_goes_away() {
    let text = format!("{ACCOUNT}[discovery]\npath = \"/list\"\ndevices = \".[]\"\n");
    let rig = Rig::new(text.leak(), 0).await;
    let asked_for = Arc::new(Notify::new());
    let notify = asked_for.clone();
    let values = json!({"homes": [{"id": "7"}], "plan": 3});
    let slow = ResponseTemplate::new(200).set_body_json(values).set_delay(Duration::from_millis(300));
    let respond = move |_: &wiremock::Request| {
        notify.notify_one();
        slow.clone()
    };
    Mock::given(path("/me")).respond_with(respond).mount(&rig.cloud).await;
    let request = discovery::DiscoverRequest {
        provider: rig.t.app.registry.get(rig.provider).unwrap().clone(),
        tenant: rig.t.tenant,
        connection: rig.connection,
        timeout: Duration::from_secs(5),
        dry_run: false,
    };
    let app = rig.t.app.clone();
    let caller = tokio::spawn(async move { discovery::discover(&app, request).await });
    asked_for.notified().await;
    caller.abort();
    rig.t.app.detached.close();
    rig.t.app.detached.wait().await;
    assert_eq!(kept(&rig).await, json!({"at": true, "of": {"home": "7", "plan": "3"}}));
    assert_eq!(asked(&rig, "/list").await, 0, "the list itself was not sent yet");
    let mut leases = redis::cmd("ZCARD");
    leases.arg(format!("{}leases", rig.t.app.keys.anchor(&rig.provider.parse().unwrap())));
    let leases: i64 = leases.query_async(&mut rig.t.app.redis.link()).await.unwrap();
    assert_eq!(leases, 0);
}

//! Changing a connection's secrets, and what is sealed beside them.

use crate::journey::{PATIENT, Rig, good};
use crate::redis_proxy::{Fault, RedisProxy, Verb};
use crate::support::server;
use paceline::preference::connections::{self, ConnectionRef};
use paceline::token::{self, Pending};
use paceline::words::{Connection, Granted, Secrets};
use paceline::{authorise, keep};
use secrecy::ExposeSecret;
use std::sync::Arc;
use wiremock::matchers::{header, method};
use wiremock::{Mock, ResponseTemplate};

/// Two secrets; its owner allows it.
const TWO: &str = r#"
title = "Two"
[http]
base_url = "{{ params.base_url }}"
[auth]
kind = "bearer"
[auth.oauth2]
flow = "code"
authorize_url = "{{ params.base_url }}/authorize/{{ params.realm | default('main') }}"
token_url = "{{ params.base_url }}/token"
client = "connection"
[resource.state]
interval_min = "1s"
interval_default = "1m"
path = "/devices/{{ device.external_id }}"
records = "{values: {t: .t}}"
"#;

fn secrets(all: &[(&str, &str)]) -> Secrets {
    all.iter().map(|(name, secret)| ((*name).to_owned(), (*secret).into())).collect()
}

fn found(rig: &Rig) -> ConnectionRef {
    ConnectionRef { id: rig.connection, provider: rig.provider.to_owned() }
}

async fn opened(rig: &Rig) -> Arc<Connection> {
    let app = &rig.t.app;
    Arc::new(connections::open_any(&app.pool, &app.sealer, rig.t.tenant, rig.connection).await.unwrap())
}

async fn rig(text: &'static str) -> Rig {
    let rig = Rig::new(text, 1).await;
    let app = &rig.t.app;
    let client = secrets(&[("client_id", "a"), ("client_secret", "b")]);
    paceline::preference::activation::reauthorise(
        &app.pool,
        &app.sealer,
        rig.t.tenant,
        rig.connection,
        &client,
    )
    .await
    .unwrap();
    rig
}

#[tokio::test]
async fn concurrent_changes_of_secrets_lose_nothing() {
    let rig = rig(TWO).await;
    for round in 0..20 {
        let text = format!("new-{round}");
        let change = async |name: &str| {
            let changed = secrets(&[(name, &text)]);
            authorise::renew_secrets(&rig.t.app, rig.t.tenant, &found(&rig), changed).await.unwrap()
        };
        let (one, other) = tokio::join!(change("client_id"), change("client_secret"));
        assert!(one.awaits_owner && other.awaits_owner);
        for (name, secret) in opened(&rig).await.secrets.iter() {
            assert_eq!(secret.expose_secret(), text, "{name}, round {round}");
        }
    }
    let state: String =
        sqlx::query_scalar("SELECT state FROM connections").fetch_one(&rig.t.app.pool).await.unwrap();
    assert_eq!(state, "needs_reauth");
}

#[tokio::test]
async fn empty_change_is_refused_and_ends_no_grant() {
    static OPERATORS: &str = concat!(
        "title = \"Operators\"\n[http]\nbase_url = \"{{ params.base_url }}\"\n[auth]\nkind = \"bearer\"\n",
        "[auth.oauth2]\nflow = \"code\"\nauthorize_url = \"{{ params.base_url }}/authorize\"\n",
        "token_url = \"{{ params.base_url }}/token\"\n[resource.state]\ninterval_min = \"1s\"\n",
        "interval_default = \"1m\"\npath = \"/devices\"\nrecords = \".\"\n",
    );
    for (text, says) in
        [(OPERATORS, "no secret was given"), (TWO, "needs the secret client_id and the secret")]
    {
        let rig = rig(text).await;
        let app = &rig.t.app;
        let granted = Granted { access: "a".into(), refresh: Some("r".into()), lifetime_ms: Some(3_600_000) };
        let now = app.clock.now();
        paceline::preference::activation::allow(&app.pool, &app.sealer, &*opened(&rig).await, &granted, now)
            .await
            .unwrap();
        let refused = authorise::renew_secrets(app, rig.t.tenant, &found(&rig), Secrets::default()).await;
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
        assert_eq!(opened(&rig).await.token.as_ref().unwrap().access.expose_secret(), "a");
        let state: String =
            sqlx::query_scalar("SELECT state FROM connections").fetch_one(&app.pool).await.unwrap();
        assert_eq!(state, "active");
    }
}

#[tokio::test]
async fn expired_authorization_does_not_block_key_rotation() {
    let rig = rig(TWO).await;
    let app = &rig.t.app;
    let (tenant, connection) = (rig.t.tenant, rig.connection);
    let pending =
        Pending { tenant, connection, verifier: None, redirect_url: String::new(), url: String::new() };
    let until = app.clock.now().plus_ms(-1);
    token::wait_for(&app.pool, &app.sealer, &"late".into(), &pending, until).await.unwrap();
    sqlx::query("UPDATE authorisations SET sealed = '\\x0102'").execute(&app.pool).await.unwrap();
    let resealed = authorise::reseal(app, |_| ()).await.unwrap();
    assert!(resealed.unopenable.is_empty() && resealed.left == 0, "{resealed:?}");
    let left: i64 =
        sqlx::query_scalar("SELECT count(*) FROM authorisations").fetch_one(&app.pool).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn authorization_url_sees_no_secrets() {
    static TELLING: &str = concat!(
        "title = \"Telling\"\n[http]\nbase_url = \"{{ params.base_url }}\"\n[auth]\nkind = \"bearer\"\n",
        "[auth.oauth2]\nflow = \"code\"\nauthorize_url = \"https://example.com/{{ secrets.client_secret }}\"\n",
        "token_url = \"{{ params.base_url }}/token\"\nclient = \"connection\"\n[resource.state]\n",
        "interval_min = \"1s\"\ninterval_default = \"1m\"\npath = \"/devices\"\nrecords = \".\"\n",
    );
    for (text, is_good) in [(TWO, true), (TELLING, false)] {
        let mut rig = rig(text).await;
        rig.t.app.settings.http.public_url = "https://paceline.example.com".to_owned();
        let app = &rig.t.app;
        let provider = app.registry.get(rig.provider).unwrap();
        let started = authorise::begin(app, provider, &*opened(&rig).await).await;
        assert_eq!(started.is_ok(), is_good, "{started:?}");
    }
}

async fn state(rig: &Rig) -> String {
    sqlx::query_scalar("SELECT state FROM connections").fetch_one(&rig.t.app.pool).await.unwrap()
}

async fn give(rig: &Rig, secret: &str) {
    let new = Secrets::only(secret);
    authorise::renew_secrets(&rig.t.app, rig.t.tenant, &found(rig), new).await.unwrap();
}

/// A rig whose connection has been refused once; its cloud accepts the secret `better` alone.
async fn refused_once(redis_url: &str) -> Rig {
    let rig = Rig::at(redis_url, PATIENT, 1, "1h").await;
    let bearer = header("authorization", "Bearer better");
    Mock::given(bearer).respond_with(good(1.0)).with_priority(1).mount(&rig.cloud).await;
    Mock::given(method("GET")).respond_with(ResponseTemplate::new(401)).mount(&rig.cloud).await;
    rig.land(1).await;
    assert_eq!(state(&rig).await, "active");
    rig
}

/// Without a check: its repair would hide a job that was lost.
async fn runs_with_the_new_secret(rig: &Rig) {
    assert!(rig.location(rig.devices[0]).await.is_sound());
    rig.land(1).await;
    assert_eq!(rig.value(rig.devices[0]).await.unwrap().0, serde_json::json!({"t": 1.0}));
    assert_eq!(state(rig).await, "active");
    assert!(rig.check().await.clean);
}

#[tokio::test]
async fn secrets_saved_during_the_second_refusal_keep_the_jobs() {
    for is_drained_first in [true, false] {
        let rig = refused_once(&server("PACELINE_TEST_REDIS_URL")).await;
        assert_eq!(rig.start(&rig.journey).await, Some(1));
        rig.asked(2).await;
        give(&rig, "better").await;
        if is_drained_first {
            keep::drain(&rig.t.app).await.unwrap();
        }
        rig.journey.land().await.unwrap();
        assert_eq!(state(&rig).await, "active");
        keep::drain(&rig.t.app).await.unwrap();
        runs_with_the_new_secret(&rig).await;
    }
}

#[tokio::test]
async fn secrets_saved_between_the_mark_and_the_settle_keep_the_jobs() {
    let redis_url = server("PACELINE_TEST_REDIS_URL");
    let proxy = RedisProxy::to(&redis_url).await;
    let rig = refused_once(&proxy.url).await;
    // Another process, past the proxy, tells the schedule of the new secrets.
    let other = rig.t.app_at(&redis_url).await;
    assert_eq!(rig.start(&rig.journey).await, Some(1));
    proxy.inject(Verb::Settle, Fault::Hold);
    let save = async {
        proxy.until_held().await;
        assert_eq!(state(&rig).await, "needs_reauth");
        give(&rig, "better").await;
        keep::drain(&other).await.unwrap();
        proxy.release();
    };
    let (landed, ()) = tokio::join!(rig.journey.land(), save);
    landed.unwrap();
    runs_with_the_new_secret(&rig).await;
}

#[tokio::test]
async fn first_refusal_of_new_secrets_is_retried() {
    let rig = refused_once(&server("PACELINE_TEST_REDIS_URL")).await;
    assert_eq!(rig.start(&rig.journey).await, Some(1));
    rig.asked(2).await;
    give(&rig, "wrong too").await;
    keep::drain(&rig.t.app).await.unwrap();
    rig.journey.land().await.unwrap();
    rig.land(1).await;
    assert_eq!(state(&rig).await, "active");
    rig.land(1).await;
    assert_eq!(state(&rig).await, "needs_reauth");
}

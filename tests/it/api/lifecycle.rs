//! Connections through the API, over their whole life: renamed, paused, tested, closed, opened again, erased.

use super::*;
use crate::journey::{Rig, SINGLE, anonymous};
use paceline::keep;
use paceline::words::JobId;
use wiremock::ResponseTemplate;

/// One request with a key.
pub(super) async fn ask(
    router: &Router,
    method: &str,
    path: &str,
    key: &str,
    body: Option<Value>,
) -> Response {
    let request = request(method, path).header(header::AUTHORIZATION, bearer(key));
    match body {
        Some(body) => {
            let request = request.header(header::CONTENT_TYPE, "application/json");
            send(router, request, Body::from(body.to_string())).await
        }
        None => send(router, request, Body::empty()).await,
    }
}

async fn scheduled(rig: &Rig) -> usize {
    let provider = rig.provider.parse().unwrap();
    rig.t.app.queue.ids(&provider, JobId(1_000)).await.unwrap().len()
}

#[tokio::test]
async fn paused_connection_makes_no_calls_until_it_is_resumed() {
    let rig = Rig::new(SINGLE, 2).await;
    rig.answer(anonymous(21.0)).await;
    rig.land(2).await;
    let (router, user, reader) =
        (http::router(rig.t.app.clone()), rig.t.key(Role::User).await, rig.t.key(Role::Reader).await);
    let path = format!("/v1/connections/{}", rig.connection);
    let pause = |paused: bool| ask(&router, "PATCH", &path, &user, Some(json!({"paused": paused})));
    let refused = ask(&router, "PATCH", &path, &reader, Some(json!({"paused": true}))).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);

    let paused = pause(true).await;
    assert_eq!((paused.status, &paused.body["state"]), (StatusCode::OK, &json!("paused")), "{paused:?}");
    assert_eq!(scheduled(&rig).await, 0);
    assert!(rig.check().await.clean);
    // The values stay, and the view says why no new ones come.
    let device = rig.devices[0];
    let shown = ask(&router, "GET", &format!("/v1/devices/{device}?with=turn"), &reader, None).await;
    let state = &shown.body["resources"]["state"];
    assert_eq!(state["values"]["t"], 21.0);
    let said = state.to_string();
    assert!(said.contains("connection \\\"main\\\" is paused by its owner"), "{said}");
    let refused = refresh(&router, device, "state", &user).await;
    assert_eq!((refused.status, refused.problem()), (StatusCode::CONFLICT, "connection-paused"));
    let refused = ask(&router, "POST", &format!("{path}/test"), &user, None).await;
    assert_eq!((refused.status, refused.problem()), (StatusCode::CONFLICT, "connection-paused"));
    assert!(refused.detail().contains("is paused"), "{}", refused.detail());
    // It is a person's word: what a late call brought, and new secrets, do not resume it.
    paceline::preference::refusals::restore(&rig.t.app.pool, &[rig.connection.0]).await.unwrap();
    paceline::preference::refusals::needs_reauth(&rig.t.app.pool, rig.connection, "HTTP 401", 1)
        .await
        .unwrap();
    let secrets = json!({"secrets": {"secret": "another"}});
    let stored = ask(&router, "PUT", &format!("{path}/secrets"), &user, Some(secrets)).await;
    assert_eq!(stored.status, StatusCode::OK, "{}", stored.body);
    keep::drain(&rig.t.app).await.unwrap();
    assert_eq!(
        (ask(&router, "GET", &path, &reader, None).await.body["state"].clone(), scheduled(&rig).await),
        (json!("paused"), 0)
    );
    let lag = ask(&router, "GET", "/v1/lag", &reader, None).await;
    assert!(!lag.body.to_string().contains("signed_out"), "{}", lag.body);

    assert_eq!(pause(false).await.body["state"], "active");
    assert_eq!(scheduled(&rig).await, 2);
    assert!(rig.check().await.clean);
    // Nothing happens twice.
    assert_eq!(pause(false).await.body["state"], "active");
}

#[tokio::test]
async fn connection_is_renamed_and_its_devices_show_it() {
    let api = Api::with_devices(1).await;
    let (user, device) = (api.test.key(Role::User).await, api.devices[0]);
    api.test.connect("testcloud", "attic", "http://cloud.invalid").await;
    let list = api.get("/v1/connections", &user).await;
    let of = |label: &str| {
        let all = list.body["connections"].as_array().unwrap().iter();
        all.clone().find(|one| one["label"] == label).unwrap()["id"].as_i64().unwrap()
    };
    let path = format!("/v1/connections/{}", of("home"));
    api.get(&format!("/v1/devices/{device}"), &user).await;
    let rename = |label: &str| ask(&api.router, "PATCH", &path, &user, Some(json!({ "label": label })));
    assert_eq!(rename("attic").await.problem(), "label-taken");
    for bad in ["", "  ", "17", &"x".repeat(300), "a\u{1b}[2Jb"] {
        assert_eq!(rename(bad).await.problem(), "bad-label", "{bad:?}");
    }
    let nothing = ask(&api.router, "PATCH", &path, &user, Some(json!({}))).await;
    assert_eq!(nothing.problem(), "nothing-asked");
    let renamed = rename(" cabin ").await;
    assert_eq!((renamed.status, &renamed.body["label"]), (StatusCode::OK, &json!("cabin")));
    let shown = api.get(&format!("/v1/devices/{device}"), &user).await;
    assert_eq!(shown.body["connection"], "cabin");
    let (_, _, foreign) = api.stranger(Role::User).await;
    for (method, body) in [("GET", None), ("PATCH", Some(json!({"label": "mine"})))] {
        assert_eq!(ask(&api.router, method, &path, &foreign, body).await.problem(), "no-such-connection");
    }
}

#[tokio::test]
async fn connection_is_tested_by_one_call() {
    let rig = Rig::new(SINGLE, 1).await;
    let (router, user) = (http::router(rig.t.app.clone()), rig.t.key(Role::User).await);
    let path = format!("/v1/connections/{}", rig.connection);
    let path_test = format!("{path}/test");
    let test = || ask(&router, "POST", &path_test, &user, None);
    rig.answer(anonymous(21.0)).await;
    let works = test().await;
    assert_eq!(works.status, StatusCode::OK, "{}", works.body);
    assert_eq!(
        (&works.body["works"], &works.body["asked"], &works.body["outcome"]),
        (&json!(true), &json!("device"), &json!("fresh"))
    );
    assert_eq!(rig.value(rig.devices[0]).await, None, "a test stores no reading");
    rig.cloud.reset().await;
    rig.answer(ResponseTemplate::new(401).set_body_string("key expired")).await;
    let refused = test().await;
    assert_eq!((&refused.body["works"], &refused.body["outcome"]), (&json!(false), &json!("unauthorized")));
    assert!(refused.body["reason"].as_str().unwrap().contains("401"), "{}", refused.body);
    // A credential that was refused before is tested, too, and the connection is active again if it works.
    paceline::preference::refusals::needs_reauth(&rig.t.app.pool, rig.connection, "HTTP 401", 1)
        .await
        .unwrap();
    rig.cloud.reset().await;
    rig.answer(anonymous(21.0)).await;
    let works = test().await;
    assert_eq!(works.body["works"], true, "{}", works.body);
    assert_eq!(ask(&router, "GET", &path, &user, None).await.body["state"], "active");
}

#[tokio::test]
async fn closed_connection_keeps_its_history_and_none_of_its_secrets() {
    let rig = Rig::new(SINGLE, 1).await;
    rig.answer(anonymous(21.0)).await;
    rig.land(1).await;
    let (router, user) = (http::router(rig.t.app.clone()), rig.t.key(Role::User).await);
    let path = format!("/v1/connections/{}", rig.connection);
    // As of a connection whose calls carry tokens, one of which is being renewed.
    sqlx::query(
        "INSERT INTO tokens (tenant_id, connection_id, sealed, generation, renewing_until)
         VALUES ($1, $2, 'sealed', 4, now() + interval '1 minute')",
    )
    .bind(rig.t.tenant.0)
    .bind(rig.connection.0)
    .execute(&rig.t.app.pool)
    .await
    .unwrap();
    let (pool, sealer) = (&rig.t.app.pool, &rig.t.app.sealer);
    // What becomes of the history is asked, not assumed.
    for query in ["", "?history=maybe", "?history="] {
        let refused = ask(&router, "DELETE", &format!("{path}{query}"), &user, None).await;
        assert_eq!((refused.status, refused.problem()), (StatusCode::BAD_REQUEST, "bad-query"));
        assert!(refused.detail().contains("history"), "{}", refused.detail());
    }
    sqlx::query("UPDATE tokens SET sealed = NULL").execute(pool).await.unwrap();
    let authorizing = paceline::preference::connections::open_any(pool, sealer, rig.t.tenant, rig.connection)
        .await
        .unwrap();
    sqlx::query("UPDATE tokens SET sealed = 'sealed'").execute(pool).await.unwrap();
    let closed = ask(&router, "DELETE", &format!("{path}?history=keep"), &user, None).await;
    assert_eq!(closed.status, StatusCode::OK, "{}", closed.body);
    assert_eq!(closed.body, json!({"history": "keep", "devices": 0, "jobs": 0, "readings": 0}));
    let left: (bool, i64, i64) = sqlx::query_as(
        "SELECT secret_sealed IS NULL,
                (SELECT count(*) FROM tokens WHERE sealed IS NOT NULL OR renewing_until IS NOT NULL OR generation < 5),
                (SELECT count(*) FROM readings) FROM connections",
    )
    .fetch_one(&rig.t.app.pool)
    .await
    .unwrap();
    assert_eq!(left, (true, 0, 1));
    assert_eq!(scheduled(&rig).await, 0);
    assert!(rig.check().await.clean);
    let device = rig.devices[0];
    let shown = ask(&router, "GET", &format!("/v1/devices/{device}?with=turn"), &user, None).await;
    assert_eq!(shown.body["resources"]["state"]["values"]["t"], 21.0);
    assert!(shown.body.to_string().contains("is closed"), "{}", shown.body);
    let history = format!("/v1/devices/{device}/readings?resource=state");
    let history = ask(&router, "GET", &history, &user, None).await;
    assert_eq!(history.body["points"].as_array().unwrap().len(), 1, "{}", history.body);
    let refused = ask(&router, "PATCH", &path, &user, Some(json!({"paused": false}))).await;
    assert_eq!((refused.status, refused.problem()), (StatusCode::CONFLICT, "connection-closed"));
    // An authorization that began before opens nothing.
    let granted =
        paceline::words::Granted { access: "late".to_owned().into(), refresh: None, lifetime_ms: None };
    let now = rig.t.app.clock.now();
    let late = paceline::preference::activation::allow(pool, sealer, &authorizing, &granted, now).await;
    assert!(late.unwrap_err().to_string().contains("was changed or closed"));
    assert_eq!(ask(&router, "GET", &path, &user, None).await.body["state"], "closed");
    // New secrets open it again, and what its jobs asked for holds.
    let secrets = json!({"secrets": {"secret": "another"}});
    let opened = ask(&router, "PUT", &format!("{path}/secrets"), &user, Some(secrets)).await;
    assert_eq!(opened.status, StatusCode::OK, "{}", opened.body);
    keep::drain(&rig.t.app).await.unwrap();
    assert_eq!(ask(&router, "GET", &path, &user, None).await.body["state"], "active");
    assert_eq!(scheduled(&rig).await, 1);
}

#[tokio::test]
async fn erased_connection_leaves_nothing_behind() {
    let rig = Rig::new(SINGLE, 2).await;
    rig.answer(anonymous(21.0)).await;
    rig.land(2).await;
    let app = &rig.t.app;
    paceline::read::refresh(app, rig.t.tenant, &rig.devices).await.unwrap();
    let (router, user) = (http::router(app.clone()), rig.t.key(Role::User).await);
    let path = format!("/v1/connections/{}", rig.connection);
    let erased = ask(&router, "DELETE", &format!("{path}?history=erase"), &user, None).await;
    assert_eq!(erased.body, json!({"history": "erase", "devices": 2, "jobs": 2, "readings": 2}));
    let left: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM connections) + (SELECT count(*) FROM devices) + (SELECT count(*) FROM jobs)
              + (SELECT count(*) FROM latest) + (SELECT count(*) FROM readings) + (SELECT count(*) FROM sync_events)
              + (SELECT count(*) FROM removed_devices) + (SELECT count(*) FROM tokens)",
    )
    .fetch_one(&app.pool)
    .await
    .unwrap();
    assert_eq!(left, 0);
    let cached = app.cache.get(rig.t.tenant, &rig.devices).await.unwrap();
    assert!(cached.iter().all(|fields| fields.is_empty()), "{cached:?}");
    assert_eq!(scheduled(&rig).await, 0);
    for method in ["GET", "DELETE"] {
        let path = format!("{path}?history=erase");
        let path = if method == "GET" { path.split('?').next().unwrap() } else { &path };
        assert_eq!(ask(&router, method, path, &user, None).await.problem(), "no-such-connection");
    }
}

#[tokio::test]
async fn device_is_renamed_and_removed() {
    let api = Api::with_devices(2).await;
    let user = api.test.key(Role::User).await;
    let (_, _, foreign) = api.stranger(Role::User).await;
    let path = format!("/v1/devices/{}", api.devices[0]);
    api.record(api.devices[0], 1_000, json!({"t": 1})).await;
    api.get(&path, &user).await;
    let renamed = ask(&api.router, "PATCH", &path, &user, Some(json!({"name": "Stue <b>"}))).await;
    assert_eq!((renamed.status, &renamed.body["name"]), (StatusCode::OK, &json!("Stue <b>")));
    assert_eq!(api.get(&path, &user).await.body["name"], "Stue <b>");
    let refused = ask(&api.router, "PATCH", &path, &user, Some(json!({"name": "a\u{202e}b"}))).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.body);
    assert_eq!(ask(&api.router, "PATCH", &path, &user, Some(json!({}))).await.problem(), "nothing-asked");
    let foreigner = ask(&api.router, "PATCH", &path, &foreign, Some(json!({"name": "x"}))).await;
    assert_eq!(foreigner.problem(), "no-such-device");
    for query in ["", "?history=keep"] {
        let refused = ask(&api.router, "DELETE", &format!("{path}{query}"), &user, None).await;
        assert_eq!(refused.problem(), "bad-query", "{query}");
    }
    let erase = format!("{path}?history=erase");
    assert_eq!(ask(&api.router, "DELETE", &erase, &foreign, None).await.problem(), "no-such-device");
    let erased = ask(&api.router, "DELETE", &erase, &user, None).await;
    assert_eq!(erased.body, json!({"devices": 1, "jobs": 1, "readings": 1}));
    assert_eq!(ask(&api.router, "DELETE", &erase, &user, None).await.problem(), "no-such-device");
    assert_eq!(api.get(&path, &user).await.status, StatusCode::NOT_FOUND);
}

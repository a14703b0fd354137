//! Every endpoint, asked without a key, with a key of each role, and by a user of another tenant.

use super::*;
use std::collections::BTreeSet;

/// Method, path, body; then the status without a key, for a reader, a user and an operator of the tenant, and for a
/// user of another tenant. `{d}`, `{c}`, `{r}` and `{w}` are a device, a connection, a refresh and a webhook of the
/// tenant.
type Row = (&'static str, &'static str, Option<&'static str>, [u16; 5]);

const TABLE: &[Row] = &[
    // Needs no key.
    ("GET", "/healthz", None, [200; 5]),
    ("GET", "/readyz", None, [200; 5]),
    ("GET", "/v1/authorize/start", None, [400; 5]),
    ("POST", "/v1/authorize/start", None, [400; 5]),
    ("GET", "/v1/authorize/callback", None, [400; 5]),
    // Of all tenants, or of one's own.
    ("GET", "/v1/providers", None, [401, 200, 200, 200, 200]),
    ("GET", "/v1/providers/testcloud", None, [401, 200, 200, 200, 200]),
    ("GET", "/v1/connections", None, [401, 200, 200, 200, 200]),
    ("GET", "/v1/devices", None, [401, 200, 200, 200, 200]),
    ("GET", "/v1/stream", None, [401, 200, 200, 200, 200]),
    ("GET", "/v1/lag", None, [401, 200, 200, 200, 200]),
    ("GET", "/v1/plan", None, [401, 200, 200, 200, 200]),
    ("PATCH", "/v1/jobs?dry_run=true", Some(r#"{"paused":false}"#), [401, 403, 200, 200, 200]),
    ("POST", "/v1/connections", Some("{}"), [401, 403, 422, 422, 422]),
    ("GET", "/v1/webhooks", None, [401, 403, 200, 200, 200]),
    ("POST", "/v1/webhooks", Some("{}"), [401, 403, 422, 422, 422]),
    // Of the tenant: there is no such thing for others.
    ("GET", "/v1/devices/{d}", None, [401, 200, 200, 200, 404]),
    ("GET", "/v1/devices/{d}/readings?resource=state", None, [401, 200, 200, 200, 404]),
    (
        "POST",
        "/v1/readings/query",
        Some(r#"{"devices":[{d}],"resource":"state","step":"1h"}"#),
        [401, 200, 200, 200, 404],
    ),
    ("GET", "/v1/devices/{d}/jobs/state", None, [401, 200, 200, 200, 404]),
    ("PUT", "/v1/devices/{d}/jobs/state", Some(r#"{"paused":false}"#), [401, 403, 200, 200, 404]),
    ("DELETE", "/v1/devices/{d}/jobs/state", None, [401, 403, 200, 200, 404]),
    ("GET", "/v1/connections/{c}/preferences", None, [401, 200, 200, 200, 404]),
    ("PUT", "/v1/connections/{c}/preferences/state", Some(r#"{"interval":"1m"}"#), [401, 403, 200, 200, 404]),
    // The user's request has removed it.
    ("DELETE", "/v1/connections/{c}/preferences/state", None, [401, 403, 200, 404, 404]),
    ("POST", "/v1/devices/{d}/jobs/state/refresh", None, [401, 403, 202, 202, 404]),
    ("POST", "/v1/refreshes", Some(r#"{"devices":[{d}]}"#), [401, 403, 202, 202, 404]),
    ("GET", "/v1/refreshes/{r}", None, [401, 200, 200, 200, 404]),
    ("GET", "/v1/export", None, [401, 403, 200, 200, 200]),
    ("PATCH", "/v1/devices/{d}", Some(r#"{"name":"n"}"#), [401, 403, 200, 200, 404]),
    ("DELETE", "/v1/devices/{d}", None, [401, 403, 400, 400, 400]),
    ("GET", "/v1/connections/{c}", None, [401, 200, 200, 200, 404]),
    ("PATCH", "/v1/connections/{c}", Some(r#"{"paused":false}"#), [401, 403, 200, 200, 404]),
    ("DELETE", "/v1/connections/{c}", None, [401, 403, 400, 400, 400]),
    ("POST", "/v1/connections/{c}/devices", Some(r#"{"external_id":"x"}"#), [401, 403, 200, 200, 404]),
    ("POST", "/v1/connections/{c}/test", None, [401, 403, 200, 200, 404]),
    ("PUT", "/v1/connections/{c}/secrets", Some(r#"{"secrets":{"token":"t"}}"#), [401, 403, 422, 422, 404]),
    ("PUT", "/v1/connections/{c}/plan", Some(r#"{"plan":"x"}"#), [401, 403, 422, 422, 404]),
    ("POST", "/v1/connections/{c}/authorize", Some("{}"), [401, 403, 409, 409, 404]),
    ("POST", "/v1/connections/{c}/discover", None, [401, 403, 409, 409, 404]),
    ("GET", "/v1/webhooks/{w}", None, [401, 403, 200, 200, 404]),
    ("PATCH", "/v1/webhooks/{w}", Some(r#"{"enabled":true}"#), [401, 403, 200, 200, 404]),
    ("POST", "/v1/webhooks/{w}/rotate", None, [401, 403, 200, 200, 404]),
    ("POST", "/v1/webhooks/{w}/test", None, [401, 403, 200, 200, 404]),
    ("POST", "/v1/webhooks/{w}/replay", Some(r#"{"since":"1-0"}"#), [401, 403, 200, 200, 404]),
    // The operator's key finds it deleted by the user's.
    ("DELETE", "/v1/webhooks/{w}", None, [401, 403, 204, 404, 404]),
];

/// The status of a response, whose body may have no end.
async fn status(
    router: &Router,
    (method, path, body): (&str, &str, Option<String>),
    key: Option<&str>,
) -> u16 {
    let mut request = request(method, path);
    if let Some(key) = key {
        request = request.header(header::AUTHORIZATION, bearer(key));
    }
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let request = request.body(Body::from(body.unwrap_or_default())).unwrap();
    router.clone().oneshot(request).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn every_endpoint_answers_each_role_and_other_tenants_as_it_should() {
    let api = Api::with_devices(1).await;
    paceline::keep::rebuild_if_lost(api.app(), &"testcloud".parse().unwrap()).await.unwrap();
    let [reader, user, operator] = [Role::Reader, Role::User, Role::Operator];
    let (reader, user, operator) =
        (api.test.key(reader).await, api.test.key(user).await, api.test.key(operator).await);
    let (_, _, foreign) = api.stranger(Role::User).await;
    let keys = [None, Some(&reader), Some(&user), Some(&operator), Some(&foreign)];
    let device = api.devices[0];
    let refresh = api.refresh(device, "state", &user).await.body["refresh"].as_i64().unwrap();
    let connection: i64 = sqlx::query_scalar("SELECT connection_id FROM devices WHERE device_id = $1")
        .bind(device.0)
        .fetch_one(&api.app().pool)
        .await
        .unwrap();
    let (tenant, url) = (api.test.tenant, "https://host.invalid/");
    let (webhook, _) =
        paceline::webhook::create(api.app(), tenant, "", url, Default::default()).await.unwrap();
    let webhook = webhook.id;
    let named = |text: &str| {
        let text = text.replace("{d}", &device.to_string()).replace("{c}", &connection.to_string());
        text.replace("{r}", &refresh.to_string()).replace("{w}", &webhook.to_string())
    };
    let mut wrong = Vec::new();
    for (method, path, body, expected) in TABLE {
        let (own, body) = (named(path), body.map(named));
        let mut found = [0; 5];
        for (found, key) in found.iter_mut().zip(keys) {
            *found = status(&api.router, (method, &own, body.clone()), key.map(String::as_str)).await;
        }
        if found != *expected {
            wrong.push(format!("{method} {path}: {found:?} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_endpoint_is_in_the_table() {
    let described: Value = serde_json::from_str(&http::document()).unwrap();
    let described: BTreeSet<_> = described["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(move |method| (method.to_uppercase(), segments(path)))
        })
        .collect();
    let listed: BTreeSet<_> = TABLE
        .iter()
        .map(|(method, path, ..)| ((*method).to_owned(), segments(path.split('?').next().unwrap())))
        .collect();
    assert_eq!(listed, described);
}

/// The path with its parameters, and the values that stand for them, left out.
fn segments(path: &str) -> String {
    let names = ["testcloud", "state"];
    let segment = |segment: &str| match segment.starts_with('{') || names.contains(&segment) {
        true => "{}".to_owned(),
        false => segment.to_owned(),
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

//! Connections through the API: checked as on the command line, and returned without secrets.

use super::*;

const KEYED: &str = r#"
title = "Keyed"
[http]
base_url = "https://api.example.com"
[auth]
kind = "basic"
[[auth.key]]
query = "app"
operator = "app_key"
[resource.state]
interval_min = "10s"
interval_default = "1m"
path = "/devices/{{ device.external_id }}"
records = "{values: {t: .t}}"
"#;

/// A provider whose calls may go to private networks.
const INNER: &str = r#"
title = "Inner"
[http]
base_url = "{{ params.base_url }}"
[resource.state]
interval_min = "10s"
interval_default = "1m"
path = "/devices/{{ device.external_id }}"
records = "{values: {t: .t}}"
"#;

async fn post(router: &Router, key: &str, body: Value) -> Response {
    let request = request("POST", "/v1/connections")
        .header(header::AUTHORIZATION, bearer(key))
        .header(header::CONTENT_TYPE, "application/json");
    send(router, request, Body::from(body.to_string())).await
}

#[tokio::test]
async fn connections_are_added_listed_and_given_new_secrets() {
    let with_key = |settings: &mut paceline::settings::Settings| {
        let given = json!({"keyed": {"app_key": "of the operator"}});
        settings.provider = serde_json::from_value(given).unwrap();
        settings.providers.private_networks = ["inner".to_owned()].into_iter().collect();
    };
    let test = TestApp::with_settings(&[("keyed", KEYED), ("inner", INNER)], with_key).await;
    let router = http::router(test.app.clone());
    let (user, reader) = (test.key(Role::User).await, test.key(Role::Reader).await);
    let account = |secrets: Value| json!({"provider": "keyed", "label": "home", "secrets": secrets});
    let both = json!({"username": "me", "password": SECRET});

    for (body, status, says) in [
        (account(json!({"username": "me"})), 422, "needs the secret password"),
        (
            account(json!({"username": "me", "password": SECRET, "pin": SECRET})),
            422,
            "takes no secret \"pin\"",
        ),
        (json!({"provider": "kyed", "label": "x"}), 422, "use one of inner, keyed"),
        (json!({"provider": "keyed", "label": " ", "secrets": both}), 422, "label: it is empty"),
        (json!({"provider": "keyed", "label": "x", "secret": SECRET}), 422, "unknown field"),
    ] {
        let refused = post(&router, &user, body.clone()).await;
        assert_eq!(refused.status.as_u16(), status, "{body}: {}", refused.detail());
        assert!(refused.detail().contains(says), "{says}: {}", refused.detail());
    }
    assert_eq!(post(&router, &reader, account(both.clone())).await.status, StatusCode::FORBIDDEN);
    let inwards = json!({"provider": "inner", "label": "x", "params": {"base_url": "http://10.0.0.5"}});
    assert_eq!(post(&router, &user, inwards).await.problem(), "private-provider");

    let added = post(&router, &user, account(both.clone())).await;
    assert_eq!((added.status, &added.body["awaits_owner"]), (StatusCode::CREATED, &json!(false)));
    let id = added.body["id"].as_i64().unwrap();
    assert_eq!(post(&router, &user, account(both.clone())).await.problem(), "label-taken");
    let list = send(
        &router,
        request("GET", "/v1/connections").header("authorization", bearer(&reader)),
        Body::empty(),
    );
    let list = list.await;
    assert_eq!(list.body["connections"][0]["label"], "home");
    assert_eq!(list.body["connections"][0]["state"], "active");

    // One secret is replaced, the other stays.
    let path = format!("/v1/connections/{id}/secrets");
    let renewed = put(&router, &path, &user, json!({"secrets": {"password": "s3cret-too"}})).await;
    assert_eq!(renewed.status, StatusCode::OK, "{}", renewed.body);
    let (pool, sealer) = (&test.app.pool, &test.app.sealer);
    let opened = connections::open(pool, sealer, &[id], false).await.unwrap().remove(0);
    let secrets: Vec<_> =
        opened.secrets.iter().map(|(name, secret)| (name, secret.expose_secret())).collect();
    assert_eq!(secrets, [("password", "s3cret-too"), ("username", "me")]);
    assert_eq!(
        put(&router, &path, &user, json!({"secrets": {"pin": "1"}})).await.problem(),
        "bad-connection"
    );
    let authorize =
        request("POST", &format!("/v1/connections/{id}/authorize")).header("authorization", bearer(&user));
    let refused = send(&router, authorize, Body::empty()).await;
    assert_eq!((refused.status, refused.problem()), (StatusCode::CONFLICT, "not-authorised"));
    assert!(refused.detail().contains("its secrets are all that it needs"), "{}", refused.detail());

    let stranger = tenants::ensure(pool, "stranger").await.unwrap();
    let who = keys::Principal { tenant: stranger, role: Role::Operator };
    let theirs = keys::create(pool, who, "theirs", None).await.unwrap().1;
    let theirs = theirs.expose_secret();
    let refused = put(&router, &path, theirs, json!({"secrets": {"password": "x"}})).await;
    assert_eq!((refused.status, refused.problem()), (StatusCode::NOT_FOUND, "no-such-connection"));
    let list = send(
        &router,
        request("GET", "/v1/connections").header("authorization", bearer(theirs)),
        Body::empty(),
    );
    assert_eq!(list.await.body["connections"], json!([]));
}

#[tokio::test]
async fn connections_show_their_plan_and_change_it() {
    let planned = KEYED.split("[auth]").next().unwrap().to_owned()
        + "[param.plan]\nabout = \"the plan\"\ndefault = \"free\"\n[[quota]]\nname = \"day\"\nscope = \"connection\"\n\
           amount = { free = 100, auto-assist = 20000 }\nwindow = \"1day\"\n"
        + "[resource.state]"
        + KEYED.split("[resource.state]").nth(1).unwrap();
    let plain = KEYED.split("[auth]").next().unwrap().to_owned()
        + "[resource.state]"
        + KEYED.split("[resource.state]").nth(1).unwrap();
    let open_to_all = |settings: &mut paceline::settings::Settings| {
        settings.providers.private_networks = Default::default();
    };
    let test = TestApp::with_settings(&[("planned", &planned), ("plain", &plain)], open_to_all).await;
    let router = http::router(test.app.clone());
    let (user, reader) = (test.key(Role::User).await, test.key(Role::Reader).await);
    let refused =
        post(&router, &user, json!({"provider": "planned", "label": "x", "params": {"plan": "pro"}})).await;
    assert_eq!((refused.status.as_u16(), refused.problem()), (422, "bad-connection"));
    assert!(
        refused.detail().contains("no plan \"pro\": it has auto-assist and free"),
        "{}",
        refused.detail()
    );

    let mut paths = Vec::new();
    for (provider, label, params) in [
        ("planned", "said", json!({"plan": "auto-assist"})),
        ("planned", "unsaid", json!({})),
        ("plain", "without", json!({})),
    ] {
        let added =
            post(&router, &user, json!({"provider": provider, "label": label, "params": params})).await;
        assert_eq!(added.status, StatusCode::CREATED, "{}", added.body);
        paths.push(format!("/v1/connections/{}/plan", added.body["id"]));
    }
    let moved = put(&router, &paths[1], &user, json!({"plan": "auto-assist"})).await;
    assert_eq!((moved.status, &moved.body), (StatusCode::OK, &json!({"plan": "auto-assist"})));
    let back = put(&router, &paths[0], &user, json!({"plan": "free"})).await;
    assert_eq!(back.status, StatusCode::OK);
    for (path, key, body, status, says) in [
        (&paths[0], &user, json!({"plan": "Free"}), 422, "it has auto-assist and free"),
        (&paths[0], &user, json!({"plan": ""}), 422, "it has auto-assist and free"),
        (&paths[0], &user, json!({}), 422, "plan"),
        (&paths[2], &user, json!({"plan": "free"}), 422, "its limits do not depend on a plan"),
        (&paths[0], &reader, json!({"plan": "free"}), 403, "role"),
        (&"/v1/connections/9999/plan".to_owned(), &user, json!({"plan": "free"}), 404, "9999"),
    ] {
        let refused = put(&router, path, key, body.clone()).await;
        assert_eq!(refused.status.as_u16(), status, "{body}: {}", refused.body);
        assert!(refused.detail().contains(says), "{body}: {}", refused.detail());
    }
    let list = request("GET", "/v1/connections").header("authorization", bearer(&reader));
    let list = send(&router, list, Body::empty()).await;
    let plans: Vec<_> =
        list.body["connections"].as_array().unwrap().iter().map(|row| row["plan"].clone()).collect();
    assert_eq!(plans, [json!("free"), json!("auto-assist"), json!(null)]);
}

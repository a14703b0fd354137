//! How much a tenant may have.

use super::*;
use paceline::preference::devices::TenantConnection;
use paceline::preference::discovered::{self, DeviceList};
use paceline::preference::discovery_claim;
use paceline::words::ListedDevice;

async fn post(router: &Router, key: &str, body: &Value) -> Response {
    let request = request("POST", "/v1/connections")
        .header(header::AUTHORIZATION, bearer(key))
        .header(header::CONTENT_TYPE, "application/json");
    send(router, request, Body::from(body.to_string())).await
}

fn account(label: &str) -> Value {
    json!({"provider": "testcloud", "label": label, "params": {"base_url": "http://cloud.invalid"}})
}

async fn with_limits(connections: u32, devices: u32) -> TestApp {
    TestApp::with_settings(&[("testcloud", PROVIDER)], |settings| {
        settings.providers.private_by_api = true;
        settings.tenant.connections_max = connections;
        settings.tenant.devices_max = devices;
    })
    .await
}

#[tokio::test]
async fn tenant_adds_no_more_connections_than_it_may_have_even_at_once() {
    let test = with_limits(3, 10).await;
    let (router, key) = (http::router(test.app.clone()), test.key(Role::User).await);
    test.connect("testcloud", "of the operator", "http://cloud.invalid").await;
    // So that all count before the first has added its own, unless they wait for each other.
    for sql in [
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.1); RETURN NEW; END $$",
        "CREATE TRIGGER slow BEFORE INSERT ON connections FOR EACH ROW EXECUTE FUNCTION slow()",
    ] {
        sqlx::query(sql).execute(&test.app.pool).await.unwrap();
    }
    let bodies: Vec<_> = (0..8).map(|n| account(&format!("home {n}"))).collect();
    let answers = futures::future::join_all(bodies.iter().map(|body| post(&router, &key, body))).await;
    let added = answers.iter().filter(|answer| answer.status == StatusCode::CREATED).count();
    assert_eq!(added, 2, "{answers:?}");
    let refused = answers.iter().find(|answer| answer.status != StatusCode::CREATED).unwrap();
    assert_eq!((refused.status, refused.problem()), (StatusCode::CONFLICT, "too-many-connections"));
    assert!(refused.detail().contains("you have 3 connections"), "{}", refused.detail());
    // The operator is not bound by it, and another tenant has a limit of its own.
    test.connect("testcloud", "one more of the operator", "http://cloud.invalid").await;
    let tenant = tenants::ensure(&test.app.pool, "stranger").await.unwrap();
    let (_, theirs) =
        keys::create(&test.app.pool, keys::Principal { tenant, role: Role::User }, "theirs", None)
            .await
            .unwrap();
    assert_eq!(post(&router, theirs.expose_secret(), &account("home")).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn values_and_params_have_a_limit_that_the_refusal_tells() {
    let test = with_limits(3, 10).await;
    let (router, key) = (http::router(test.app.clone()), test.key(Role::User).await);
    let mut long = account("home");
    long["params"]["base_url"] = "x".repeat(900_000).into();
    let mut many = account("home");
    many["params"] =
        (0..1000).map(|n| (format!("p{n}"), Value::from("x"))).collect::<serde_json::Map<_, _>>().into();
    for (body, says) in [(long, "at most 8192 are allowed"), (many, "1000 params were given, and at most 32")]
    {
        let refused = post(&router, &key, &body).await;
        assert_eq!((refused.status.as_u16(), refused.problem()), (422, "bad-connection"));
        assert!(refused.detail().contains(says), "{}", refused.detail());
    }
}

#[tokio::test]
async fn lists_of_devices_add_no_more_than_the_tenant_may_have_even_at_once() {
    let test = with_limits(9, 5).await;
    let app = &test.app;
    let mut lists = Vec::new();
    for label in ["one", "two", "three"] {
        let connection = test.connect("testcloud", label, "http://cloud.invalid").await;
        let account =
            TenantConnection { tenant: test.tenant, connection, provider: "testcloud".parse().unwrap() };
        let claim = discovery_claim::claim(&app.pool, test.tenant, connection).await.unwrap().unwrap();
        lists.push((account, claim));
    }
    let asked_at = discovered::now(&app.pool).await.unwrap();
    let devices: Vec<_> = ["a", "b", "c"]
        .map(|id| ListedDevice {
            external_id: id.to_owned(),
            name: String::new(),
            group: String::new(),
            model: String::new(),
            resources: None,
        })
        .into();
    let list = DeviceList { devices: &devices, id_prefix: "", asked_at, devices_max: 5 };
    let applied = lists.iter().map(|(account, claim)| async {
        discovered::apply(&app.pool, account, *claim, list, &|_| Vec::new(), &|_| None)
            .await
            .unwrap()
            .unwrap()
            .0
    });
    let applied = futures::future::join_all(applied).await;
    assert_eq!(applied.iter().map(|changes| changes.new.len()).sum::<usize>(), 5);
    assert_eq!(applied.iter().map(|changes| changes.left_out.len()).sum::<usize>(), 4);
    let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM devices").fetch_one(&app.pool).await.unwrap();
    assert_eq!(stored, 5);
    let rows = connections::list(&app.pool, test.tenant).await.unwrap();
    let told: Vec<_> = rows.iter().filter_map(|row| row.discovery_error.as_deref()).collect();
    assert!(told.iter().all(|why| why.contains("a tenant may have 5 devices")), "{told:?}");
    assert!(!told.is_empty());
    let preview = discovered::preview(&app.pool, &lists[0].0, list).await.unwrap();
    assert_eq!(preview.new.len(), 0);
}

//! Preferences of a whole connection, or of a home within it.

use super::lifecycle::ask;
use super::*;
use paceline::preference::import::{self, Row};

/// A connection with devices at home "Cabin" (d0, d1) and at none (d2, d3), all by the provider's defaults.
struct Defaults {
    test: TestApp,
    router: Router,
    user: String,
    account: devices::TenantConnection,
}

impl Defaults {
    async fn new() -> Self {
        let test = TestApp::with(&[("testcloud", PROVIDER)]).await;
        let connection = test.connect("testcloud", "home", "http://cloud.invalid").await;
        let provider = "testcloud".parse().unwrap();
        let account = devices::TenantConnection { tenant: test.tenant, connection, provider };
        let (router, user) = (http::router(test.app.clone()), test.key(Role::User).await);
        let rig = Self { test, router, user, account };
        for (id, group) in [("d0", "Cabin"), ("d1", "Cabin"), ("d2", ""), ("d3", "")] {
            rig.add(id, group).await;
        }
        rig
    }

    /// Adds or changes a device that asks for nothing, as a list of devices or an import does.
    async fn add(&self, id: &str, group: &str) {
        let provider = self.test.app.registry.get("testcloud").unwrap();
        let row = Row {
            external_id: id.to_owned(),
            name: id.to_owned(),
            group: group.to_owned(),
            jobs: Vec::new(),
        };
        let device = import::check(provider, "", row).unwrap();
        import::add(&self.test.app.pool, &self.account, vec![device], (provider, "")).await.unwrap();
    }

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Response {
        ask(&self.router, method, path, &self.user, body).await
    }

    fn path(&self, rest: &str) -> String {
        format!("/v1/connections/{}/preferences{rest}", self.account.connection)
    }

    /// Interval in force and origin of the `state` jobs, by device.
    async fn jobs(&self) -> Vec<(String, i64, String)> {
        sqlx::query_as(
            "SELECT d.external_id, j.interval_ms, j.origin FROM jobs j JOIN devices d USING (tenant_id, device_id)
             WHERE j.resource = 'state' ORDER BY d.external_id",
        )
        .fetch_all(&self.test.app.pool)
        .await
        .unwrap()
    }

    async fn expect(&self, expected: &[(i64, &str)]) {
        let found = self.jobs().await;
        let found: Vec<_> = found.iter().map(|(_, ms, origin)| (*ms / 1_000, origin.as_str())).collect();
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn nearest_preference_counts_and_is_named() {
    let rig = Defaults::new().await;
    rig.expect(&[(60, "provider"), (60, "provider"), (60, "provider"), (60, "provider")]).await;
    let set = rig.ask("PUT", &rig.path("/state"), Some(json!({"interval": "5m", "priority": "low"}))).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.body);
    assert_eq!(
        (&set.body["changed"], &set.body["own"], &set.body["group"]),
        (&json!(4), &json!(0), &Value::Null)
    );
    rig.expect(&[(300, "connection"), (300, "connection"), (300, "connection"), (300, "connection")]).await;
    rig.ask("PUT", &rig.path("/state?group=Cabin"), Some(json!({"interval": "2m"}))).await;
    rig.expect(&[(120, "group"), (120, "group"), (300, "connection"), (300, "connection")]).await;
    // One of its own counts more, also after the others change.
    let devices = rig.ask("GET", "/v1/devices", None).await.body["devices"].clone();
    let id = |name: &str| {
        let all = devices.as_array().unwrap();
        all.iter().find(|one| one["name"] == name).unwrap()["id"].as_i64().unwrap()
    };
    let job = |name: &str| format!("/v1/devices/{}/jobs/state", id(name));
    let own = rig.ask("PUT", &job("d0"), Some(json!({"interval": "30s"}))).await;
    assert_eq!(own.body["from"], "device", "{}", own.body);
    let group = rig.ask("PUT", &rig.path("/state?group=Cabin"), Some(json!({"interval": "3m"}))).await;
    assert_eq!((&group.body["changed"], &group.body["own"]), (&json!(1), &json!(1)), "{}", group.body);
    rig.expect(&[(30, "device"), (180, "group"), (300, "connection"), (300, "connection")]).await;
    assert_eq!(rig.ask("GET", &job("d1"), None).await.body["from"], "group");
    assert_eq!(rig.ask("GET", &job("d2"), None).await.body["priority"], "low");
    // Pausing says nothing of how often.
    let paused = rig.ask("PUT", &job("d2"), Some(json!({"paused": true}))).await;
    assert_eq!((&paused.body["from"], &paused.body["state"]), (&json!("connection"), &json!("paused")));
    // A device that comes later, or moves, follows what is nearest there.
    rig.add("d4", "Cabin").await;
    rig.add("d3", "Cabin").await;
    rig.expect(&[(30, "device"), (180, "group"), (300, "connection"), (180, "group"), (180, "group")]).await;
    // Out of a home, the connection's counts again; and so for a job that a change creates without saying how often.
    rig.add("d4", "").await;
    rig.expect(&[(30, "device"), (180, "group"), (300, "connection"), (180, "group"), (300, "connection")])
        .await;
    rig.ask("PUT", &rig.path("/energy"), Some(json!({"interval": "15m"}))).await;
    let created = rig.ask("PUT", &job("d0").replace("state", "energy"), Some(json!({"paused": false}))).await;
    assert_eq!((&created.body["from"], &created.body["interval"]), (&json!("connection"), &json!("15m")));
    rig.add("d4", "Cabin").await;
    // Given up, it follows; replaced, all do.
    let followed = rig.ask("DELETE", &job("d0"), None).await;
    assert_eq!((&followed.body["from"], &followed.body["interval"]), (&json!("group"), &json!("3m")));
    rig.ask("PUT", &job("d1"), Some(json!({"interval": "30s"}))).await;
    let replaced =
        rig.ask("PUT", &rig.path("/state?group=Cabin&replace=true"), Some(json!({"interval": "4m"}))).await;
    assert_eq!(
        (&replaced.body["changed"], &replaced.body["own"]),
        (&json!(4), &json!(0)),
        "{}",
        replaced.body
    );
    let listed = rig.ask("GET", &rig.path(""), None).await;
    let listed = listed.body["preferences"].as_array().unwrap().clone();
    let told: Vec<_> = listed.iter().map(|one| (&one["group"], &one["resource"], &one["interval"])).collect();
    let (none, cabin, state, energy) = (Value::Null, json!("Cabin"), json!("state"), json!("energy"));
    let (fifteen, five, four) = (json!("15m"), json!("5m"), json!("4m"));
    assert_eq!(told, [(&none, &energy, &fifteen), (&none, &state, &five), (&cabin, &state, &four)]);
    assert_eq!(listed[1]["priority"], "low");
    // Removed, the next nearest counts; without any, the provider's default.
    let removed = rig.ask("DELETE", &rig.path("/state?group=Cabin"), None).await;
    assert_eq!(removed.body, json!({"changed": 4, "own": 0}));
    rig.ask("DELETE", &rig.path("/state"), None).await;
    let all = vec![(60, "provider"); 5];
    rig.expect(&all).await;
    let again = rig.ask("DELETE", &rig.path("/state"), None).await;
    assert_eq!((again.status, again.problem()), (StatusCode::NOT_FOUND, "no-such-preference"));
    // The schedule and Postgres agree.
    paceline::keep::rebuild_if_lost(&rig.test.app, &rig.account.provider).await.unwrap();
    paceline::keep::drain(&rig.test.app).await.unwrap();
    assert!(paceline::keep::check(&rig.test.app, false).await.unwrap().clean);
}

#[tokio::test]
async fn connection_has_windows_too() {
    let rig = Defaults::new().await;
    let all_day = json!([{"from": "00:00", "to": "00:00", "interval": "30s"}]);
    let body = json!({"interval": "10m", "windows": all_day, "zone": "Europe/Oslo"});
    let set = rig.ask("PUT", &rig.path("/state"), Some(body)).await;
    assert_eq!(
        (&set.body["interval"], &set.body["zone"]),
        (&json!("10m"), &json!("Europe/Oslo")),
        "{}",
        set.body
    );
    rig.expect(&[(30, "connection"); 4]).await;
    rig.add("d4", "Cabin").await;
    rig.expect(&[(30, "connection"); 5]).await;
    let none = rig.ask("PUT", &rig.path("/state"), Some(json!({"windows": []}))).await;
    assert_eq!(none.body.get("windows"), None, "{}", none.body);
    rig.expect(&[(600, "connection"); 5]).await;
}

#[tokio::test]
async fn bad_preferences_of_connections_are_refused() {
    let rig = Defaults::new().await;
    for (path, body, status, problem) in [
        ("/state", json!({"interval": "1s"}), 422, "bad-interval"),
        ("/state", json!({"paused": true}), 400, "bad-query"),
        ("/state", json!({}), 422, "nothing-asked"),
        ("/humidity", json!({"interval": "5m"}), 404, "no-such-resource"),
        ("/state?group=Nowhere", json!({"interval": "5m"}), 404, "no-such-group"),
        ("/state?grup=x", json!({"interval": "5m"}), 400, "bad-query"),
        ("/state?group=%00", json!({"interval": "5m"}), 400, "bad-query"),
    ] {
        let refused = rig.ask("PUT", &rig.path(path), Some(body.clone())).await;
        assert_eq!((refused.status.as_u16(), refused.problem()), (status, problem), "{path} {body}");
    }
    rig.expect(&[(60, "provider"); 4]).await;
}

/// Without a preference at the connection, a device that leaves its home gets the provider's default again; and two
/// changes at once are both kept.
#[tokio::test]
async fn leaving_a_home_and_changing_at_once_lose_nothing() {
    let rig = Defaults::new().await;
    rig.ask("PUT", &rig.path("/state?group=Cabin"), Some(json!({"interval": "2m"}))).await;
    rig.expect(&[(120, "group"), (120, "group"), (60, "provider"), (60, "provider")]).await;
    rig.add("d0", "").await;
    rig.expect(&[(60, "provider"), (120, "group"), (60, "provider"), (60, "provider")]).await;
    let path = rig.path("/state");
    let (interval, priority) = futures::future::join(
        rig.ask("PUT", &path, Some(json!({"interval": "7m"}))),
        rig.ask("PUT", &path, Some(json!({"priority": "low"}))),
    )
    .await;
    assert!(interval.status.is_success() && priority.status.is_success());
    let listed = rig.ask("GET", &rig.path(""), None).await;
    let whole = &listed.body["preferences"][0];
    assert_eq!((&whole["interval"], &whole["priority"]), (&json!("7m"), &json!("low")), "{}", listed.body);
}

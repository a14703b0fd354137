//! The effective intervals that the API answers, before and after a change.

use super::*;
use futures::future::join_all;
use paceline::preference::jobs;
use paceline::words::ConnectionId;

/// One call a second per connection; at most two a second in all.
const METERED: &str = r#"
title = "Metered"
[http]
base_url = "{{ params.base_url }}"
[[quota]]
name = "minute"
scope = "connection"
amount = 60
window = "1m"
headroom = 0.0
[[quota]]
name = "hour"
scope = "app"
amount = 7200
window = "1h"
headroom = 0.0
[resource.state]
interval_min = "5s"
interval_default = "1m"
path = "/state"
records = "."
[resource.energy]
interval_min = "10s"
interval_default = "5m"
path = "/energy"
records = "."
"#;

/// 30 devices of a connection, each asked for once a minute.
async fn metered() -> (Api, ConnectionId, String) {
    let test = TestApp::with(&[("metered", METERED)]).await;
    let connection = test.connect("metered", "home", "http://cloud.invalid").await;
    let devices = test.add_devices("metered", connection, 30, "1m").await;
    let router = http::router(test.app.clone());
    let key = test.key(Role::User).await;
    (Api { test, router, devices }, connection, key)
}

impl Api {
    async fn patch(&self, query: &str, key: &str, body: Value) -> Response {
        let request = request("PATCH", &format!("/v1/jobs?{query}"))
            .header(header::AUTHORIZATION, bearer(key))
            .header(header::CONTENT_TYPE, "application/json");
        send(&self.router, request, Body::from(body.to_string())).await
    }

    async fn put_if(&self, path: &str, key: &str, tag: &str, body: Value) -> Response {
        let request = request("PUT", path)
            .header(header::AUTHORIZATION, bearer(key))
            .header(header::IF_MATCH, tag)
            .header(header::CONTENT_TYPE, "application/json");
        send(&self.router, request, Body::from(body.to_string())).await
    }

    /// Intervals and versions of all jobs, as stored.
    async fn stored(&self) -> Vec<(String, i64)> {
        let ids = sqlx::query_scalar::<_, i64>("SELECT job_id FROM jobs ORDER BY job_id");
        let ids = ids.fetch_all(&self.app().pool).await.unwrap();
        let mut stored = jobs::by_id(&self.app().pool, &ids).await.unwrap();
        stored.sort_by_key(|stored| stored.job.id);
        stored.iter().map(|stored| (stored.job.interval.to_string(), stored.job.version)).collect()
    }
}

#[tokio::test]
async fn dry_run_tells_what_a_job_would_get_and_changes_nothing() {
    let (api, connection, key) = metered().await;
    let path = format!("/v1/devices/{}/jobs/state", api.devices[0]);
    let before = (api.stored().await, api.get(&path, &key).await);
    assert_eq!(before.1.body["effective_interval_ms"], 60_000);
    // The others take 29 of 60 calls a minute, and this one asks for 12.
    let dry = api.put(&format!("{path}?dry_run=true"), &key, json!({"interval": "5s"})).await;
    assert_eq!((dry.status, &dry.body["effective_interval"]), (StatusCode::OK, &json!("5s")), "{}", dry.body);
    for other in &api.devices[1..] {
        let change = json!({"interval": "20s"});
        api.put(&format!("/v1/devices/{other}/jobs/state"), &key, change).await;
    }
    // Now 29 × 3 and 12 are asked of 60 a minute. All have the same priority, so each gets two a minute.
    let dry = api.put(&format!("{path}?dry_run=true"), &key, json!({"interval": "5s"})).await.body;
    let effective_ms = dry["effective_interval_ms"].as_f64().unwrap();
    assert!((29_500.0..=30_500.0).contains(&effective_ms), "{dry}");
    assert_eq!(dry["limited_by"], format!("quota minute of connection {connection} allows 60 in 1m"));
    assert_eq!((&dry["interval"], &dry["state"]), (&json!("5s"), &json!("active")));
    assert_eq!(api.stored().await[0], before.0[0], "a dry run changes nothing");

    // And so it is when it is done.
    let done = api.put(&path, &key, json!({"interval": "5s"})).await.body;
    assert_eq!(done, dry);
    assert_eq!(api.get(&path, &key).await.body, dry);
    // What is urgent gets more.
    let urgent = api.put(&format!("{path}?dry_run=true"), &key, json!({"priority": "realtime"})).await.body;
    assert!(urgent["effective_interval_ms"].as_f64().unwrap() < effective_ms / 1.5, "{urgent}");
    // A job that there is not yet can be tried, too.
    let energy = format!("/v1/devices/{}/jobs/energy", api.devices[0]);
    let dry = api.put(&format!("{energy}?dry_run=true"), &key, json!({"paused": false})).await.body;
    assert_eq!((&dry["interval"], dry["effective_interval_ms"].is_number()), (&json!("5m"), true), "{dry}");
    assert_eq!(api.get(&energy, &key).await.problem(), "no-such-job");
    let paused = api.put(&format!("{path}?dry_run=true"), &key, json!({"paused": true})).await.body;
    assert_eq!((&paused["state"], &paused["effective_interval"]), (&json!("paused"), &Value::Null));
}

#[tokio::test]
async fn what_others_ask_of_a_shared_quota_counts() {
    let (api, _, key) = metered().await;
    // Two a second are allowed in all; the others ask for so much that each connection gets a third of that.
    for label in ["b", "c"] {
        let connection = api.test.connect("metered", label, "http://cloud.invalid").await;
        api.test.add_devices("metered", connection, 100, "10s").await;
    }
    let all = api.patch("connection=home", &key, json!({"interval": "5s"})).await.body;
    assert_eq!((&all["matched"], &all["changed"], &all["as_asked"]), (&json!(30), &json!(30), &json!(0)));
    let slower = &all["slower"][0];
    assert_eq!((&slower["jobs"], slower["slowest_interval"].as_str()), (&json!(30), Some("45s")), "{all}");
    assert_eq!(slower["limited_by"], "quota hour of the application allows 7200 in 1h");
}

#[tokio::test]
async fn change_of_what_is_no_longer_so_is_refused() {
    let (api, _, key) = metered().await;
    let path = format!("/v1/devices/{}/jobs/state", api.devices[0]);
    let tag = api.get(&path, &key).await.headers[header::ETAG].to_str().unwrap().to_owned();
    let first = api.put_if(&path, &key, &tag, json!({"interval": "10s"})).await;
    assert_eq!(first.status, StatusCode::OK);
    assert_ne!(first.headers[header::ETAG].to_str().unwrap(), tag);
    for path in [path.clone(), format!("{path}?dry_run=true")] {
        let second = api.put_if(&path, &key, &tag, json!({"interval": "20s"})).await;
        assert_eq!((second.status, second.problem()), (StatusCode::PRECONDITION_FAILED, "outdated"));
        assert!(second.detail().contains("nothing was changed"), "{}", second.detail());
    }
    assert_eq!(api.stored().await[0].0, "10s");
    // Of many at once that read the same, one is made.
    let tag = first.headers[header::ETAG].to_str().unwrap();
    let many = (1..=8).map(|n| api.put_if(&path, &key, tag, json!({"interval": format!("{n}m")})));
    let made = join_all(many).await.iter().filter(|response| response.status == StatusCode::OK).count();
    assert_eq!(made, 1);

    let energy = format!("/v1/devices/{}/jobs/energy", api.devices[0]);
    for tag in ["*", "\"1\""] {
        let missing = api.put_if(&energy, &key, tag, json!({"interval": "1m"})).await;
        assert_eq!(missing.status, StatusCode::PRECONDITION_FAILED, "{tag}: there is no such job yet");
    }
    assert_eq!(api.put_if(&path, &key, "*", json!({"interval": "1m"})).await.status, StatusCode::OK);
    let unreadable = api.put_if(&path, &key, "3", json!({"interval": "1m"})).await;
    assert_eq!((unreadable.status, unreadable.problem()), (StatusCode::BAD_REQUEST, "bad-query"));
}

#[tokio::test]
async fn many_jobs_change_together_or_not_at_all() {
    let (api, _, key) = metered().await;
    let energy = format!("/v1/devices/{}/jobs/energy", api.devices[0]);
    api.put(&energy, &key, json!({"interval": "1m"})).await;
    let before = api.stored().await;

    // 5 s is too short for energy: no job is changed, though 30 could be.
    let refused = api.patch("", &key, json!({"interval": "5s"})).await;
    assert_eq!((refused.status, refused.problem()), (StatusCode::UNPROCESSABLE_ENTITY, "bad-interval"));
    assert!(
        refused.detail().contains("energy of metered may be refreshed every 10s"),
        "{}",
        refused.detail()
    );
    assert_eq!(api.stored().await, before);

    let dry =
        api.patch("resource=state&dry_run=true", &key, json!({"interval": "1m", "priority": "low"})).await;
    assert_eq!((&dry.body["matched"], &dry.body["changed"]), (&json!(30), &json!(30)), "{}", dry.body);
    let dry = api.patch("resource=state&dry_run=true", &key, json!({"interval": "1m"})).await;
    assert_eq!((&dry.body["matched"], &dry.body["changed"]), (&json!(30), &json!(0)), "{}", dry.body);
    assert_eq!(api.stored().await, before);

    let ids = format!("ids={},{}&resource=state", api.devices[1], api.devices[2]);
    let done = api.patch(&ids, &key, json!({"interval": "30s"})).await.body;
    assert_eq!(done, json!({"matched": 2, "changed": 2, "as_asked": 2, "slower": []}));
    // Readers see it, and the schedule has it.
    let shown = api.get(&format!("/v1/devices/{}", api.devices[1]), &key).await.body;
    assert_eq!(shown["resources"]["state"]["interval"], "30s");
    let again = api.patch(&ids, &key, json!({"interval": "30s"})).await.body;
    assert_eq!((&again["matched"], &again["changed"]), (&json!(2), &json!(0)));
    let faster = api.patch("faster_than=1m", &key, json!({"interval": "1m"})).await.body;
    assert_eq!((&faster["matched"], &faster["changed"]), (&json!(2), &json!(2)));
    // Two at once: both are made, one after the other.
    let [a, b] =
        ["2m", "3m"].map(|interval| api.patch("resource=state", &key, json!({"interval": interval})));
    let (a, b) = tokio::join!(a, b);
    assert_eq!((a.status, b.status), (StatusCode::OK, StatusCode::OK));
    let intervals: Vec<_> = api.stored().await.into_iter().take(30).map(|(interval, _)| interval).collect();
    assert!(["2m", "3m"].iter().any(|all| intervals.iter().all(|one| one == all)), "{intervals:?}");
}

#[tokio::test]
async fn bulk_change_reaches_no_other_tenant_and_takes_no_bad_filter() {
    let api = Api::with_devices(2).await;
    let (_, theirs, stranger) = api.stranger(Role::User).await;
    let (user, reader) = (api.test.key(Role::User).await, api.test.key(Role::Reader).await);
    let done = api.patch("", &stranger, json!({"interval": "10m"})).await.body;
    assert_eq!(done["matched"], 1);
    assert_eq!(api.stored().await.iter().filter(|(interval, _)| interval == "10m").count(), 1);
    let none = api.patch(&format!("ids={theirs}"), &user, json!({"interval": "20m"})).await.body;
    assert_eq!(none["matched"], 0);
    assert_eq!(api.patch("", &reader, json!({"interval": "10m"})).await.problem(), "forbidden");
    for (query, body, problem) in [
        ("provider=nowhere", json!({"interval": "1m"}), "bad-query"),
        ("ids=one", json!({"interval": "1m"}), "bad-query"),
        ("faster_than=soon", json!({"interval": "1m"}), "bad-query"),
        ("group=%00", json!({"interval": "1m"}), "bad-query"),
        ("colour=red", json!({"interval": "1m"}), "bad-query"),
        ("dry_run=maybe", json!({"interval": "1m"}), "bad-query"),
        ("", json!({}), "nothing-asked"),
        ("", json!({"interval": "soon"}), "bad-interval"),
        ("", json!({"priority": "urgent"}), "bad-priority"),
        ("", json!(["1m"]), "bad-body"),
    ] {
        assert_eq!(api.patch(query, &user, body.clone()).await.problem(), problem, "{query} {body}");
    }
}

#[tokio::test]
async fn plan_tells_what_is_asked_and_which_change_helps() {
    let (api, connection, key) = metered().await;
    let none = api.get("/v1/plan", &key).await.body;
    let metered = &none["providers"][0];
    assert_eq!((&metered["jobs"], &metered["as_asked"]), (&json!(30), &json!(30)), "{none}");
    assert_eq!((&metered["slower"], &metered["advice"]), (&json!([]), &json!([])));
    let minute = &metered["quotas"][0];
    assert_eq!((&minute["quota"], &minute["asked_per_h"]), (&json!("minute"), &json!(1800.0)), "{metered}");
    assert_eq!((&minute["allows_per_h"], &minute["limited_jobs"]), (&json!(3600.0), &json!(0)));
    // The use of a quota that tenants share is not shown: it would show what others use.
    assert_eq!(
        (&metered["quotas"][1]["quota"], &metered["quotas"][1]["asked_per_h"]),
        (&json!("hour"), &Value::Null)
    );

    // Energy of ten devices every 10 s asks for 60 a minute, beside 30 for their state.
    for device in &api.devices[..10] {
        api.put(&format!("/v1/devices/{device}/jobs/energy"), &key, json!({"interval": "10s"})).await;
    }
    let plan = api.get("/v1/plan", &key).await.body;
    let metered = &plan["providers"][0];
    assert_eq!(
        (&metered["jobs"], &metered["quotas"][0]["limited_jobs"]),
        (&json!(40), &metered["slower"][0]["jobs"])
    );
    let advice = &metered["advice"][0];
    assert_eq!(
        (&advice["query"], &advice["interval"], &advice["jobs"], &advice["still_slower"]),
        (
            &json!(format!("connection={connection}&resource=energy&state=active&faster_than=20s")),
            &json!("20s"),
            &json!(10),
            &json!(0)
        ),
        "{plan}"
    );
    // The advice holds what it says.
    let query = advice["query"].as_str().unwrap();
    let done = api.patch(query, &key, json!({"interval": advice["interval"]})).await.body;
    assert_eq!((&done["changed"], &done["as_asked"]), (&json!(10), &json!(10)), "{done}");
    let plan = api.get("/v1/plan", &key).await.body;
    assert_eq!(plan["providers"][0]["as_asked"], 40, "{plan}");
    // A stranger has no part in it.
    let stranger = tenants::ensure(&api.app().pool, "stranger").await.unwrap();
    let who = keys::Principal { tenant: stranger, role: Role::Reader };
    let (_, key) = keys::create(&api.app().pool, who, "theirs", None).await.unwrap();
    assert_eq!(api.get("/v1/plan", key.expose_secret()).await.body, json!({"providers": []}));
}

#[tokio::test]
async fn job_of_a_connection_that_cannot_be_used_is_told_to_wait() {
    let (api, connection, key) = metered().await;
    let path = format!("/v1/devices/{}/jobs/state", api.devices[0]);
    let lost = "UPDATE connections SET state = 'needs_reauth' WHERE connection_id = $1";
    sqlx::query(lost).bind(connection.0).execute(&api.app().pool).await.unwrap();
    let told = api.put(&path, &key, json!({"interval": "10s"})).await.body;
    assert_eq!(told["effective_interval"], Value::Null);
    let why = format!(
        "connection {connection} is paused, closed or refused by its provider; \
         GET /v1/connections/{connection} says which"
    );
    assert_eq!(told["limited_by"], why);
}

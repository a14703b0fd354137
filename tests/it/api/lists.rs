//! Lists of devices: pages, order, filters, and what is told of each.

use super::*;
use futures::future::join_all;
use paceline::cache::META;
use paceline::keep;
use sqlx::{AssertSqlSafe, Connection};
use tokio::time::interval;

impl Api {
    /// The names of the devices that a list has, through all of its pages.
    async fn names(&self, query: &str, key: &str) -> Vec<String> {
        let (mut names, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("/v1/devices?{query}{after}"), key).await;
            assert_eq!(page.status, StatusCode::OK, "{query}: {}", page.body);
            let devices = page.body["devices"].as_array().unwrap();
            names.extend(devices.iter().map(|device| device["name"].as_str().unwrap().to_owned()));
            let Some(next) = page.body["next"].as_str() else { return names };
            assert!(!devices.is_empty(), "a page with a next one has devices");
            after = format!("&after={next}");
        }
    }

    async fn sql(&self, statement: &str) {
        sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&self.app().pool).await.unwrap();
    }

    /// Names the devices, in the order of their numbers.
    async fn rename(&self, names: &[&str]) {
        for (id, name) in self.devices.iter().zip(names) {
            self.sql(&format!("UPDATE devices SET name = '{name}' WHERE device_id = {id}")).await;
        }
        paceline::read::refresh(self.app(), self.test.tenant, &self.devices).await.unwrap();
    }
}

#[tokio::test]
async fn pages_cover_a_list_once_in_either_order() {
    let api = Api::with_devices(5).await;
    let key = api.test.key(Role::Reader).await;
    api.rename(&["delta", "Bravo", "alpha", "bravo", "Charlie"]).await;
    for (query, names) in [
        ("limit=2", ["delta", "Bravo", "alpha", "bravo", "Charlie"]),
        ("limit=5", ["delta", "Bravo", "alpha", "bravo", "Charlie"]),
        ("limit=2&sort=name", ["alpha", "Bravo", "bravo", "Charlie", "delta"]),
        ("limit=1&sort=name", ["alpha", "Bravo", "bravo", "Charlie", "delta"]),
    ] {
        assert_eq!(api.names(query, &key).await, names, "{query}");
    }
    // A full page at the end of the list has no `next`.
    assert_eq!(api.get("/v1/devices?limit=5", &key).await.body["next"], Value::Null);
}

#[tokio::test]
async fn page_continues_where_the_last_one_ended_though_devices_change() {
    let api = Api::with_devices(5).await;
    let key = api.test.key(Role::Reader).await;
    api.rename(&["a", "b", "c", "d", "e"]).await;
    for sort in ["id", "name"] {
        let first = api.get(&format!("/v1/devices?limit=2&sort={sort}"), &key).await.body;
        // The last device of the page goes away, and one before it is renamed to its end.
        let path = format!("/v1/devices?limit=2&sort={sort}&after={}", first["next"].as_str().unwrap());
        api.sql(&format!("UPDATE devices SET name = 'zz' WHERE device_id = {}", api.devices[1])).await;
        let next = api.get(&path, &key).await.body;
        let ids: Vec<_> = next["devices"].as_array().unwrap().iter().map(|device| &device["id"]).collect();
        assert_eq!(ids, [&json!(api.devices[2]), &json!(api.devices[3])], "{sort}");
        api.sql(&format!("UPDATE devices SET name = 'b' WHERE device_id = {}", api.devices[1])).await;
    }
}

#[tokio::test]
async fn cursor_that_is_forged_or_of_another_list_is_refused() {
    let api = Api::with_devices(3).await;
    let key = api.test.key(Role::Reader).await;
    let (_, _, stranger) = api.stranger(Role::Reader).await;
    let next = api.get("/v1/devices?limit=1", &key).await.body["next"].as_str().unwrap().to_owned();
    assert_eq!(api.get(&format!("/v1/devices?after={next}"), &key).await.status, StatusCode::OK);
    for (path, key, text) in [
        (format!("/v1/devices?after={next}"), &stranger, "another tenant"),
        (format!("/v1/devices?sort=name&after={next}"), &key, "in another order"),
        (format!("/v1/devices?q=x&after={next}"), &key, "other filters"),
        (format!("/v1/devices?after={}", &next[..10]), &key, "is no cursor"),
        ("/v1/devices?after=17".to_owned(), &key, "is no cursor"),
        ("/v1/devices?after=".to_owned(), &key, "is no cursor"),
        // {"list":1,"id":"x"}, and a name with a NUL.
        ("/v1/devices?after=eyJsaXN0IjoxLCJpZCI6IngifQ".to_owned(), &key, "is no cursor"),
        ("/v1/devices?after=eyJsaXN0IjoxLCJpZCI6MSwibmFtZSI6Ilx1MDAwMCJ9".to_owned(), &key, "is no cursor"),
    ] {
        let refused = api.get(&path, key).await;
        assert_eq!((refused.status, refused.problem()), (StatusCode::BAD_REQUEST, "bad-query"), "{path}");
        assert!(refused.detail().contains(text), "{path}: {}", refused.detail());
    }
}

#[tokio::test]
async fn filters_choose_devices() {
    let api = Api::with_devices(4).await;
    let key = api.test.key(Role::Reader).await;
    api.rename(&["Hall", "Living room", "Bath_room", "100 %"]).await;
    let [hall, living, bath, percent] = api.devices[..] else { panic!("four devices") };
    api.sql(&format!("UPDATE devices SET group_key = 'cabin' WHERE device_id IN ({hall}, {bath})")).await;
    api.sql(&format!("UPDATE jobs SET state = 'paused' WHERE device_id = {percent}")).await;
    // 30 s and a grace of a tenth: one is fresh, one is late, one has no reading, and what is paused is never late.
    api.record(hall, 1_000, json!({"n": 1})).await;
    api.record(living, 60_000, json!({"n": 1})).await;
    let connection = sqlx::query_scalar::<_, i64>("SELECT connection_id FROM connections LIMIT 1");
    let connection = connection.fetch_one(&api.app().pool).await.unwrap();
    let all = ["Hall", "Living room", "Bath_room", "100 %"];
    for (query, names) in [
        ("provider=testcloud".to_owned(), &all[..]),
        ("connection=home".to_owned(), &all),
        (format!("connection={connection}"), &all),
        ("connection=office".to_owned(), &[]),
        (format!("ids={bath},%20{hall},{hall},999999"), &["Hall", "Bath_room"]),
        ("group=cabin".to_owned(), &["Hall", "Bath_room"]),
        ("group=attic".to_owned(), &[]),
        ("state=paused".to_owned(), &["100 %"]),
        ("state=active".to_owned(), &all[..3]),
        ("state=probing".to_owned(), &[]),
        ("stale=true".to_owned(), &["Living room", "Bath_room"]),
        ("stale=false".to_owned(), &["Hall", "100 %"]),
        ("q=ROOM".to_owned(), &["Living room", "Bath_room"]),
        // No pattern: `_` and `%` are themselves.
        ("q=_".to_owned(), &["Bath_room"]),
        ("q=%25".to_owned(), &["100 %"]),
        ("q=room&group=cabin&stale=true".to_owned(), &["Bath_room"]),
        ("q='%20OR%201=1".to_owned(), &[]),
    ] {
        for limit in ["", "&limit=1", "&sort=name&limit=1"] {
            let mut found = api.names(&format!("{query}{limit}"), &key).await;
            let mut names = names.to_vec();
            if limit.contains("sort") {
                names.sort_by_key(|name| name.to_lowercase());
            }
            assert_eq!(found, names, "{query}{limit}");
            found.clear();
        }
    }
}

#[tokio::test]
async fn stale_filter_agrees_with_what_devices_say() {
    let api = Api::with_devices(6).await;
    let key = api.test.key(Role::Reader).await;
    for (device, age_ms) in api.devices.iter().zip([0, 20_000, 31_000, 40_000, 100_000]) {
        api.record(*device, age_ms, json!({"n": 1})).await;
    }
    // Fetched just now, but observed long ago.
    api.record(api.devices[0], 0, json!({"n": 2})).await;
    api.sql(&format!(
        "UPDATE latest SET observed_at = now() - interval '1 hour' WHERE device_id = {}",
        api.devices[0]
    ))
    .await;
    let mut seen = Vec::new();
    for stale in [true, false] {
        let page = api.get(&format!("/v1/devices?stale={stale}"), &key).await.body;
        for device in page["devices"].as_array().unwrap() {
            assert_eq!(device["resources"]["state"]["fresh"], !stale, "{device}");
            seen.push(device["id"].as_i64().unwrap());
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, api.devices.iter().map(|id| id.0).collect::<Vec<_>>());
}

#[tokio::test]
async fn bad_list_parameters_are_refused_with_what_is_accepted() {
    let api = Api::with_devices(1).await;
    let key = api.test.key(Role::Reader).await;
    let many: Vec<_> = (1..=501).map(|id| id.to_string()).collect();
    for (query, text) in [
        (format!("ids={}", many.join(",")), "at most 500"),
        ("ids=1,x".to_owned(), "no number"),
        ("ids=".to_owned(), "no number"),
        ("state=broken".to_owned(), "`active`"),
        ("stale=maybe".to_owned(), "`true` or `false`"),
        ("sort=age".to_owned(), "`name`"),
        ("fields=color".to_owned(), "external_id"),
        ("with=colour".to_owned(), "meta and turn"),
        ("q=%00".to_owned(), "NUL"),
        ("limit=501".to_owned(), "1 to 500"),
        ("colour=red".to_owned(), "colour"),
    ] {
        let refused = api.get(&format!("/v1/devices?{query}"), &key).await;
        assert_eq!(refused.problem(), "bad-query", "{query}");
        assert!(refused.detail().contains(text), "{query}: {}", refused.detail());
    }
    for query in ["fields=color", "with=colour", "colour=red"] {
        let refused = api.get(&format!("/v1/devices/{}?{query}", api.devices[0]), &key).await;
        assert_eq!(refused.problem(), "bad-query", "{query}");
    }
}

#[tokio::test]
async fn fields_and_meta_are_told_as_asked() {
    let api = Api::with_devices(2).await;
    let key = api.test.key(Role::Reader).await;
    let id = api.devices[0];
    api.record(id, 0, json!({"temperature_c": 20.5, "w": 3})).await;
    let parts = api.get(&format!("/v1/devices/{id}?fields=id,resources.*.values.w"), &key).await.body;
    assert_eq!(parts, json!({"id": id, "resources": {"state": {"values": {"w": 3}}}}));
    let page = api.get("/v1/devices?fields=name&limit=1", &key).await.body;
    assert_eq!(page["devices"], json!([{"name": "Device 0"}]));
    assert!(page["next"].is_string());

    let plain = api.get(&format!("/v1/devices/{id}"), &key).await.body;
    assert_eq!(plain["resources"]["state"].get("meta"), None);
    assert_eq!(plain["resources"]["state"].get("turn"), None);
    let meta =
        &api.get(&format!("/v1/devices/{id}?with=meta"), &key).await.body["resources"]["state"]["meta"];
    let expected = json!({"label": "Temperature", "kind": "number", "unit": "°C", "common": true});
    assert_eq!(meta, &json!({"temperature_c": expected}), "a value that no vocabulary has is not described");
}

#[tokio::test]
async fn turn_tells_what_a_job_gets_and_what_it_waits_for() {
    let quota = "[[quota]]\nname = \"hour\"\nscope = \"app\"\namount = 60\nwindow = \"1h\"\n";
    let provider = PROVIDER.replace("[resource.state]", &format!("{quota}[resource.state]"));
    let test = TestApp::with(&[("testcloud", &provider)]).await;
    let connection = test.connect("testcloud", "home", "http://cloud.invalid").await;
    let devices = test.add_devices("testcloud", connection, 3, "30s").await;
    let (router, key) = (http::router(test.app.clone()), test.key(Role::Reader).await);
    let api = Api { test, router, devices };
    let turn = async |n: usize| {
        let body = api.get(&format!("/v1/devices/{}?with=turn", api.devices[n]), &key).await.body;
        body["resources"]["state"]["turn"].clone()
    };
    // Three jobs of 30 s each ask for 360 calls an hour, and 60 are allowed, less a margin.
    let unbuilt = turn(0).await;
    assert_eq!(unbuilt["waits_for"], "scheduling", "{unbuilt}");
    assert_eq!(
        (&unbuilt["effective_interval"], &unbuilt["effective_interval_ms"]),
        (&json!("3m4s"), &json!(183_600))
    );
    assert_eq!(unbuilt["limited_by"], "quota hour of the application allows 60 in 1h");
    assert!(!unbuilt["why"].as_str().unwrap().contains("paceline "), "{unbuilt}");

    keep::rebuild_if_lost(api.app(), &"testcloud".parse().unwrap()).await.unwrap();
    let built = turn(0).await;
    assert!(["due", "no_worker"].contains(&built["waits_for"].as_str().unwrap()), "{built}");
    api.sql(&format!("UPDATE jobs SET state = 'paused' WHERE device_id = {}", api.devices[1])).await;
    let paused = turn(1).await;
    assert_eq!((&paused["waits_for"], &paused["next_at"]), (&json!("paused"), &Value::Null), "{paused}");
    assert_eq!(paused["effective_interval"], Value::Null, "what is paused gets nothing");
    // A change that no plan knows yet: nothing is promised.
    api.sql(&format!("UPDATE jobs SET interval_ms = 60000 WHERE device_id = {}", api.devices[2])).await;
    assert_eq!(turn(2).await["effective_interval"], Value::Null);

    let page = api.get("/v1/devices?with=turn", &key).await.body;
    for device in page["devices"].as_array().unwrap() {
        assert!(device["resources"]["state"]["turn"]["why"].is_string(), "{device}");
    }
}

#[tokio::test]
async fn answer_that_the_client_has_is_not_sent_again() {
    let api = Api::with_devices(2).await;
    let key = api.test.key(Role::Reader).await;
    let id = api.devices[0];
    api.record(id, 1_000, json!({"n": 1})).await;
    for path in
        [format!("/v1/devices/{id}"), "/v1/devices".to_owned(), "/v1/devices?fields=id,resources".to_owned()]
    {
        let tag = api.get(&path, &key).await.headers[header::ETAG].clone();
        let again = async || {
            let request = request("GET", &path).header(header::AUTHORIZATION, bearer(&key));
            let request = request.header(header::IF_NONE_MATCH, &tag);
            let (parts, body) =
                api.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap().into_parts();
            (parts.status, parts.headers[header::ETAG].clone(), to_bytes(body, 1 << 20).await.unwrap().len())
        };
        let (status, same, bytes) = again().await;
        assert_eq!((status, &same, bytes), (StatusCode::NOT_MODIFIED, &tag, 0), "{path}: only ages changed");
        api.record(id, 500, json!({"n": path})).await;
        paceline::read::refresh(api.app(), api.test.tenant, &[id]).await.unwrap();
        let (status, other, bytes) = again().await;
        assert!(status == StatusCode::OK && other != tag && bytes > 0, "{path}: {status}");
    }
}

#[tokio::test]
async fn large_answers_are_compressed_for_those_who_accept_it() {
    let api = Api::with_devices(20).await;
    let key = api.test.key(Role::Reader).await;
    for (accepts, encoding) in
        [("gzip", Some("gzip")), ("br, gzip", Some("br")), ("identity", None), ("", None)]
    {
        let request = request("GET", "/v1/devices").header(header::AUTHORIZATION, bearer(&key));
        let request = request.header(header::ACCEPT_ENCODING, accepts).body(Body::empty()).unwrap();
        let response = api.router.clone().oneshot(request).await.unwrap();
        let sent =
            response.headers().get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(sent.as_deref(), encoding, "{accepts}");
        assert_eq!(response.headers()[header::VARY], "accept-encoding");
    }
}

#[tokio::test]
async fn device_that_many_ask_for_at_once_is_read_from_postgres_once() {
    let api = Api::with_devices(1).await;
    let (key, app) = (api.test.key(Role::Reader).await, api.app());
    let cached = app.keys.device(api.test.tenant, api.devices[0]);
    redis::cmd("DEL").arg(&cached).query_async::<()>(&mut app.redis.link()).await.unwrap();

    // Nobody can read the devices meanwhile, so that whoever tries is seen waiting.
    let mut observer = sqlx::PgConnection::connect(api.test.database_url.expose_secret()).await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE devices").execute(&mut observer).await.unwrap();
    let readers = join_all((0..60).map(|_| {
        let (router, key, path) =
            (api.router.clone(), key.clone(), format!("/v1/devices/{}", api.devices[0]));
        tokio::spawn(async move {
            let request = request("GET", &path).header(header::AUTHORIZATION, bearer(&key));
            send(&router, request, Body::empty()).await.status
        })
    }));
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let (mut tick, mut most) = (interval(Duration::from_millis(25)), 0);
    for _ in 0..20 {
        tick.tick().await;
        let seen = sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut observer).await.unwrap();
        most = most.max(seen);
    }
    sqlx::raw_sql("COMMIT").execute(&mut observer).await.unwrap();
    for status in readers.await {
        assert_eq!(status.unwrap(), StatusCode::OK);
    }
    assert_eq!(most, 1, "statements that read the device");
    let link = &mut app.redis.link();
    assert!(redis::cmd("HEXISTS").arg(&cached).arg(META).query_async::<bool>(link).await.unwrap());
}

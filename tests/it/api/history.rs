//! What was: readings as they came and by steps, with the times at which nothing was known.

use super::*;
use paceline::keep;
use paceline::record::history;
use paceline::words::UnixMs;

/// 2026-03-10T12:00:00Z.
const NOON: UnixMs = UnixMs(1_773_144_000_000);

/// A device whose answers come at seconds after noon.
struct Past {
    api: Api,
    key: String,
}

/// What a call brought.
enum Answer {
    Values(Value),
    /// Nothing has changed.
    Unchanged,
    /// The device cannot be reached.
    Offline,
}

impl Past {
    /// A device whose job has an interval of 30 s: without an answer for three minutes, nothing is known.
    async fn new() -> Self {
        let api = Api::with_devices(1).await;
        history::ensure(&api.app().pool, NOON, 1).await.unwrap();
        let key = api.test.key(Role::Reader).await;
        Self { api, key }
    }

    async fn answer(&self, second: i64, answer: Answer) {
        self.answer_for(self.api.devices[0], second, answer).await;
    }

    async fn answer_for(&self, device: DeviceId, second: i64, answer: Answer) {
        let fetched_at = NOON.plus_ms(second * 1_000);
        let job = "SELECT job_id FROM jobs WHERE device_id = $1 AND resource = 'state'";
        let job =
            sqlx::query_scalar::<_, i64>(job).bind(device.0).fetch_one(&self.api.app().pool).await.unwrap();
        let online = match answer {
            Answer::Values(_) => Some(true),
            Answer::Unchanged => None,
            Answer::Offline => Some(false),
        };
        let record = match answer {
            Answer::Values(Value::Object(values)) => {
                Some(Record { external_id: None, observed_at: None, online: true, values })
            }
            _ => None,
        };
        let observation = Observation {
            tenant: self.api.test.tenant,
            device,
            resource: "state".parse().unwrap(),
            job: JobId(job),
            call: CallId(fetched_at.0),
            fetched_at,
            record,
            has_data: online != Some(false),
            online,
            validator: None,
            stale_after: None,
            offline_after: None,
            older_replaces: false,
        };
        record::write(&self.api.app().pool, &[observation]).await.unwrap();
    }

    /// Makes it so many seconds after noon.
    fn is_now(&self, second: i64) {
        self.api.app().clock.learn(NOON.plus_ms(second * 1_000));
    }

    fn path(&self, query: &str) -> String {
        format!("/v1/devices/{}/readings?resource=state&{query}", self.api.devices[0])
    }

    async fn ask(&self, query: &str) -> Response {
        self.api.get(&self.path(query), &self.key).await
    }

    async fn text(&self, query: &str, accept: &str) -> (HeaderMap, String) {
        let request = request("GET", &self.path(query))
            .header(header::AUTHORIZATION, bearer(&self.key))
            .header(header::ACCEPT, accept);
        let answered = self.api.router.clone().oneshot(request.body(Body::empty()).unwrap());
        let (parts, body) = timeout(TIMEOUT, answered).await.unwrap().unwrap().into_parts();
        assert_eq!(parts.status, StatusCode::OK);
        let bytes = to_bytes(body, 10 << 20).await.unwrap();
        (parts.headers, String::from_utf8(bytes.to_vec()).unwrap())
    }

    async fn query(&self, body: Value) -> Response {
        let request = request("POST", "/v1/readings/query")
            .header(header::AUTHORIZATION, bearer(&self.key))
            .header(header::CONTENT_TYPE, "application/json");
        send(&self.api.router, request, Body::from(body.to_string())).await
    }

    async fn execute(&self, sql: &'static str) -> u64 {
        sqlx::query(sql).execute(&self.api.app().pool).await.unwrap().rows_affected()
    }

    /// 20 for a minute, 21 for half a one; a gap; 21 for half a minute; offline; 22 for 40 s; nothing since.
    async fn eventful(&self) {
        let t = |degrees: f64| Answer::Values(json!({"t": degrees}));
        self.answer(0, t(20.0)).await;
        self.answer(30, t(20.0)).await;
        self.answer(60, t(21.0)).await;
        self.answer(90, Answer::Unchanged).await;
        self.answer(600, Answer::Unchanged).await;
        self.answer(630, Answer::Offline).await;
        self.answer(660, Answer::Offline).await;
        self.answer(960, t(22.0)).await;
        self.answer(1_000, Answer::Unchanged).await;
        self.is_now(4_600);
    }
}

const HOUR: &str = "from=2026-03-10T12:00:00Z&to=2026-03-10T13:00:00Z";

fn at(second: i64) -> String {
    NOON.plus_ms(second * 1_000).to_string()
}

fn spans(all: &[(i64, i64)]) -> Value {
    all.iter().map(|(from, to)| json!({"from": at(*from), "to": at(*to)})).collect()
}

#[tokio::test]
async fn readings_tell_until_when_each_stood() {
    let past = Past::new().await;
    past.eventful().await;
    let body = past.ask(HOUR).await.body;
    let points: Vec<_> = body["points"].as_array().unwrap().iter().collect();
    let times: Vec<_> = points.iter().map(|p| (&p["at"], &p["until"])).collect();
    let stood = [(0, 60), (60, 90), (600, 630), (630, 960), (960, 1_000)];
    let expected: Vec<_> = stood.iter().map(|(from, to)| (json!(at(*from)), json!(at(*to)))).collect();
    assert_eq!(times, expected.iter().map(|(from, to)| (from, to)).collect::<Vec<_>>());
    assert_eq!((&points[2]["values"], &points[2]["online"]), (&json!({"t": 21.0}), &json!(true)));
    assert_eq!((&points[3]["values"], &points[3]["online"]), (&json!({}), &json!(false)));
    assert_eq!((&body["before"], &body["next"]), (&Value::Null, &Value::Null));

    // What stood when the time began is told.
    let later = past.ask("from=2026-03-10T12:02:00Z&to=2026-03-10T12:05:00Z").await.body;
    assert_eq!((&later["before"]["at"], &later["before"]["until"]), (&json!(at(60)), &json!(at(90))));
    // What was confirmed a moment ago still stands.
    past.is_now(1_010);
    let until = past.ask(HOUR).await.body["points"][4]["until"].as_str().unwrap().to_owned();
    assert_eq!(until[..18], at(1_010)[..18]);
}

#[tokio::test]
async fn steps_have_the_averages_computed_by_hand_and_are_not_drawn_through_gaps() {
    let past = Past::new().await;
    past.eventful().await;
    let body = past.ask(&format!("{HOUR}&step=5m")).await.body;
    let points = body["points"].as_array().unwrap();
    assert_eq!(points.len(), 12);
    let times: Vec<_> = points.iter().map(|p| (p["known_ms"].as_i64(), p["offline_ms"].as_i64())).collect();
    let some = |known, offline| (Some(known), Some(offline));
    assert_eq!(times[..4], [some(90_000, 0), some(0, 0), some(30_000, 270_000), some(40_000, 60_000)]);
    // 20 for 60 s and 21 for 30 s of the 90 s that are known.
    let time_avg = (20.0 * 60.0 + 21.0 * 30.0) / 90.0;
    let first =
        json!({"avg": 20.5, "min": 20.0, "max": 21.0, "last": 21.0, "time_avg": time_avg, "readings": 2});
    assert_eq!(points[0]["values"]["t"], first);
    assert_eq!(points[1]["values"], json!({}));
    assert_eq!(points[3]["values"]["t"]["time_avg"], 22.0);
    assert_eq!(
        (&body["gaps"], &body["offline"]),
        (&spans(&[(90, 600), (1_000, 3_600)]), &spans(&[(630, 960)]))
    );
    assert_eq!((&body["source"], &body["step"]), (&json!("5m"), &json!("5m")));

    // What stood before the time began stands in it. 21 stood for 30 s of these, and no reading came.
    let carried = past.ask("from=2026-03-10T12:01:10Z&to=2026-03-10T12:02:00Z&step=10s").await.body;
    let known: Vec<_> =
        carried["points"].as_array().unwrap().iter().map(|p| p["known_ms"].as_i64()).collect();
    assert_eq!(known, [Some(10_000), Some(10_000), Some(0), Some(0), Some(0)]);
    let stood = json!({"avg": null, "min": 21.0, "max": 21.0, "last": 21.0, "time_avg": 21.0, "readings": 0});
    assert_eq!(carried["points"][0]["values"]["t"], stood);
}

#[tokio::test]
async fn value_that_never_changes_is_known_after_its_row_is_dropped() {
    let past = Past::new().await;
    past.answer(0, Answer::Values(json!({"open": false}))).await;
    for second in (30..=7_200).step_by(30) {
        past.answer(second, Answer::Unchanged).await;
    }
    past.is_now(7_200);
    let hour = "from=2026-03-10T13:00:00Z&to=2026-03-10T14:00:00Z&step=1h";
    for _ in 0..2 {
        let body = past.ask(hour).await.body;
        assert_eq!((&body["points"][0]["known_ms"], &body["gaps"]), (&json!(3_600_000), &json!([])));
        assert_eq!(body["points"][0]["values"]["open"]["last"], false);
        past.execute("DELETE FROM readings").await;
    }
}

#[tokio::test]
async fn pages_of_readings_have_each_once_and_another_cursor_is_only_another_time() {
    let past = Past::new().await;
    for n in 0..7 {
        past.answer(n * 30, Answer::Values(json!({"t": n}))).await;
    }
    past.is_now(200);
    let (mut query, mut seen) = (format!("{HOUR}&limit=3"), Vec::new());
    for count in [3, 3, 1] {
        let page = past.ask(&query).await;
        let points = page.body["points"].as_array().unwrap();
        assert_eq!(points.len(), count);
        seen.extend(points.iter().map(|p| p["values"]["t"].as_i64().unwrap()));
        let Some(next) = page.body["next"].as_str() else { break };
        let link = page.headers[header::LINK].to_str().unwrap();
        assert!(link.contains(&next.replace(':', "%3A")) && link.ends_with("; rel=\"next\""), "{link}");
        query = format!("from={next}&to=2026-03-10T13:00:00Z&limit=3");
    }
    assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6]);
    let forged = past.ask("from=1970-01-01T00:00:00.001Z&to=9999-12-31T23:59:59Z&limit=10").await.body;
    assert_eq!(forged["points"].as_array().unwrap().len(), 7);
    // A plus that is not escaped is a space.
    let zone = past.ask("from=2026-03-10T13:00:00+01:00&to=2026-03-10T14:00:00+01:00").await.body;
    assert_eq!(zone["points"].as_array().unwrap().len(), 7);
}

#[tokio::test]
async fn history_of_another_tenant_is_not_found() {
    let past = Past::new().await;
    past.eventful().await;
    let (_, theirs, key) = past.api.stranger(Role::Reader).await;
    let mine = past.api.devices[0];
    let other = past.api.get(&past.path(HOUR), &key).await;
    assert_eq!((other.status, other.problem()), (StatusCode::NOT_FOUND, "no-such-device"));
    for devices in [json!([mine, theirs]), json!([theirs]), json!([mine, 999_999])] {
        let body = json!({"devices": devices, "resource": "state", "step": "1h"});
        let refused = past.query(body).await;
        assert_eq!((refused.status, refused.problem()), (StatusCode::NOT_FOUND, "no-such-device"));
    }
    // One who forges the number of a connection or a resource learns as little.
    let path = format!("/v1/devices/{theirs}/readings?resource=nothing");
    assert_eq!(past.api.get(&path, &past.key).await.problem(), "no-such-device");
    assert_eq!(past.api.get(&path, &key).await.problem(), "no-such-resource");
}

#[tokio::test]
async fn many_devices_are_answered_in_the_order_of_the_query() {
    let api = Api::with_devices(3).await;
    history::ensure(&api.app().pool, NOON, 1).await.unwrap();
    let key = api.test.key(Role::Reader).await;
    let past = Past { api, key };
    let devices = [past.api.devices[2], past.api.devices[0], past.api.devices[1]];
    for (n, device) in devices.iter().enumerate().take(2) {
        past.answer_for(*device, 60, Answer::Values(json!({"t": n, "u": "x"}))).await;
    }
    past.is_now(120);
    let body = json!({"devices": devices, "resource": "state", "values": ["t"], "step": "1m",
                      "from": at(0), "to": at(120)});
    let series = past.query(body.clone()).await.body["series"].take();
    let of = |n: usize| (series[n]["device"].as_i64(), series[n]["points"][1]["values"].clone());
    let t = |n: i64| {
        let n = json!(n);
        json!({"t": {"avg": n.as_f64(), "min": n.as_f64(), "max": n.as_f64(), "last": n, "time_avg": n.as_f64(),
                     "readings": 1}})
    };
    assert_eq!(of(0), (Some(devices[0].0), t(0)));
    assert_eq!(of(1), (Some(devices[1].0), t(1)));
    assert_eq!(of(2), (Some(devices[2].0), json!({})));
    assert_eq!(series[2]["gaps"], spans(&[(0, 120)]));

    // The whole answer is bounded, not each series.
    let mut year = body.clone();
    year["from"] = json!("2025-03-10T00:00:00Z");
    year["step"] = json!("1h");
    let refused = past.query(year).await;
    assert_eq!((refused.status, refused.problem()), (StatusCode::BAD_REQUEST, "too-many-points"));
    assert!(refused.detail().ends_with("step=3h fits"), "{}", refused.detail());
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused_with_what_can() {
    let past = Past::new().await;
    let year = "from=2025-01-01T00:00:00Z&to=2026-01-01T00:00:00Z";
    for (query, problem, word) in [
        (format!("{year}&step=1ms"), "too-many-points", "step=1h fits"),
        (format!("{year}&step=1m"), "too-many-points", "step=1h fits"),
        (format!("{HOUR}&step=7m"), "too-many-points", "step=10m fits"),
        (format!("{HOUR}&step=40d"), "too-many-points", "31days"),
        (format!("{HOUR}&step=1M"), "bad-query", "ms, s, m, h and d"),
        (format!("{HOUR}&step=0s"), "bad-query", "step is"),
        (format!("{HOUR}&step=-5m"), "bad-query", "step is"),
        (format!("{HOUR}&step="), "bad-query", "step is"),
        (format!("{HOUR}&step=5m&limit=3"), "bad-query", "limit"),
        (format!("{HOUR}&limit=0"), "bad-query", "from 1 to 10000"),
        (format!("{HOUR}&limit=10001"), "bad-query", "from 1 to 10000"),
        (format!("{HOUR}&limit=x"), "bad-query", "limit"),
        (format!("{HOUR}&format=xml"), "bad-query", "ndjson"),
        (format!("{HOUR}&value=%00"), "bad-query", "NUL"),
        (format!("{HOUR}&value=a,,b"), "bad-query", "empty"),
        (format!("{HOUR}&cursor=abc"), "bad-query", "cursor"),
        ("from=yesterday".to_owned(), "bad-query", "instant"),
        ("from=2026-03-10".to_owned(), "bad-query", "instant"),
        ("to=-1000-01-01T00:00:00Z".to_owned(), "bad-query", "instant"),
        ("from=2026-03-10T13:00:00Z&to=2026-03-10T12:00:00Z".to_owned(), "bad-query", "not before"),
    ] {
        let refused = past.ask(&query).await;
        assert_eq!((refused.status, refused.problem()), (StatusCode::BAD_REQUEST, problem), "{query}");
        assert!(refused.detail().contains(word), "{query}: {}", refused.detail());
    }
    let long = past.ask(&format!("{HOUR}&step={}", "9".repeat(5_000))).await;
    assert!(long.detail().len() < 300, "{}", long.detail());
    for (path, problem) in [
        ("/v1/devices/x/readings?resource=state", "bad-id"),
        ("/v1/devices/99999999999999999999/readings?resource=state", "bad-id"),
        ("/v1/devices/-1/readings?resource=state", "no-such-device"),
    ] {
        assert_eq!(past.api.get(path, &past.key).await.problem(), problem, "{path}");
    }
    let device = past.api.devices[0];
    let path = format!("/v1/devices/{device}/readings");
    assert!(past.api.get(&path, &past.key).await.detail().contains("resource is missing"));
    let unknown = past.api.get(&format!("{path}?resource=nothing"), &past.key).await;
    assert_eq!((unknown.status, unknown.problem()), (StatusCode::NOT_FOUND, "no-such-resource"));
    assert!(unknown.detail().contains("energy, state"), "{}", unknown.detail());

    let asked = |devices: Value, step: Value| json!({"devices": devices, "resource": "state", "step": step});
    let many: Vec<i64> = (0..10_000).collect();
    for (body, problem) in [
        (asked(json!(many), json!("1h")), "too-many-ids"),
        (asked(json!([]), json!("1h")), "bad-query"),
        (asked(json!([device, device]), json!("1h")), "bad-query"),
        (asked(json!(["1"]), json!("1h")), "bad-body"),
        (asked(json!([1.5]), json!("1h")), "bad-body"),
        (asked(json!([device]), json!(60)), "bad-body"),
        (asked(json!({"a": 1}), json!("1h")), "bad-body"),
        (json!({"devices": [device], "resource": "state"}), "bad-body"),
        (json!([[device], "state", "1h"]), "bad-body"),
    ] {
        assert_eq!(past.query(body.clone()).await.problem(), problem, "{}", body.to_string().len());
    }
}

#[tokio::test]
async fn table_runs_no_formula_and_keeps_every_text() {
    let past = Past::new().await;
    let text = "a \"quoted\",\nline";
    let values = json!({"=cmd": "=1+1", "cold": -4.5, "at": "@SUM(A1)", "text": text, "on": true});
    past.answer(0, Answer::Values(values)).await;
    past.answer(60, Answer::Unchanged).await;
    past.is_now(3_600);
    let (headers, csv) = past.text(HOUR, "text/csv").await;
    assert_eq!(headers[header::CONTENT_TYPE], "text/csv; charset=utf-8");
    let device = past.api.devices[0];
    let row =
        |name: &str, value: &str| format!("{device},state,{name},{},{},,true,{value}\r\n", at(0), at(60));
    let expected = [
        "device,resource,value,at,until,observed_at,online,reading\r\n".to_owned(),
        row("'=cmd", "'=1+1"),
        row("at", "'@SUM(A1)"),
        row("cold", "-4.5"),
        row("on", "true"),
        row("text", "\"a \"\"quoted\"\",\nline\""),
    ];
    assert_eq!(csv, expected.concat());
    let (_, csv) = past.text(&format!("{HOUR}&step=30m&value=cold"), "text/html, text/csv;q=0.9").await;
    let steps = format!(
        "device,resource,value,at,avg,min,max,last,time_avg,readings,known_ms,offline_ms\r\n\
         {device},state,cold,{},-4.5,-4.5,-4.5,-4.5,-4.5,1,60000,0\r\n\
         {device},state,cold,{},,,,,,0,0,0\r\n",
        at(0),
        at(1_800)
    );
    assert_eq!(csv, steps);
    let (headers, lines) = past.text(&format!("{HOUR}&step=30m&format=ndjson"), "text/csv").await;
    assert_eq!(headers[header::CONTENT_TYPE], "application/x-ndjson");
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[2]["gap"]), (3, &json!({"from": at(60), "to": at(3_600)})));
    assert_eq!(lines[0]["point"]["values"]["text"]["last"], text);
}

#[tokio::test]
async fn roll_ups_tell_what_their_readings_tell() {
    let past = Past::new().await;
    // Five hours and a half: changes, texts, gaps, times offline, and none for an hour.
    for n in 0..660_i64 {
        let answer = match n {
            n if n % 97 > 90 => continue,
            n if (240..360).contains(&n) => Answer::Unchanged,
            n if n % 61 < 4 => Answer::Offline,
            n if n % 5 == 0 => Answer::Values(json!({"t": (n * 37 % 113) as f64 / 4.0})),
            n if n % 3 == 0 => Answer::Unchanged,
            n => Answer::Values(json!({"t": (n * 31 % 127) as f64 / 8.0, "mode": format!("m{}", n % 7)})),
        };
        past.answer(n * 30, answer).await;
    }
    past.is_now(6 * 3_600);
    let ask = async |step: &str| {
        let query = format!("from=2026-03-10T12:10:00Z&to=2026-03-10T17:00:00Z&step={step}");
        past.ask(&query).await.body["points"].take()
    };
    let steps = ["5m", "15m", "1h", "2h"];
    let mut before = Vec::new();
    for step in steps {
        before.push(ask(step).await);
    }
    assert!(keep::roll_up(past.api.app()).await.unwrap());
    assert!(!keep::roll_up(past.api.app()).await.unwrap(), "there is nothing left to do");
    // Again, from a while ago: the same rows.
    let rows = "SELECT count(*), sum(readings)::bigint FROM rollups";
    let rows = async || sqlx::query_as::<_, (i64, i64)>(rows).fetch_one(&past.api.app().pool).await.unwrap();
    let first = rows().await;
    past.execute("UPDATE rollup_progress SET until = until - interval '2 days', ends = until").await;
    keep::roll_up(past.api.app()).await.unwrap();
    assert_eq!(rows().await, first);
    // With the readings gone, only roll-ups can answer.
    past.execute("DELETE FROM readings WHERE fetched_at < '2026-03-10T17:00:00Z'").await;
    for (step, before) in steps.into_iter().zip(before) {
        let after = ask(step).await;
        let (after, before) = (after.as_array().unwrap(), before.as_array().unwrap());
        assert_eq!(after.len(), before.len());
        for (after, before) in after.iter().zip(before) {
            assert_eq!(rounded(after), rounded(before), "{step}");
        }
    }
}

/// Sums of the same numbers in another order differ in their last digits.
fn rounded(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!((number.as_f64().unwrap() * 1e6).round()),
        Value::Object(of) => of.iter().map(|(name, value)| (name.clone(), rounded(value))).collect(),
        other => other.clone(),
    }
}

#[tokio::test]
async fn late_reading_is_rolled_up_within_the_declared_bound() {
    let past = Past::new().await;
    past.answer(0, Answer::Values(json!({"t": 1.0}))).await;
    past.is_now(1_805);
    keep::roll_up(past.api.app()).await.unwrap();
    // Nine minutes late, of a worker that was held up, and out of order.
    past.answer(1_265, Answer::Values(json!({"t": 9.0}))).await;
    past.is_now(7_200);
    keep::roll_up(past.api.app()).await.unwrap();
    past.execute("DELETE FROM readings").await;
    let body = past.ask(&format!("{HOUR}&step=5m")).await.body;
    assert_eq!(body["points"][4]["values"]["t"]["max"], 9.0);
}

#[tokio::test]
async fn least_and_greatest_are_exact_on_both_sides_of_a_boundary() {
    let past = Past::new().await;
    for (second, t) in [(299, -50.0), (300, 50.0), (3_599, 99.0), (3_600, -99.0)] {
        past.answer(second, Answer::Values(json!({"t": t}))).await;
    }
    past.is_now(86_400);
    keep::roll_up(past.api.app()).await.unwrap();
    past.execute("DELETE FROM readings").await;
    let ask = async |step: &str| {
        let query = format!("from=2026-03-10T12:00:00Z&to=2026-03-10T14:00:00Z&step={step}");
        past.ask(&query).await.body["points"].take()
    };
    let ends = |point: &Value| (point["values"]["t"]["min"].as_f64(), point["values"]["t"]["max"].as_f64());
    let five = ask("5m").await;
    // A change at the boundary is of the second step alone; nothing stood there from before.
    assert_eq!(ends(&five[0]), (Some(-50.0), Some(-50.0)));
    assert_eq!(ends(&five[1]), (Some(50.0), Some(50.0)));
    let hours = ask("1h").await;
    assert_eq!(ends(&hours[0]), (Some(-50.0), Some(99.0)));
    assert_eq!(ends(&hours[1]), (Some(-99.0), Some(-99.0)));
}

#[tokio::test]
async fn roll_ups_are_dropped_by_level_and_erased_with_their_device() {
    let past = Past::new().await;
    past.answer(0, Answer::Values(json!({"t": 1.0}))).await;
    past.is_now(2 * 86_400);
    let app = past.api.app();
    keep::roll_up(app).await.unwrap();
    let levels = async || {
        let sql = "SELECT DISTINCT level::int FROM rollups ORDER BY 1";
        sqlx::query_scalar::<_, i32>(sql).fetch_all(&app.pool).await.unwrap()
    };
    assert_eq!(levels().await, [1, 2, 3]);
    use paceline::words::series::Level;
    let keep_days = [(Level::FiveMinutes, 7), (Level::Hour, 30), (Level::Day, 60)];
    // The month ends on the last of March: seven days later the finest level goes, thirty later the next.
    for (day, left) in [("2026-04-07", vec![1, 2, 3]), ("2026-04-08", vec![2, 3]), ("2026-05-01", vec![3])] {
        let now = format!("{day}T12:00:00Z").parse::<chrono::DateTime<chrono::Utc>>().unwrap().into();
        let dropped = history::drop_old_rollups(&app.pool, now, &keep_days).await;
        dropped.result.unwrap();
        assert_eq!(levels().await, left, "{day}");
    }
    keep::remove_devices(app, past.api.test.tenant, &past.api.devices).await.unwrap();
    assert_eq!(levels().await, [0; 0]);
}

#[tokio::test]
async fn slow_questions_leave_connections_to_others() {
    let past = Past::new().await;
    past.is_now(60);
    let mut lock = past.api.app().pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE readings IN ACCESS EXCLUSIVE MODE").execute(&mut lock).await.unwrap();
    let slow = || past.ask(HOUR);
    let questions = futures::future::join_all((0..20).map(|_| slow()));
    // They hold what they may by then.
    let others = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        past.api.get("/v1/devices", &past.key).await.status
    };
    let (answers, listed) = tokio::join!(questions, others);
    assert_eq!(listed, StatusCode::OK);
    assert!(answers.iter().all(|answer| answer.status == StatusCode::SERVICE_UNAVAILABLE), "{answers:?}");
    drop(lock);
    assert_eq!(past.ask(HOUR).await.status, StatusCode::OK);
}

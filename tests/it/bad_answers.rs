//! What clouds and networks answer when they should not: each comes to the right outcome, soon, and costs no reading.

use crate::journey::{BATCH, Rig, SINGLE, good};
use crate::raw::{self, Raw};
use flate2::{Compression, write::GzEncoder};
use paceline::fetch::{Call, CallResult, Fetcher, Reach, Target};
use paceline::provider::Provider;
use paceline::words::{
    Connection, ConnectionId, ConnectionState, DeviceId, End, JobId, Outcome, Secrets, TenantId, UnixMs,
};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::{Duration, Instant, interval};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

/// Thu, 01 Jan 2026 00:00:00 GMT.
const NOW: UnixMs = UnixMs(1_767_225_600_000);
const SECRET: &str = "s3cret";

async fn ask_as(reach: Reach, text: &str, base_url: &str, ids: &[&str]) -> CallResult {
    drop(rustls::crypto::ring::default_provider().install_default());
    let provider = Provider::parse("mocked".parse().unwrap(), "mocked.toml", text).unwrap();
    let target = |(n, id): (usize, &&str)| Target {
        job: JobId(n as i64),
        device: DeviceId(n as i64),
        external_id: (*id).to_owned(),
        group: String::new(),
        validator: None,
    };
    let connection = Connection {
        id: ConnectionId(1),
        tenant: TenantId(1),
        provider: provider.name.clone(),
        params: BTreeMap::from([("base_url".to_owned(), base_url.to_owned())]),
        bootstrap: Default::default(),
        bootstrap_of: None,
        devices: 0,
        secrets_version: 1,
        state: ConnectionState::Active,
        secrets: Secrets::only(SECRET),
        token: None,
    };
    let targets = ids.iter().enumerate().map(target).collect();
    let call = Call { connection: Arc::new(connection), resource: "state".parse().unwrap(), targets };
    let answer = Fetcher::new(Arc::new(provider), reach, Secrets::default()).unwrap().fetch(&call, NOW).await;
    assert_eq!(answer.outcomes.len(), ids.len());
    assert!(!format!("{answer:?}").contains(SECRET), "{answer:?}");
    answer
}

async fn ask(text: &str, base_url: &str, ids: &[&str]) -> CallResult {
    ask_as(Reach::Private, text, base_url, ids).await
}

/// The outcome's name and its description.
fn told(answer: &CallResult) -> String {
    let outcome = &answer.outcomes[0].1;
    format!("{}: {}", outcome.as_str(), outcome.detail())
}

async fn mocked(template: ResponseTemplate) -> MockServer {
    let cloud = MockServer::start().await;
    Mock::given(matchers::any()).respond_with(template).mount(&cloud).await;
    cloud
}

fn json_of(status: &str, headers: &str, body: &str) -> raw::Response {
    raw::Response::of(status, &format!("content-type: application/json\r\n{headers}"), body.as_bytes())
}

/// So many zeros, packed.
fn bomb(bytes: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![b'0'; bytes]).unwrap();
    encoder.finish().unwrap()
}

const PORTAL: &str = "<html><body>Welcome to the hotel. Please sign in.</body></html>";

/// What misbehaves at the level of HTTP, and what the outcome begins with.
fn misbehaving() -> Vec<(raw::Response, &'static str)> {
    use raw::Response::{Bytes, Drip, Endless};
    let ok = |headers: &str| format!("HTTP/1.1 200 OK\r\n{headers}").into_bytes();
    let whole = r#"{"id":"d0","at":"2026-01-01T10:00:00Z","online":true,"t":1}"#;
    let slow = Duration::from_millis(20);
    let packed = "content-encoding: gzip\r\n";
    vec![
        // The media type is not what decides: what is JSON is read.
        (raw::Response::of("200 OK", "content-type: text/html\r\n", whole.as_bytes()), "fresh"),
        (raw::Response::of("200 OK", "", whole.as_bytes()), "fresh"),
        (json_of("200 OK", "", &whole[..30]), "broken: the response is not JSON"),
        (Bytes([ok("content-length: 500\r\n\r\n"), whole.into()].concat()), "transient"),
        (json_of("200 OK", "", r#"{"id":"d0","t":NaN}"#), "broken: the response is not JSON"),
        (json_of("200 OK", "", r#"{"id":"d0","t":1e999}"#), "broken: the response is not JSON"),
        (json_of("200 OK", "", &"[".repeat(19_000)), "broken: the response is not JSON: recursion limit"),
        (
            json_of("200 OK", "", r#"{"error":{"code":17}}"#),
            "no_data: the provider's response has no value of the device",
        ),
        // What the device could not tell, and what it never had.
        (json_of("200 OK", "", r#"{"id":"d0","online":true,"t":null}"#), "no_data"),
        (json_of("200 OK", "", r#"{"online":false,"t":null}"#), "device_offline"),
        (
            raw::Response::of("200 OK", "content-type: text/html\r\n", PORTAL.as_bytes()),
            "broken: the response is",
        ),
        (raw::Response::of("200 OK", packed, &bomb(100 << 20)), "broken: the response is larger than 20000"),
        (raw::Response::of("200 OK", packed, whole.as_bytes()), "broken: the response is not valid gzip"),
        (
            raw::Response::of("200 OK", "content-encoding: br\r\n", b"x"),
            "broken: the response is encoded as \"br\"",
        ),
        (Bytes(ok("content-length: 99999999999\r\n\r\n")), "broken: the response is larger than 20000"),
        (
            Endless(ok("transfer-encoding: chunked\r\n\r\n"), b"8\r\n[1,2,3,4\r\n".to_vec()),
            "broken: the response is larger than 20000",
        ),
        (Endless(ok(""), b"x-flood: 0123456789012345678901234567890123456789\r\n".to_vec()), "transient"),
        (Endless(ok("x-flood: "), vec![b'x'; 8 << 10]), "transient"),
        (
            Endless(Vec::new(), b"HTTP/1.1 103 Early Hints\r\n\r\n".to_vec()),
            "transient: no response within the timeout",
        ),
        (Drip(ok("x: "), b"x".to_vec(), slow), "transient: no response within the timeout"),
        (
            Drip(ok("content-length: 9999\r\n\r\n"), b" ".to_vec(), slow),
            "transient: no response within the timeout",
        ),
        (Bytes(Vec::new()), "transient"),
        (Bytes(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()), "transient"),
        (raw::Response::of("302 Found", "location: /again\r\n", b""), "broken: HTTP 302 redirects to"),
        (
            raw::Response::of("302 Found", "location: http://169.254.169.254/latest\r\n", b""),
            "broken: HTTP 302 redirects to http://169.254.169.254/latest; redirects are not followed",
        ),
        // The status says enough, whatever the body is.
        (raw::Response::of("401 Unauthorized", packed, b"<html>"), "unauthorized"),
        (Bytes(b"HTTP/1.1 429 No\r\ncontent-length: 99999999\r\n\r\n".to_vec()), "throttled"),
        (Bytes(b"HTTP/1.1 404 No\r\ncontent-length: 5\r\n\r\nx".to_vec()), "gone"),
    ]
}

#[tokio::test]
async fn every_network_failure_is_an_outcome_in_time() {
    for (answer, says) in misbehaving() {
        let cloud = Raw::start(answer).await;
        let started = Instant::now();
        let answer = ask(SINGLE, &cloud.url(), &["d0"]).await;
        assert!(told(&answer).starts_with(says), "{says}: {}", told(&answer));
        // The definition's timeout is 2 s.
        assert!(started.elapsed() < Duration::from_secs(4), "{says}: {:?}", started.elapsed());
        assert_eq!(cloud.connections(), 1, "{says}: sent once");
    }
}

/// Through the whole journey: what was read before is still there.
#[tokio::test]
async fn last_good_reading_survives_network_failures() {
    for (answer, says) in misbehaving().into_iter().filter(|(_, says)| *says != "fresh") {
        let rig = Rig::new(SINGLE, 1).await;
        rig.answer(good(20.0)).await;
        rig.land(1).await;
        let cloud = Raw::start(answer).await;
        sqlx::query("UPDATE connections SET params = jsonb_build_object('base_url', $1::text)")
            .bind(cloud.url())
            .execute(&rig.t.app.pool)
            .await
            .unwrap();
        rig.run_again().await;
        rig.land(1).await;
        let kept = (json!({"t": 20.0}), says != "device_offline");
        assert_eq!(rig.value(rig.devices[0]).await, Some(kept), "{says}");
        let cached = rig.t.app.cache.get(rig.t.tenant, &rig.devices).await.unwrap();
        assert!(cached[0]["state"].contains("20.0"), "{says}: {cached:?}");
        let error = rig.standing(rig.devices[0]).await.2.unwrap_or_default();
        assert!(
            !error.contains(SECRET)
                && (error.starts_with(says) || matches!(says, "throttled" | "device_offline")),
            "{says}: {error}"
        );
        assert!(rig.check().await.clean, "{says}");
    }
}

#[tokio::test]
async fn untrusted_certificate_is_refused() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let cloud = Raw::self_signed(json_of("200 OK", "", r#"{"id":"d0","t":1}"#)).await;
    let answer = ask(SINGLE, &format!("https://127.0.0.1:{}", cloud.port), &["d0"]).await;
    assert!(told(&answer).starts_with("transient: ") && told(&answer).contains("certificate"), "{answer:?}");
    assert_eq!(answer.end, End::Lost);
    let plain = Raw::start(json_of("200 OK", "", "{}")).await;
    let answer = ask(SINGLE, &format!("https://127.0.0.1:{}", plain.port), &["d0"]).await;
    assert!(told(&answer).starts_with("transient: "), "{answer:?}");
}

#[tokio::test]
async fn forbidden_address_is_never_contacted() {
    let cloud = Raw::start(json_of("200 OK", "", r#"{"id":"d0","t":1}"#)).await;
    for (base_url, says) in [
        // By name and by number: resolved while connecting, or before.
        (format!("https://localhost:{}", cloud.port), "localhost is in a private network"),
        (format!("https://127.0.0.1:{}", cloud.port), "127.0.0.1 is in a private network"),
        (format!("https://[::ffff:127.0.0.1]:{}", cloud.port), "is in a private network"),
        (format!("https://0.0.0.0:{}", cloud.port), "is an address that no device cloud can have"),
        (
            "https://169.254.169.254/latest/meta-data".to_owned(),
            "is an address that no device cloud can have",
        ),
        ("http://example.com".to_owned(), "without TLS"),
        (format!("http://{SECRET}@127.0.0.1:{}", cloud.port), "must not contain a user"),
        ("https://example.com/?x=".to_owned(), "must not contain a user, a query or a fragment"),
        ("ftp://example.com".to_owned(), "needs http or https"),
    ] {
        let answer = ask_as(Reach::Public, SINGLE, &base_url, &["d0"]).await;
        assert!(told(&answer).starts_with("broken: ") && told(&answer).contains(says), "{says}: {answer:?}");
        assert_eq!(answer.end, End::Unsent, "{says}");
    }
    assert_eq!(cloud.connections(), 0);
    // The same, where the operator allows it.
    let answer = ask(SINGLE, &format!("http://localhost:{}", cloud.port), &["d0"]).await;
    assert_eq!(told(&answer), "fresh: ");
    let refused = ask(SINGLE, "http://169.254.169.254", &["d0"]).await;
    assert!(told(&refused).contains("no device cloud"), "{refused:?}");
}

#[tokio::test]
async fn redirect_loop_is_one_call() {
    let cloud = mocked(ResponseTemplate::new(302).insert_header("location", "/devices/d0")).await;
    let answer = ask(SINGLE, &cloud.uri(), &["d0"]).await;
    assert!(told(&answer).starts_with("broken: HTTP 302"), "{answer:?}");
    assert_eq!(cloud.received_requests().await.unwrap().len(), 1);
}

#[tokio::test]
async fn escaped_ids_match_their_records() {
    let id = "a/b ?c#d%&é\"=+..";
    let cloud =
        mocked(ResponseTemplate::new(200).set_body_json(json!({"devices": [{"id": id, "t": 1}]}))).await;
    let answer = ask(BATCH, &cloud.uri(), &[id]).await;
    assert_eq!(told(&answer), "fresh: ");
    let sent = cloud.received_requests().await.unwrap();
    assert_eq!(sent[0].url.query_pairs().collect::<Vec<_>>(), [("ids".into(), id.into())]);
    let answer = ask(SINGLE, &cloud.uri(), &[id]).await;
    let sent = cloud.received_requests().await.unwrap();
    assert_eq!(sent[1].url.path(), "/devices/a%2Fb%20%3Fc%23d%25%26%C3%A9%22%3D%2B..", "{answer:?}");
    // `..` alone would climb, and no escape keeps it from that.
    assert!(told(&ask(SINGLE, &cloud.uri(), &[".."]).await).contains("is not allowed as a path segment"));
}

#[tokio::test]
async fn each_device_of_a_batch_has_its_own_outcome() {
    let text = BATCH.replace("{id, values: {t}}", "{id, observed_at: .at, values: {t}}");
    let at = |minute: u32| format!("2026-01-01T00:{minute:02}:00Z");
    let devices = json!({"devices": [
        {"id": "twice", "at": at(2), "t": "newer"}, {"id": "twice", "at": at(1), "t": "older"},
        {"id": "same", "t": 1}, {"id": "same", "t": 2},
        {"id": "half", "t": 4}, {"id": "half", "at": at(3), "t": null}, {"id": "mute", "t": null},
        {"id": 18_446_744_073_709_551_615_u64, "t": 3},
    ]});
    let cloud = mocked(ResponseTemplate::new(200).set_body_json(devices)).await;
    let ids = ["twice", "same", "18446744073709551615", "missing", "half", "mute"];
    let answer = ask(&text, &cloud.uri(), &ids).await;
    let value = |n: usize| match &answer.outcomes[n].1 {
        Outcome::Fresh(record) => record.values["t"].clone(),
        other => json!(other.as_str()),
    };
    assert_eq!((value(0), value(1), value(2), value(3)), (json!("newer"), json!(2), json!(3), json!("gone")));
    assert_eq!((value(4), value(5)), (json!(4), json!("no_data")));
    // One that cannot be read loses no other; a device that is not among the others is not gone for that.
    let devices = json!({"devices": [{"id": "same", "t": 1}, {"id": {}, "t": 1}]});
    let cloud = mocked(ResponseTemplate::new(200).set_body_json(devices)).await;
    let answer = ask(&text, &cloud.uri(), &["same", "missing"]).await;
    assert!(matches!(answer.outcomes[0].1, Outcome::Fresh(_)), "{answer:?}");
    let missing = answer.outcomes[1].1.describe();
    assert!(missing.starts_with("broken: 1 records could not be read"), "{missing}");
    assert!(missing.contains("mapping yields an id"), "{missing}");
}

#[tokio::test]
async fn error_with_status_200_is_judged_by_its_body() {
    let rules = "[[rule]]\nbody = \".error.code == 17\"\noutcome = \"unauthorized\"\n";
    let body = json!({"error": {"code": 17, "message": format!("no such key: {SECRET}")}});
    let cloud = mocked(ResponseTemplate::new(200).set_body_json(body)).await;
    let answer = ask(&format!("{SINGLE}{rules}"), &cloud.uri(), &["d0"]).await;
    assert!(
        told(&answer).starts_with("unauthorized: HTTP 200") && told(&answer).contains("***"),
        "{answer:?}"
    );
    // Where no rule knows it, a mapping that finds no devices does.
    let answer = ask(BATCH, &cloud.uri(), &["d0"]).await;
    assert!(told(&answer).starts_with("broken: mapping failed"), "{answer:?}");
}

/// The definition with a quota per hour.
fn hourly() -> String {
    SINGLE.replace("window = \"1s\"", "window = \"1h\"")
}

#[tokio::test]
async fn senseless_waits_are_bounded() {
    // No longer than the longest window.
    const HOUR_S: i64 = 60 * 60;
    for (told, date, wait_s) in [
        ("Thu, 01 Jan 2015 00:00:00 GMT", "Thu, 01 Jan 2026 00:00:00 GMT", 1),
        ("Fri, 01 Jan 2027 00:00:00 GMT", "Thu, 01 Jan 2026 00:00:00 GMT", HOUR_S),
        ("31536000", "Thu, 01 Jan 2026 00:00:00 GMT", HOUR_S),
        ("-5", "Thu, 01 Jan 2026 00:00:00 GMT", 60),
        ("soon", "Thu, 01 Jan 2026 00:00:00 GMT", 60),
        ("", "Thu, 01 Jan 2026 00:00:00 GMT", 60),
        // A clock an hour ahead of ours, and one that never was set.
        ("Thu, 01 Jan 2026 01:02:00 GMT", "Thu, 01 Jan 2026 01:00:00 GMT", 120),
        ("Thu, 01 Jan 1970 00:02:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", 120),
    ] {
        let template =
            ResponseTemplate::new(429).insert_header("retry-after", told).insert_header("date", date);
        let answer = ask(&hourly(), &mocked(template).await.uri(), &["d0"]).await;
        let waits: Vec<_> = answer.holds.iter().map(|(hold, _)| hold.until.since_ms(NOW) / 1000).collect();
        assert_eq!(waits, [wait_s], "{told:?}");
        assert_eq!(answer.end, End::Throttled);
    }
}

#[tokio::test]
async fn wait_counts_from_the_responses_arrival() {
    let slow = Duration::from_millis(700);
    let template = ResponseTemplate::new(429).insert_header("retry-after", "5").set_delay(slow);
    let started = Instant::now();
    let answer = ask(&hourly(), &mocked(template).await.uri(), &["d0"]).await;
    let wait_ms = answer.holds[0].0.until.since_ms(NOW);
    assert!((5_700..=5_000 + started.elapsed().as_millis() as i64).contains(&wait_ms), "{wait_ms}");
}

#[tokio::test]
async fn redirect_to_a_private_address_is_not_followed() {
    let hidden = Raw::start(json_of("200 OK", "", r#"{"id":"d0","t":1}"#)).await;
    let cloud = mocked(ResponseTemplate::new(307).insert_header("location", hidden.url())).await;
    let answer = ask(SINGLE, &cloud.uri(), &["d0"]).await;
    assert!(told(&answer).starts_with("broken: HTTP 307 redirects to"), "{answer:?}");
    assert_eq!(hidden.connections(), 0);
}

/// Through the whole journey: as they came, or as near as a double can be.
#[tokio::test]
async fn huge_numbers_stay_numbers() {
    let rig = Rig::new(SINGLE, 1).await;
    for (told, kept) in [
        ("1e308", json!(1e308)),
        ("-1.5e-300", json!(-1.5e-300)),
        ("18446744073709551615", json!(u64::MAX)),
        ("123456789012345678901234567890", json!(123_456_789_012_345_678_901_234_567_890_f64)),
    ] {
        let body = format!(r#"{{"id":"d0","t":{told}}}"#);
        rig.answer(ResponseTemplate::new(200).set_body_raw(body, "application/json")).await;
        rig.land(1).await;
        let (values, _) = rig.value(rig.devices[0]).await.unwrap();
        assert_eq!(values["t"].as_f64(), kept.as_f64(), "{told}: {values}");
        rig.run_again().await;
    }
}

#[tokio::test]
async fn endless_program_is_an_outcome() {
    let text = SINGLE.replace("{id: .id,", "def f: f; f | {id: .id,");
    let cloud = mocked(good(1.0)).await;
    let answer = ask(&text, &cloud.uri(), &["d0"]).await;
    assert!(told(&answer).starts_with("broken: mapping failed: the program takes too"), "{answer:?}");
    // A rule that cannot be judged does not fit.
    let rule = "[[rule]]\nbody = \"def f: f; f\"\noutcome = \"gone\"\n";
    let answer = ask(&format!("{SINGLE}{rule}"), &cloud.uri(), &["d0"]).await;
    assert_eq!(told(&answer), "fresh: ");
}

/// With a runtime of its own, for it must have one worker thread and no other.
#[test]
fn program_that_burns_its_two_seconds_stalls_no_other_task() {
    let program = "[range(100000) as $i | tojson | length] | {values: {t: length}}";
    let text = SINGLE.replace("{id: .id, observed_at: .at, online: .online, values: {t: .t}}", program);
    assert_ne!(text, SINGLE);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (answer, took, stalled) = runtime.block_on(async {
        let numbers: Vec<_> = (0..3_000).collect();
        let cloud = mocked(ResponseTemplate::new(200).set_body_json(numbers)).await;
        let uri = cloud.uri();
        let call = tokio::spawn(async move {
            let began = Instant::now();
            (ask(&text, &uri, &["d0"]).await, began.elapsed())
        });
        let stalled_ms = Arc::new(AtomicU64::new(0));
        let longest = stalled_ms.clone();
        let ticks = tokio::spawn(async move {
            let (mut tick, mut last) = (interval(Duration::from_millis(10)), Instant::now());
            loop {
                tick.tick().await;
                longest.fetch_max(last.elapsed().as_millis() as u64, Ordering::Relaxed);
                last = Instant::now();
            }
        });
        let (answer, took) = call.await.unwrap();
        // One more tick comes meanwhile: late, if the worker was busy until now.
        tokio::time::timeout(Duration::from_millis(50), ticks).await.unwrap_err();
        (answer, took, Duration::from_millis(stalled_ms.load(Ordering::Relaxed)))
    });
    assert!(told(&answer).contains("the program takes too long"), "{}", told(&answer));
    assert!(took >= Duration::from_millis(1_900), "{took:?}");
    assert!(stalled < Duration::from_millis(1_000), "{stalled:?}");
}

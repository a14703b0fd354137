//! Only what is new is asked for: by HTTP's conditions, by change tokens, by probes. What an answer leaves out is kept
//! as it was only where that is what it means.

use crate::journey::Rig;
use paceline::words::DeviceId;
use serde_json::{Value, json};
use wiremock::matchers::{header, header_exists, path, query_param};
use wiremock::{Mock, ResponseTemplate};

const HEAD: &str = r#"
title = "Novelty"
[http]
base_url = "{{ params.base_url }}"
timeout = "2s"
in_flight = 1
[[quota]]
name = "second"
scope = "connection"
amount = 50
window = "1s"
burst = 10
"#;

/// A definition of it and one resource.
fn cloud(resource: &str) -> &'static str {
    let text = format!(
        "{HEAD}[resource.state]\ninterval_min = \"1s\"\ninterval_default = \"1m\"\n{resource}\n\
         [[rule]]\nstatus = [409]\noutcome = \"device_offline\"\n"
    );
    text.leak()
}

/// Makes every job due at once, and lands until nothing is on its way.
async fn again(rig: &Rig) {
    rig.run_again().await;
    let mut on_their_way = rig.start(&rig.journey).await.expect("something is due");
    while on_their_way > 0 {
        on_their_way -= rig.journey.land().await.unwrap().ended;
    }
}

/// Path and query of what was asked since the last reset.
async fn asked(rig: &Rig) -> Vec<String> {
    let requests = rig.cloud.received_requests().await.unwrap();
    requests.iter().map(|r| [r.url.path(), r.url.query().unwrap_or("")].join("?")).collect()
}

/// How many minutes ago it was last known good, and what vouches for it.
async fn kept(rig: &Rig, device: DeviceId) -> (i64, Option<Value>) {
    let sql = "SELECT (extract(epoch FROM now() - fetched_at) / 60)::bigint, validator FROM latest
               WHERE device_id = $1";
    sqlx::query_as(sql).bind(device.0).fetch_one(&rig.t.app.pool).await.unwrap()
}

#[tokio::test]
async fn unchanged_response_is_not_sent_again() {
    let text =
        cloud("path = \"/d/{{ device.external_id }}\"\nrecords = \"{values: {t: .t}}\"\nconditional = true");
    let rig = Rig::new(text, 1).await;
    let device = rig.devices[0];
    let known = Mock::given(header("if-none-match", "\"v1\"")).respond_with(ResponseTemplate::new(304));
    known.with_priority(1).mount(&rig.cloud).await;
    let whole = ResponseTemplate::new(200).set_body_json(json!({"t": 1})).insert_header("etag", "\"v1\"");
    Mock::given(path("/d/d0")).respond_with(whole.clone()).mount(&rig.cloud).await;
    rig.read_all(&rig.journey).await;
    assert_eq!(kept(&rig, device).await.1.unwrap()["etag"], "\"v1\"");
    again(&rig).await;
    let requests = rig.cloud.received_requests().await.unwrap();
    assert_eq!(requests.len(), 2);
    assert!(!requests[0].headers.contains_key("if-none-match"));
    assert_eq!(requests[1].headers["if-none-match"], "\"v1\"");
    assert_eq!(rig.value(device).await, Some((json!({"t": 1}), true)));
    let (minutes, validator) = kept(&rig, device).await;
    assert_eq!((minutes, validator.is_some()), (0, true), "304 confirms it, and goes on vouching");

    // Offline for another reason: 304 would not tell that it is back.
    rig.cloud.reset().await;
    Mock::given(header_exists("if-none-match"))
        .respond_with(ResponseTemplate::new(409))
        .mount(&rig.cloud)
        .await;
    Mock::given(path("/d/d0")).respond_with(whole).with_priority(9).mount(&rig.cloud).await;
    again(&rig).await;
    assert_eq!(rig.value(device).await, Some((json!({"t": 1}), false)));
    assert_eq!(kept(&rig, device).await.1, None);
    again(&rig).await;
    assert_eq!(rig.value(device).await, Some((json!({"t": 1}), true)));
    assert!(rig.check().await.clean);
}

const SINCE: &str = "unit = \"batch\"\nbatch_max = 10\npath = \"/all\"\n\
    query = { after = \"{{ since }}\" }\nsince = \".at\"\n\
    records = \".all[] | {id, online: (.t != null), values: {t}}\"";

async fn all(rig: &Rig, after: Option<i64>, answer: Value) {
    let mock = Mock::given(path("/all"));
    let mock = match after {
        Some(after) => mock.and(query_param("after", after.to_string())),
        None => mock.and(|request: &wiremock::Request| request.url.query().is_none()),
    };
    mock.respond_with(ResponseTemplate::new(200).set_body_json(answer)).mount(&rig.cloud).await;
}

#[tokio::test]
async fn record_left_out_of_a_partial_response_is_unchanged() {
    let rig = Rig::new(cloud(SINCE), 3).await;
    let three = |t: i64| json!([{"id": "d0", "t": t}, {"id": "d1", "t": t}, {"id": "d2", "t": null}]);
    // The third has a reading once, then is offline in a complete response.
    let first = json!([{"id": "d0", "t": 1}, {"id": "d1", "t": 1}, {"id": "d2", "t": 1}]);
    all(&rig, None, json!({"at": 100, "all": first})).await;
    rig.read_all(&rig.journey).await;
    rig.cloud.reset().await;
    all(&rig, Some(100), json!({"at": 200, "all": [{"id": "d1", "t": 2}, {"id": "d2", "t": null}]})).await;
    again(&rig).await;
    assert_eq!(asked(&rig).await, ["/all?after=100"]);
    let [a, b, c] = [rig.devices[0], rig.devices[1], rig.devices[2]];
    assert_eq!(rig.value(a).await, Some((json!({"t": 1}), true)));
    assert_eq!(rig.value(b).await, Some((json!({"t": 2}), true)));
    assert_eq!(rig.value(c).await, Some((json!({"t": 1}), false)));
    assert_eq!(kept(&rig, a).await.0, 0, "unchanged is known good now");
    assert!(kept(&rig, c).await.0 > 100, "what is offline was not seen");
    for device in [a, b, c] {
        assert_eq!(kept(&rig, device).await.1.unwrap()["since"], 200);
    }
    // Unchanged is offline still where it was.
    rig.cloud.reset().await;
    all(&rig, Some(200), json!({"at": 300, "all": []})).await;
    again(&rig).await;
    assert_eq!(rig.value(c).await, Some((json!({"t": 1}), false)));

    // From time to time all is asked for, whatever is known.
    rig.cloud.reset().await;
    all(&rig, None, json!({"at": 400, "all": three(4)})).await;
    let old = "UPDATE latest SET validator = jsonb_set(validator, '{whole_at}', '1000') WHERE device_id = $1";
    sqlx::query(old).bind(b.0).execute(&rig.t.app.pool).await.unwrap();
    again(&rig).await;
    assert_eq!(asked(&rig).await, ["/all?"]);
    assert_eq!(rig.value(a).await, Some((json!({"t": 4}), true)));

    // A device without a reading is not passed over.
    rig.cloud.reset().await;
    sqlx::query("DELETE FROM latest WHERE device_id = $1").bind(c.0).execute(&rig.t.app.pool).await.unwrap();
    all(
        &rig,
        None,
        json!({"at": 500, "all": [{"id": "d0", "t": 5}, {"id": "d1", "t": 5}, {"id": "d2", "t": 5}]}),
    )
    .await;
    again(&rig).await;
    assert_eq!(rig.value(c).await, Some((json!({"t": 5}), true)));
    // Nor is one that all leaves out unchanged.
    rig.cloud.reset().await;
    sqlx::query("UPDATE latest SET validator = NULL").execute(&rig.t.app.pool).await.unwrap();
    all(&rig, None, json!({"at": 600, "all": [{"id": "d0", "t": 6}, {"id": "d1", "t": 6}]})).await;
    again(&rig).await;
    let (_, failing, error) = rig.standing(c).await;
    assert!(failing && error.as_deref().is_some_and(|e| e.contains("does not list the device")), "{error:?}");
    assert!(rig.check().await.clean);
}

const PROBE: &str = "unit = \"batch\"\nbatch_max = 10\npath = \"/some\"\n\
    query = { ids = \"{{ devices | map(attribute='external_id') | join(',') }}\" }\n\
    records = \".[] | {id, values: {t}}\"\n\
    probe = { path = \"/summary\", revisions = \".[] | {id, revision: .r, online: .o}\" }";

async fn summary(rig: &Rig, rows: Value) {
    let answer = ResponseTemplate::new(200).set_body_json(rows);
    Mock::given(path("/summary")).respond_with(answer).mount(&rig.cloud).await;
}

async fn some(rig: &Rig, ids: &str, answer: ResponseTemplate) {
    Mock::given(path("/some")).and(query_param("ids", ids)).respond_with(answer).mount(&rig.cloud).await;
}

fn told(rows: &Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(rows)
}

#[tokio::test]
async fn probe_requests_only_changed_devices() {
    let rig = Rig::new(cloud(PROBE), 3).await;
    let [a, b, c] = [rig.devices[0], rig.devices[1], rig.devices[2]];
    for ids in ["d0,d1,d2", "d0", "d1", "d2", "d0,d1", "d1,d2", "d0,d2"] {
        let rows: Vec<_> = ids.split(',').map(|id| json!({"id": id, "t": 1})).collect();
        some(&rig, ids, told(&json!(rows))).await;
    }
    summary(&rig, json!([{"id": "d0", "r": "a"}, {"id": "d1", "r": 7}, {"id": "d2", "r": "c", "o": true}]))
        .await;
    rig.read_all(&rig.journey).await;
    assert_eq!(kept(&rig, b).await.1.unwrap()["revision"], "7");
    rig.cloud.reset().await;
    summary(&rig, json!([{"id": "d0", "r": "a"}, {"id": "d1", "r": 8}, {"id": "d2", "r": "c", "o": false}]))
        .await;
    some(&rig, "d1", told(&json!([{"id": "d1", "t": 2}]))).await;
    again(&rig).await;
    assert_eq!(asked(&rig).await, ["/summary?", "/some?ids=d1"]);
    assert_eq!(rig.value(a).await, Some((json!({"t": 1}), true)));
    assert_eq!(rig.value(b).await, Some((json!({"t": 2}), true)));
    assert_eq!(rig.value(c).await, Some((json!({"t": 1}), false)));
    assert_eq!(kept(&rig, a).await.0, 0);

    // Nothing new, but for one that is back: it is asked for, whatever its revision.
    rig.cloud.reset().await;
    summary(&rig, json!([{"id": "d0", "r": "a"}, {"id": "d1", "r": 8}, {"id": "d2", "r": "c"}])).await;
    some(&rig, "d2", told(&json!([{"id": "d2", "t": 3}]))).await;
    again(&rig).await;
    assert_eq!(asked(&rig).await, ["/summary?", "/some?ids=d2"]);
    assert_eq!(rig.value(c).await, Some((json!({"t": 3}), true)));

    // What follows fails: those that have changed are tried again with the revision that they had.
    rig.cloud.reset().await;
    summary(&rig, json!([{"id": "d0", "r": "b"}, {"id": "d1", "r": 8}, {"id": "d2", "r": "c"}])).await;
    some(&rig, "d0", ResponseTemplate::new(500)).await;
    again(&rig).await;
    assert_eq!(kept(&rig, a).await.1.unwrap()["revision"], "a");
    rig.cloud.reset().await;
    summary(&rig, json!([{"id": "d0", "r": "b"}, {"id": "d1", "r": 8}, {"id": "d2", "r": "c"}])).await;
    some(&rig, "d0", told(&json!([{"id": "d0", "t": 9}]))).await;
    again(&rig).await;
    assert_eq!(rig.value(a).await, Some((json!({"t": 9}), true)));

    // Or tells nothing of them: it is not seen yet, whatever the probe says of it the next time.
    for answer in [ResponseTemplate::new(409), ResponseTemplate::new(500)] {
        rig.cloud.reset().await;
        summary(&rig, json!([{"id": "d0", "r": "e"}, {"id": "d1", "r": 8}, {"id": "d2", "r": "c"}])).await;
        some(&rig, "d0", answer).await;
        again(&rig).await;
        assert_eq!(asked(&rig).await, ["/summary?", "/some?ids=d0"]);
    }
    rig.cloud.reset().await;
    summary(&rig, json!([{"id": "d0", "r": "e"}, {"id": "d1", "r": 8}, {"id": "d2", "r": "c"}])).await;
    some(&rig, "d0", told(&json!([{"id": "d0", "t": 9}]))).await;
    again(&rig).await;
    assert_eq!(rig.value(a).await, Some((json!({"t": 9}), true)));

    // A probe that cannot be read, or fails, ends the call for all, and nothing else is sent.
    for answer in [told(&json!({"not": "rows"})), ResponseTemplate::new(503), told(&json!([{"r": 1}]))] {
        rig.cloud.reset().await;
        Mock::given(path("/summary")).respond_with(answer).mount(&rig.cloud).await;
        again(&rig).await;
        assert_eq!(asked(&rig).await, ["/summary?"]);
        assert_eq!(rig.value(a).await, Some((json!({"t": 9}), true)));
    }
    assert!(rig.check().await.clean);
}

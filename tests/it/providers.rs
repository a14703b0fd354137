//! Definitions against recorded and simulated responses.

use crate::journey::Rig;
use paceline::preference::devices::{self, NewDevice, TenantConnection};
use paceline::provider::Provider;
use paceline::take::{Reservation, ReserveRequest, Taker};
use paceline::words::Priority;
use serde_json::json;
use wiremock::matchers::path;
use wiremock::{Mock, ResponseTemplate};

const SIGNALK: &str = include_str!("../../config/providers/signalk.toml");

/// Device path, recorded response, and the values and online state expected.
fn recordings() -> [(&'static str, ResponseTemplate, serde_json::Value, bool); 5] {
    let json = |text: &'static str| ResponseTemplate::new(200).set_body_raw(text, "application/json");
    [
        (
            "navigation/position",
            json(include_str!("../../fixtures/providers/signalk/position.json")),
            json!({"longitude_deg": 24.7366563, "latitude_deg": 59.724980699999996}),
            true,
        ),
        (
            "navigation/speedOverGround",
            json(include_str!("../../fixtures/providers/signalk/speed_over_ground.json")),
            json!({"speed_mps": 3.47}),
            true,
        ),
        (
            "navigation/gnss/type",
            json(include_str!("../../fixtures/providers/signalk/gnss_type.json")),
            json!({"value": "GPS"}),
            true,
        ),
        // Its source has stopped sending: the path exists, without a value.
        (
            "electrical/batteries/1/capacity/timeRemaining",
            json(include_str!("../../fixtures/providers/signalk/time_remaining.json")),
            json!(null),
            false,
        ),
        (
            "navigation/nowhere",
            ResponseTemplate::new(404)
                .set_body_string(include_str!("../../fixtures/providers/signalk/not_found.html")),
            json!(null),
            false,
        ),
    ]
}

#[tokio::test]
async fn recorded_signalk_responses_become_readings() {
    let rig = Rig::new(SIGNALK, 0).await;
    let connection = rig.connection;
    let state = || vec![("state".parse().unwrap(), "1h".parse().unwrap(), Priority::Normal)];
    let device = |id: &str| NewDevice {
        external_id: id.to_owned(),
        name: String::new(),
        group: String::new(),
        jobs: state(),
    };
    for (id, answer, ..) in recordings() {
        let url_path = format!("/signalk/v1/api/vessels/self/{id}");
        Mock::given(path(url_path)).respond_with(answer).expect(1).mount(&rig.cloud).await;
    }
    let new: Vec<_> = recordings().iter().map(|(id, ..)| device(id)).collect();
    let account = TenantConnection { tenant: rig.t.tenant, connection, provider: "mocked".parse().unwrap() };
    let ids = devices::add(&rig.t.app.pool, &account, &new).await.unwrap();
    paceline::keep::drain(&rig.t.app).await.unwrap();
    rig.land(5).await;
    for (id, (path, _, values, online)) in ids.into_iter().zip(recordings()) {
        let reading = rig.value(id).await;
        match values.is_null() {
            true => assert_eq!(reading, None, "{path}"),
            false => assert_eq!(reading, Some((values, online)), "{path}"),
        }
        assert!(!rig.standing(id).await.1, "{path} is not failing");
    }
    assert!(rig.check().await.clean);
}

#[test]
fn quotas_shown_in_the_readme_load() {
    let readme = include_str!("../../README.md");
    let shown = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("quotas");
    let text = format!(
        r#"title = "Shown"
[http]
base_url = "https://api.example.com"
{shown}
[resource.energy]
interval_min = "10s"
interval_default = "1m"
path = "/devices/{{{{ device.external_id }}}}"
records = "."
"#
    );
    let provider = Provider::parse("shown".parse().unwrap(), "README.md", &text).unwrap();
    let names: Vec<_> = provider.quotas().map(|quota| quota.name.as_str()).collect();
    assert_eq!(names, ["10s", "day", "at-once"]);
}

/// One call per second; responses report the quota's state.
const REPORTING: &str = r#"
title = "Reporting"
[http]
base_url = "{{ params.base_url }}"
[[quota]]
name = "hour"
scope = "connection"
amount = 3600
window = "1h"
[[rate_limit]]
quota = "hour"
policy = "hourly"
[resource.state]
interval_min = "1s"
interval_default = "1m"
path = "/devices/{{ device.external_id }}"
records = "{values: {t: .t}}"
"#;

#[tokio::test]
async fn response_that_reports_an_exhausted_quota_sets_a_hold() {
    let rig = Rig::new(REPORTING, 2).await;
    let good = ResponseTemplate::new(200)
        .insert_header("RateLimit", "\"hourly\";r=0;t=600")
        .set_body_json(json!({"t": 1}));
    Mock::given(wiremock::matchers::any()).respond_with(good).expect(1).mount(&rig.cloud).await;
    rig.land(1).await;
    let Reservation::NotYet { by, wait_ms } = reserve(&rig).await else {
        panic!("granted in spite of the hold")
    };
    assert!(by.starts_with("hold: ") && by.contains("quota hour"), "{by}");
    assert!(wait_ms.is_some_and(|ms| (500_000.0..600_000.0).contains(&ms)), "{wait_ms:?}");
}

/// Asks the quotas for an ad-hoc call of the rig's connection.
async fn reserve(rig: &Rig) -> Reservation {
    let provider = rig.t.app.registry.get(rig.provider).unwrap();
    let taker = Taker::new(rig.t.app.redis.clone(), provider, &rig.t.app.taker_settings());
    let (lane, resource) = (rig.connection.to_string(), "state".parse().unwrap());
    let cost = provider.resource("state").unwrap().cost_of(0);
    taker
        .reserve(
            &ReserveRequest { lane, resource, cost, devices: Vec::new(), keep_ms: 0, probes: true },
            None,
        )
        .await
        .unwrap()
}

/// The burst is two pages: two calls of one page, or one call of two.
const PAGED: &str = r#"
title = "Paged"
[http]
base_url = "{{ params.base_url }}"
[[quota]]
name = "hour"
scope = "connection"
amount = 3
window = "1h"
burst = 2
[resource.state]
unit = "connection"
interval_min = "1s"
interval_default = "1m"
path = "/devices"
records = ".devices[] | {id, values: {t}}"
pages = { by = "cursor", param = "after", max = 2, next = ".next" }
"#;

#[tokio::test]
async fn all_pages_of_a_call_are_spent_and_mapped_together() {
    let rig = Rig::new(PAGED, 2).await;
    let second = ResponseTemplate::new(200).set_body_json(json!({"devices": [{"id": "d1", "t": 2}]}));
    let first = json!({"devices": [{"id": "d0", "t": 1}], "next": "x y"});
    let second_page = wiremock::matchers::query_param("after", "x y");
    Mock::given(second_page).respond_with(second).expect(1).mount(&rig.cloud).await;
    let first = ResponseTemplate::new(200).set_body_json(first);
    Mock::given(path("/devices")).respond_with(first).expect(1).mount(&rig.cloud).await;
    rig.land(1).await;
    for (device, t) in rig.devices.iter().zip([1, 2]) {
        assert_eq!(rig.value(*device).await, Some((json!({"t": t}), true)));
    }
    let Reservation::NotYet { by, wait_ms } = reserve(&rig).await else {
        panic!("granted although both pages of the burst are spent")
    };
    // One page comes back per half hour, and a call needs two.
    assert!(by == "hour" && wait_ms.is_some_and(|ms| ms > 3_500_000.0), "{by} {wait_ms:?}");
}

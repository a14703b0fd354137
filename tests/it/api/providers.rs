//! What readings of a provider hold.

use super::{Api, PROVIDER, request, send};
use crate::support::TestApp;
use axum::body::Body;
use axum::http::StatusCode;
use paceline::http;
use paceline::words::Role;
use serde_json::{Value, json};

const DECLARED: &str = r#"
title = "Declared"
docs = "https://example.com/api"
[http]
base_url = "{{ params.base_url }}"
[resource.climate]
unit = "batch"
batch_max = 20
interval_min = "1m"
interval_default = "10m"
path = "/climate"
query = { ids = "{{ devices | map(attribute='external_id') | join(',') }}" }
each = ".[]"
id = ".id"
records = "{values: {temperature_c: .t, rh: .h, boiler: .b, mode: .m, secret_sauce: .s}}"
[resource.climate.value.humidity_pct]
from = "rh"
label = "Moisture"
[resource.climate.value.boiler]
label = "Boiler pressure"
unit = "bar"
"#;

#[tokio::test]
async fn provider_tells_its_resources_and_the_meaning_of_their_values() {
    let test = TestApp::with(&[("declared", DECLARED), ("testcloud", PROVIDER)]).await;
    let (router, key) = (http::router(test.app.clone()), test.key(Role::Reader).await);
    let api = Api { test, router, devices: Vec::new() };
    let shown = api.get("/v1/providers/declared", &key).await;
    let value = |label: &str, kind: &str, unit: Value, common: bool| {
        let mut value = json!({"label": label, "kind": kind, "unit": unit});
        value["common"] = json!(common);
        value
    };
    let values = json!({
        "temperature_c": value("Temperature", "number", json!("°C"), true),
        "humidity_pct": value("Moisture", "number", json!("%"), true),
        "mode": value("Mode", "text", Value::Null, true),
        "boiler": value("Boiler pressure", "number", json!("bar"), false),
    });
    let climate = json!({"by_default": true, "interval_default": "10m", "interval_min": "1m", "unit": "batch",
                         "batch_max": 20, "values": values});
    let expected = json!({"name": "declared", "title": "Declared", "docs": "https://example.com/api",
                          "discovery": false, "resources": {"climate": climate}});
    assert_eq!((shown.status, shown.body), (StatusCode::OK, expected));

    let other = api.get("/v1/providers/testcloud", &key).await.body;
    assert_eq!((&other["docs"], &other["resources"]["energy"]["batch_max"]), (&Value::Null, &json!(1)));
    let unknown = api.get("/v1/providers/nowhere", &key).await;
    assert_eq!((unknown.status, unknown.problem()), (StatusCode::NOT_FOUND, "no-such-provider"));
    assert!(unknown.detail().contains("declared, testcloud"), "{unknown:?}");
    let keyless = send(&api.router, request("GET", "/v1/providers/declared"), Body::empty()).await;
    assert_eq!(keyless.status, StatusCode::UNAUTHORIZED);
}

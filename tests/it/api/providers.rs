//! What connections to a provider need, and what its readings hold.

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
                          "discovery": false, "authorization": "secrets", "secrets": {}, "params": {}, "plans": [],
                          "addable": false, "resources": {"climate": climate}});
    assert_eq!((shown.status, shown.body), (StatusCode::OK, expected));

    let other = api.get("/v1/providers/testcloud", &key).await.body;
    assert_eq!((&other["docs"], &other["resources"]["energy"]["batch_max"]), (&Value::Null, &json!(1)));
    let unknown = api.get("/v1/providers/nowhere", &key).await;
    assert_eq!((unknown.status, unknown.problem()), (StatusCode::NOT_FOUND, "no-such-provider"));
    assert!(unknown.detail().contains("declared, testcloud"), "{unknown:?}");
    let keyless = send(&api.router, request("GET", "/v1/providers/declared"), Body::empty()).await;
    assert_eq!(keyless.status, StatusCode::UNAUTHORIZED);
}

const NEEDY: &str = r#"
title = "Needy"
[http]
base_url = "https://{{ params.host }}/v1"
hosts = ["*.example.com"]
[auth]
kind = "bearer"
secret = "api_key"
[[auth.key]]
header = "X-App"
operator = "app_key"
[secret.api_key]
about = "from its settings page"
[param.host]
about = "the account's host"
kind = "host"
[param.region]
about = "where it was made"
kind = "choice"
choices = ["eu", "us"]
default = "eu"
[resource.state]
interval_min = "5s"
interval_default = "1m"
path = "/state"
records = "{values: {temperature_c: .t}}"
"#;

#[tokio::test]
async fn providers_are_listed_with_what_their_connections_need() {
    let with_key = |settings: &mut paceline::settings::Settings| {
        settings.provider = serde_json::from_value(json!({"needy": {"app_key": "of the operator"}})).unwrap();
        settings.providers.private_networks = ["testcloud".to_owned()].into_iter().collect();
    };
    let shown = [("needy", NEEDY), ("bare", NEEDY), ("testcloud", PROVIDER)];
    let test = TestApp::with_settings(&shown, with_key).await;
    let (router, key) = (http::router(test.app.clone()), test.key(Role::Reader).await);
    let api = Api { test, router, devices: Vec::new() };
    let list = api.get("/v1/providers", &key).await;
    assert_eq!(list.status, StatusCode::OK);
    let of = |name: &str| {
        let all = list.body["providers"].as_array().unwrap();
        all.iter().find(|one| one["name"] == name).unwrap().clone()
    };
    let needy = of("needy");
    assert_eq!(needy["secrets"], json!({"api_key": {"about": "from its settings page"}}));
    let host = json!({"about": "the account's host", "required": true, "default": null, "kind": "host", "choices": [],
                      "hosts": ["*.example.com"]});
    let region = json!({"about": "where it was made", "required": false, "default": "eu", "kind": "choice",
                        "choices": ["eu", "us"], "hosts": []});
    assert_eq!(needy["params"], json!({"host": host, "region": region}));
    assert_eq!(needy["resources"]["state"]["interval_min"], "5s");
    assert_eq!(needy["resources"]["state"]["values"]["temperature_c"]["unit"], "°C");
    // The second lacks the operator's key, the third may be called in private networks.
    let addable = ["needy", "bare", "testcloud"].map(|name| of(name)["addable"].as_bool().unwrap());
    assert_eq!(addable, [true, false, false]);
    assert_eq!(api.get("/v1/providers/needy", &key).await.body, needy);
}

#[tokio::test]
async fn params_are_checked_and_hosts_allowed_by_the_operator() {
    let allowed = |settings: &mut paceline::settings::Settings| {
        let given = json!({"needy": {"app_key": "of the operator"}, "bare": {}});
        settings.provider = serde_json::from_value(given).unwrap();
        settings.providers.private_networks = Default::default();
        settings.providers.hosts = serde_json::from_value(json!(["needy/needy.example.org"])).unwrap();
    };
    let shown = [("needy", NEEDY), ("bare", NEEDY), ("anywhere", PROVIDER)];
    let test = TestApp::with_settings(&shown, allowed).await;
    let (router, key) = (http::router(test.app.clone()), test.key(Role::User).await);
    let add = async |provider: &str, params: Value, secrets: Value| {
        let body = json!({"provider": provider, "label": "home", "params": params, "secrets": secrets});
        let asked = request("POST", "/v1/connections").header("authorization", format!("Bearer {key}"));
        send(&router, asked.header("content-type", "application/json"), Body::from(body.to_string())).await
    };
    let secret = json!({"api_key": "s"});
    for (provider, params, secrets, problem, says) in [
        ("needy", json!({"host": "a.example.com/x"}), secret.clone(), "bad-connection", "is not a host"),
        (
            "needy",
            json!({"host": "a.example.com", "region": "asia"}),
            secret.clone(),
            "bad-connection",
            "one of eu, us",
        ),
        (
            "needy",
            json!({"host": "evil.example.net"}),
            secret.clone(),
            "bad-connection",
            "ask the operator for others",
        ),
        ("needy", json!({}), secret.clone(), "bad-connection", "add it to `params`"),
        ("needy", json!({"host": "a.example.com"}), json!({}), "bad-connection", "add it to `secrets`"),
        (
            "bare",
            json!({"host": "a.example.com"}),
            secret.clone(),
            "bad-connection",
            "has not set up provider bare",
        ),
        (
            "anywhere",
            json!({"base_url": "https://a.example.com"}),
            json!({}),
            "host-not-allowed",
            "ask for the host",
        ),
    ] {
        let refused = add(provider, params.clone(), secrets).await;
        assert_eq!(refused.problem(), problem, "{provider} {params}: {}", refused.detail());
        let detail = refused.detail();
        assert!(detail.contains(says), "{says}: {detail}");
        for word in ["`paceline", "--", "providers.", "PACELINE", "provider."] {
            assert!(!detail.contains(word), "{word}: {detail}");
        }
    }
    let added = add("needy", json!({"host": "NEEDY.example.org"}), secret).await;
    assert_eq!(added.status, StatusCode::CREATED, "{added:?}");
}

/// Texts of the API are for users, who have neither commands nor settings.
#[test]
fn texts_of_the_api_name_no_command_and_no_setting() {
    let defaults = paceline::settings::DEFAULTS;
    let mut section = "";
    let mut names = vec!["`paceline ".to_owned(), "PACELINE__".to_owned()];
    for line in defaults.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.split(']').next().unwrap();
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            names.push(format!("{section}.{}", key.trim()));
        }
    }
    assert!(names.len() > 60, "{}", names.len());
    let mut files = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/http"))];
    let mut wrong = Vec::new();
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        // The log is the operator's.
        let mut parts = text.split("tracing::");
        let mut text = parts.next().unwrap_or_default().to_owned();
        text.extend(parts.filter_map(|part| part.split_once(';')).map(|(_, after)| after));
        let code = text.split("#[cfg(test)]").next().unwrap();
        for (n, line) in code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            // Of fields that are named as settings, only texts count.
            let quoted = line.contains('"') || line.trim_end().ends_with('\\');
            if let Some(name) = names.iter().find(|name| quoted && line.contains(name.as_str())) {
                wrong.push(format!("{}:{}: {name}", path.display(), n + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

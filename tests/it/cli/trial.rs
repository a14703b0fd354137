//! `provider try`: batches, lists of devices and requests for tokens.

use super::Binary;
use serde_json::json;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

const HALL: &str = r#"title = "Hall"
[param.base_url]
about = "test server"
[http]
base_url = "{{ params.base_url }}"
[auth]
kind = "bearer"
[auth.login]
url = "/login"
json = '{"password": {{ secrets.password }}}'
secrets = ["password"]
token = ".session.key"
lifetime = ".ttl"
interval_min = "1s"
[[quota]]
name = "minute"
scope = "connection"
amount = 60
window = "1m"
burst = 20
[[quota]]
name = "logins"
scope = "connection"
amount = 60
window = "1m"
burst = 10
resources = ["token"]
[discovery]
path = "/devices"
devices = ".[] | {id, name, group: .home, model}"
[resource.state]
unit = "batch"
batch_max = 3
interval_min = "10s"
interval_default = "1m"
path = "/state"
query = { ids = "{{ devices | map(attribute='external_id') | join(',') }}" }
each = ".[]"
id = ".id"
records = "{values: {temperature_c: (.t | tonumber)}}"
[resource.name]
by_default = false
interval_min = "10s"
interval_default = "1m"
path = "/name/{{ device.external_id }}"
records = "{values: {name}}"
"#;

async fn hall(cloud: &MockServer) -> Binary {
    let login = |password: &str| {
        Mock::given(matchers::path("/login")).and(matchers::body_json(json!({ "password": password })))
    };
    let granted = |key: &str| {
        ResponseTemplate::new(200)
            .insert_header("Set-Cookie", "sid=c00kie")
            .set_body_json(json!({"session": {"key": key}, "ttl": 3600}))
    };
    login("pa55w0rd").respond_with(granted("t0ken-of-own")).mount(cloud).await;
    login("0ther").respond_with(granted("t0ken-of-other")).mount(cloud).await;
    let refused = ResponseTemplate::new(401).set_body_json(json!({"error": "no such password: wr0ng"}));
    login("wr0ng").respond_with(refused).mount(cloud).await;
    let binary = Binary::new().await;
    binary.file("providers/hall.toml", HALL);
    let binary = binary
        .set("PACELINE__PROVIDERS__DIR", "providers")
        .set("PACELINE__PROVIDERS__PRIVATE_NETWORKS", "hall");
    let secret = binary.file("secret", "pa55w0rd\n");
    let base_url = cloud.uri();
    let add = format!(
        "connection add --tenant acme --provider hall --label main --param base_url={base_url} \
         --secret-file {secret}"
    );
    binary.run(&add).ok();
    binary
}

const TRY: &str = "provider try hall --tenant acme --connection main";

#[tokio::test(flavor = "multi_thread")]
async fn batch_is_tried_in_one_call_and_told_device_by_device() {
    let cloud = MockServer::start().await;
    let body = json!([{"id": "a", "t": "21.5"}, {"id": "b", "t": "1,5"}]);
    let answer = ResponseTemplate::new(200).set_body_json(body);
    let asked = matchers::query_param("ids", "a,b,c");
    Mock::given(matchers::path("/state")).and(asked).respond_with(answer).expect(1).mount(&cloud).await;
    let binary = hall(&cloud).await;
    for id in ["a", "b", "c"] {
        binary.run(&format!("device add --tenant acme --connection main --external-id {id}")).ok();
    }
    let tried = format!("{TRY} --resource state --device a --device b --device c");
    let run = binary.run(&tried);
    assert_eq!(run.code, Some(1), "one of them cannot be read: {run:?}");
    for expected in [
        "Outcome for a: fresh.",
        "temperature_c  21.5",
        "Outcome for b: broken: ",
        "1,5",
        "Outcome for c: gone",
    ] {
        assert!(run.out.contains(expected), "{expected}: {run:?}");
    }
    binary.run(&format!("{tried} --device d")).refused(1, &["serves 3 device(s), not 4"]);
    let two = format!("{TRY} --resource name --device a --device b");
    binary.run(&two).refused(1, &["one call for name serves 1 device(s), not 2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn list_of_devices_is_tried_and_adds_none() {
    let cloud = MockServer::start().await;
    let body = json!([{"id": "a", "name": "Hall", "home": "h1", "model": "M2"}, {"id": "b"}]);
    let answer = ResponseTemplate::new(200).set_body_json(body);
    Mock::given(matchers::path("/devices")).respond_with(answer).expect(2).mount(&cloud).await;
    let binary = hall(&cloud).await;
    let shown = binary.run(&format!("{TRY} --discovery")).ok().out;
    for expected in ["Outcome: listed, 2 devices.", "Hall", "h1", "M2", "by default", "Nothing was changed"] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    assert!(!shown.contains("t0ken"), "{shown}");
    let report = binary.json(&format!("{TRY} --discovery"));
    assert_eq!((&report["outcome"], &report["devices"][0]["group"]), (&json!("listed"), &json!("h1")));
    let listed = binary.json("device list --tenant acme");
    assert!(!listed.to_string().contains("Hall"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn login_is_tried_and_shows_no_secret() {
    let cloud = MockServer::start().await;
    let binary = hall(&cloud).await;
    let own = binary.run(&format!("{TRY} --login")).ok().out;
    for expected in [
        "/login",
        "| {\"password\": \"***\"}",
        "bytes with the fields session, ttl",
        "set-cookie: ***",
        "Outcome: granted.",
        "The token is used until 20",
        "The connection's calls carry the new token.",
    ] {
        assert!(own.contains(expected), "{expected}: {own}");
    }
    let other = binary.file("other", "0ther\n");
    let with_other = binary.run(&format!("{TRY} --login --secret-file {other}")).ok().out;
    assert!(
        with_other.contains("Outcome: granted.") && with_other.contains("No token was stored."),
        "{with_other}"
    );
    let wrong = binary.file("wrong", "wr0ng\n");
    let refused = binary.run(&format!("{TRY} --login --secret-file {wrong}"));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.out.contains("Outcome: refused: ") && refused.out.contains("HTTP 401"), "{refused:?}");
    for text in [&own, &with_other, &refused.out, &refused.err] {
        for secret in ["pa55w0rd", "0ther", "wr0ng", "t0ken", "c00kie"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
    binary.run(&format!("{TRY} --secret-file {wrong}")).refused(1, &["secrets are tried by --login"]);
    binary.run(&format!("{TRY} --login --discovery")).refused(2, &["cannot be used with"]);
    let status = binary.json("connection list --tenant acme");
    assert!(
        status.to_string().contains("\"active\""),
        "wrong secrets that were tried change nothing: {status}"
    );
    let report = binary.json("check");
    assert_eq!(report["clean"], true, "{report}");
}

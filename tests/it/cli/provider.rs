//! `provider`: definitions, their cases and trial calls.

use super::Binary;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

const MINE: &str = r#"title = "Mine"
[http]
base_url = "https://api.example.com"
[auth]
kind = "bearer"
[[quota]]
name = "minute"
scope = "connection"
amount = 60
window = "1m"
[resource.state]
interval_min = "10s"
interval_default = "1m"
path = "/devices/{{ device.external_id }}"
records = "{values: {t: .t}}"
"#;

const CASES: &str = r#"
[[case]]
name = "ok"
resource = "state"
devices = ["a b"]
request.method = "GET"
request.origin = "https://api.example.com"
request.path = "/devices/a%20b"
request.headers = { Authorization = "Bearer {secret}" }
answer = { status = 200, body = '{"t": 21.5}' }
expect = { outcome = "fresh", online = true, values = { t = 21.5 } }

[[case]]
name = "throttled"
resource = "state"
devices = ["a"]
answer = { status = 429, headers = { Retry-After = "7" } }
expect = { outcome = "throttled", scope = "connection", wait = "7s" }
"#;

#[test]
fn shipped_definitions_are_listed_and_checked_without_servers() {
    let binary = Binary::bare();
    let list = binary.run("provider list").ok().out;
    assert!(list.contains("govee") && list.contains("Signal K server"), "{list}");
    let shown = binary.run("provider show awair").ok().out;
    assert!(
        shown.contains("temperature_c") && shown.contains("Humidity") && shown.contains("ppm"),
        "{shown}"
    );
    let shown = binary.json("provider show tado");
    assert_eq!(shown["resources"]["climate"]["values"]["running"]["label"], "Air conditioner is working");
    binary.run("provider show nowhere").refused(1, &["there is no provider \"nowhere\"", "govee"]);
    let checked = binary.run("provider check").ok().out;
    assert!(checked.contains("govee") && checked.contains("16 of 16 cases"), "{checked}");
    assert!(checked.ends_with("definitions checked, 0 failed\n"), "{checked}");
    assert_eq!(binary.json("provider check")["ok"], true);
    assert!(!std::path::Path::new(binary.dir.path()).join(".paceline").exists(), "it starts no servers");
}

#[test]
fn own_definition_is_checked_with_the_cases_beside_it() {
    let binary = Binary::bare();
    let file = binary.file("providers/mine.toml", MINE);
    let alone = binary.run(&format!("provider check {file}")).ok().out;
    assert!(alone.contains("no cases: put them into") && alone.contains("mine/cases.toml"), "{alone}");
    binary.file("providers/mine/cases.toml", CASES);
    let checked = binary.run(&format!("provider check {file}")).ok().out;
    assert!(checked.contains("mine  ok      2 of 2 cases"), "{checked}");
    let all = Binary::bare()
        .set("PACELINE__PROVIDERS__DIR", &binary.dir.path().join("providers").display().to_string());
    assert!(all.run("provider check").ok().out.contains("mine"));
}

#[test]
fn all_errors_are_reported_at_once_with_line_and_suggested_key() {
    let binary = Binary::bare();
    let text = MINE
        .replace("amount", "ammount")
        .replace("[auth]\nkind = \"bearer\"", "[[rule]]\nstats = [200]\nbody = \".[\"\noutcome = \"fresh\"")
        .replace("{{ device.external_id }}", "{{ device.external_id")
        .replace("10s", "2m");
    let file = binary.file("mine.toml", text);
    let run = binary.run(&format!("provider check {file}"));
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.err.starts_with("paceline: some definitions have errors"), "{run:?}");
    for expected in [
        "mine.toml:5: unknown field `stats`",
        "did you mean `status`?",
        "mine.toml:11: unknown field `ammount`",
    ] {
        assert!(run.out.contains(expected), "{expected}: {}", run.out);
    }
    // Templates and jq programs are compiled once the keys are right.
    let file = binary.file(
        "mine.toml",
        MINE.replace("{{ device.external_id }}", "{{ device.external_id").replace("{values: {t: .t}}", ".["),
    );
    let out = binary.run(&format!("provider check {file}")).out;
    assert!(out.contains("mine.toml:14: bad template") && out.contains("mine.toml:15: bad jq"), "{out}");
    binary.run("provider check nowhere.toml").refused(2, &["nowhere.toml"]);
}

#[test]
fn failed_case_shows_expected_and_actual_values() {
    let binary = Binary::bare();
    let file = binary.file("mine.toml", MINE);
    let cases = CASES
        .replace("/devices/a%20b", "/device/a")
        .replace("t = 21.5", "t = 21")
        .replace("\"7s\"", "\"8s\"")
        .replace("answer = { status = 200,", "answer = { status = 200, headers = { X = \"y\" },");
    binary.file("mine/cases.toml", &cases);
    let run = binary.run(&format!("provider check {file}"));
    assert_eq!(run.code, Some(1), "{run:?}");
    for expected in [
        "mine  failed  0 of 2 cases",
        "mine/cases.toml:2: case \"ok\"",
        "request.path\n      expected  /device/a\n      got       /devices/a%20b",
        "values.t\n      expected  21\n      got       21.5",
        "hold\n      expected  connection for 8000 ms\n      got       connection for 7000 ms",
        "1 definitions checked, 1 failed",
    ] {
        assert!(run.out.contains(expected), "{expected}: {}", run.out);
    }
    let json = binary.run(&format!("provider check {file} --json")).json();
    let case = &json["providers"][0]["cases"][0];
    assert_eq!(
        (&case["ok"], &case["line"], &case["differences"][0]["got"]),
        (&false.into(), &2.into(), &"/devices/a%20b".into())
    );

    binary.file("mine/cases.toml", cases.replace("devices", "device"));
    let out = binary.run(&format!("provider check {file}")).out;
    assert!(out.contains("cases.toml:5: unknown field `device`") && out.contains("`devices`?"), "{out}");
}

#[test]
fn case_whose_reading_contains_the_secret_fails() {
    let binary = Binary::bare();
    let file = binary.file("mine.toml", MINE);
    // The provider echoes the key, and the definition would store it as a reading.
    let echoed = r#"{"t": "key s3cret/with \"signs\" accepted"}"#;
    let cases = CASES.replace(r#"{"t": 21.5}"#, echoed).replace(", values = { t = 21.5 }", "");
    assert!(cases.contains(echoed), "{cases}");
    binary.file("mine/cases.toml", cases);
    let run = binary.run(&format!("provider check {file}"));
    assert_eq!(run.code, Some(1), "{run:?}");
    let expected = "case \"ok\"\n    secret shown\n      expected  false\n      got       true";
    assert!(run.out.contains(expected) && run.out.contains("1 of 2 cases"), "{run:?}");
    assert!(!run.out.contains("s3cret"), "{run:?}");
}

#[test]
fn new_definition_passes_the_check_and_nothing_is_overwritten() {
    let binary = Binary::bare();
    let created = binary.run("provider new mycloud --dir providers").ok().out;
    assert!(created.contains("paceline provider check providers/mycloud.toml"), "{created}");
    let checked = binary.run("provider check providers/mycloud.toml").ok().out;
    assert!(checked.contains("mycloud  ok      4 of 4 cases"), "{checked}");
    assert!(binary.dir.path().join("providers/schema.json").exists());
    binary.run("provider new mycloud --dir providers").refused(1, &["exists already", "another name"]);
    binary.run("provider new other --dir providers").ok();
    binary.run("provider new other").refused(2, &["providers.dir", "--dir"]);
    binary.run("provider new No! --dir providers").refused(2, &["not a provider name"]);
    let with_dir = binary.set("PACELINE__PROVIDERS__DIR", "providers");
    let all = with_dir.run("provider check").ok().out;
    assert!(all.contains("mycloud") && all.contains("other"), "{all}");
}

/// Responses of several pages; the quota grants all of them with the call.
const PAGED: &str = r#"title = "Paged"
[http]
base_url = "https://api.example.com/v1"
[auth]
kind = "query"
name = "key"
[[quota]]
name = "minute"
scope = "connection"
amount = 60
window = "1m"
burst = 6
[resource.state]
unit = "connection"
interval_min = "10s"
interval_default = "1m"
path = "/devices"
records = ".devices[] | {id, values: {t}}"
[resource.state.pages]
by = "number"
param = "page"
max = 3
more = ".more"
[resource.linked]
unit = "connection"
interval_min = "10s"
interval_default = "1m"
path = "/linked"
records = ".[] | {id, values: {t}}"
pages = { by = "link", max = 3 }
"#;

const PAGED_CASES: &str = r#"
[[case]]
name = "the second of two pages"
resource = "state"
devices = ["b", "a"]
request = { path = "/v1/devices", query = { page = "1", key = "{secret}" } }
answer = { status = 200, body = '{"devices": [{"id": "a", "t": 1}], "more": true}' }
expect = { outcome = "fresh", values = { t = 2 } }
[[case.then]]
request = { path = "/v1/devices", query = { page = "2", key = "{secret}" } }
answer = { status = 200, body = '{"devices": [{"id": "b", "t": 2}], "more": false}' }

[[case]]
name = "a refused page keeps those before it"
resource = "state"
devices = ["a", "b"]
answer = { status = 200, body = '{"devices": [{"id": "a", "t": 1}], "more": true}' }
then = [{ answer = { status = 429, headers = { Retry-After = "9" } } }]
[case.expect]
outcome = "fresh"
values = { t = 1 }
scope = "connection"
wait = "9s"
others.b = { outcome = "throttled" }

[[case]]
name = "a device on a page that was refused waits"
resource = "state"
devices = ["b", "a"]
answer = { status = 200, body = '{"devices": [{"id": "a", "t": 1}], "more": true}' }
then = [{ answer = { status = 429, headers = { Retry-After = "9" } } }]
[case.expect]
outcome = "throttled"
scope = "connection"
wait = "9s"
others.a = { outcome = "fresh", values = { t = 1 } }

[[case]]
name = "absent from all pages"
resource = "state"
devices = ["z"]
answer = { status = 200, body = '{"devices": [{"id": "a", "t": 1}], "more": true}' }
then = [{ answer = { status = 200, body = '{"devices": [], "more": false}' } }]
expect = { outcome = "gone" }

[[case]]
name = "more pages than were granted"
resource = "state"
devices = ["z"]
answer = { status = 200, body = '{"devices": [], "more": true}' }
expect = { outcome = "broken" }
[[case.then]]
answer = { status = 200, body = '{"devices": [], "more": true}' }
[[case.then]]
answer = { status = 200, body = '{"devices": [], "more": true}' }

[[case]]
name = "a link, with the credential added"
resource = "linked"
devices = ["b"]
answer = { status = 200, headers = { Link = "</v1/linked?after=a>; rel=next" }, body = '[{"id": "a", "t": 1}]' }
expect = { outcome = "fresh", values = { t = 2 } }
[[case.then]]
request = { path = "/v1/linked", query = { after = "a", key = "{secret}" } }
answer = { status = 200, body = '[{"id": "b", "t": 2}]' }

[[case]]
name = "a link to another origin is not followed"
resource = "linked"
devices = ["b"]
answer = { status = 200, headers = { Link = "<https://evil.example.com/>; rel=next" }, body = '[{"id": "a", "t": 1}]' }
expect = { outcome = "broken" }
"#;

#[test]
fn pages_are_followed_up_to_the_number_granted() {
    let binary = Binary::bare();
    let file = binary.file("paged.toml", PAGED);
    binary.file("paged/cases.toml", PAGED_CASES);
    let checked = binary.run(&format!("provider check {file}"));
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.out.contains("7 of 7 cases"), "{checked:?}");
    // The definition requests a page that the case does not have.
    binary.file("paged/cases.toml", PAGED_CASES.replace("\"more\": false", "\"more\": true"));
    let out = binary.run(&format!("provider check {file}")).out;
    assert!(out.contains("5 of 7 cases") && out.contains("expected  2\n      got       3"), "{out}");
    let file = binary.file("expensive.toml", PAGED.replace("burst = 6", "burst = 2"));
    let out = binary.run(&format!("provider check {file}")).out;
    assert!(out.contains("costs 3, more than its burst of 2") && out.contains("pages.max"), "{out}");
}

/// Three calls per minute, and one per device in ten minutes. HTTP 420 is a refusal.
const TRIED: &str = r#"title = "Tried"
[http]
base_url = "{{ params.base_url }}"
[auth]
kind = "query"
name = "key"
[[quota]]
name = "minute"
scope = "connection"
amount = 3
window = "1m"
burst = 3
[[quota]]
name = "each"
scope = "device"
amount = 1
window = "10m"
[resource.state]
interval_min = "10s"
interval_default = "1m"
path = "/devices/{{ device.external_id }}"
records = "{observed_at: .at, values: {t: .t}}"
[[rule]]
status = [420]
outcome = "throttled"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn trial_call_is_granted_by_the_quotas_and_stores_no_reading() {
    let cloud = MockServer::start().await;
    let good = ResponseTemplate::new(200).set_body_string(r#"{"at": "2026-01-01T10:00:00Z", "t": 21.5}"#);
    Mock::given(matchers::path("/devices/a")).respond_with(good).expect(1).mount(&cloud).await;
    let refused =
        ResponseTemplate::new(420).insert_header("Retry-After", "7").set_body_string("not s3cret-value");
    Mock::given(matchers::path("/devices/b")).respond_with(refused).expect(1).mount(&cloud).await;
    let binary = Binary::new().await;
    binary.file("providers/tried.toml", TRIED);
    let binary = binary
        .set("PACELINE__PROVIDERS__DIR", "providers")
        .set("PACELINE__PROVIDERS__PRIVATE_NETWORKS", "tried");
    let secret = binary.file("secret", "s3cret-value\n");
    let base_url = cloud.uri();
    binary
        .run(&format!(
            "connection add --tenant acme --provider tried --label main --param base_url={base_url} \
             --secret-file {secret}"
        ))
        .ok();
    let tried = "provider try tried --tenant acme --connection main";
    binary.run(tried).refused(1, &["no device yet"]);
    binary.run(&format!("{tried} --device z")).refused(1, &["\"z\" is no device", "paceline device add"]);
    for id in ["a", "b", "c"] {
        binary.run(&format!("device add --tenant acme --connection main --external-id {id}")).ok();
    }

    let shown = binary.run(tried).ok().out;
    for expected in [
        &format!("GET {base_url}/devices/a?key=***\n"),
        "HTTP 200, ",
        "| {\"at\": \"2026-01-01T10:00:00Z\", \"t\": 21.5}",
        "Judged by its status",
        "Outcome for a: fresh.",
        "online, observed at 2026-01-01T10:00:00",
        "t  21.5",
        "Cost 1 of minute (3 in 1m, connection), each (1 in 10m, device). No reading was stored.",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    // The quota of the device refuses a second call, which is not sent.
    binary.run(&format!("{tried} --device a --wait 1s")).refused(1, &["nothing was sent: each", "--wait"]);

    let run = binary.run(&format!("{tried} --device b"));
    assert_eq!(
        (run.code, run.err.as_str()),
        (Some(1), "paceline: outcome of the call: throttled\n"),
        "{run:?}"
    );
    assert!(run.out.contains("by the rule at") && run.out.contains("tried.toml:23."), "{run:?}");
    assert!(run.out.contains("| not ***") && run.out.contains("Hold: connection until 20"), "{run:?}");
    assert!(!run.out.contains("s3cret"), "{run:?}");
    binary.run(&format!("{tried} --device c --wait 1s")).refused(1, &["hold: HTTP 420", "another"]);
    binary
        .run("provider try meadow --tenant acme --connection main")
        .refused(1, &["at provider tried, not meadow"]);

    let pool = &binary.app.as_ref().expect("an app").app.pool;
    let stored: i64 =
        sqlx::query_scalar("SELECT count(*) FROM latest").fetch_one(pool).await.expect("a count");
    assert_eq!(stored, 0);
    let check = binary.json("check");
    assert_eq!(check["clean"], true, "{check}");
}

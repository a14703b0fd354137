//! Connections of several secrets, and the operator's own.

use super::Binary;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

const KEYED: &str = r#"title = "Keyed"
[http]
base_url = "{{ params.base_url }}"
[auth]
kind = "basic"
[[auth.key]]
query = "app"
operator = "app_key"
[param.base_url]
about = "where it listens"
[param.units]
about = "metric or imperial"
default = "metric"
[secret.password]
about = "of the account"
[resource.state]
interval_min = "10s"
interval_default = "1m"
path = "/devices/{{ device.external_id }}"
query = { units = "{{ params.units }}" }
records = "{values: {t: .t}}"
"#;

#[tokio::test]
async fn several_secrets_are_given_by_name_and_told_to_nobody() {
    let cloud = MockServer::start().await;
    let good = ResponseTemplate::new(200).set_body_string(r#"{"t": 21.5}"#);
    Mock::given(matchers::basic_auth("me@home", "pass=word"))
        .and(matchers::query_param("app", "app-s3cret"))
        .and(matchers::query_param("units", "metric"))
        .respond_with(good)
        .expect(1)
        .mount(&cloud)
        .await;
    let binary = Binary::new().await;
    binary.file("providers/keyed-cloud.toml", KEYED);
    let binary = binary
        .set("PACELINE__PROVIDERS__DIR", "providers")
        .set("PACELINE__PROVIDERS__PRIVATE_NETWORKS", "keyed-cloud");
    let base_url = cloud.uri();
    let add = format!(
        "connection add --tenant acme --provider keyed-cloud --label main --param base_url={base_url}"
    );
    let (name, password) = (binary.file("name", "me@home\n"), binary.file("password", "wrong-one\n"));
    let both = format!("{add} --secret-file username={name} --secret-file password={password}");
    binary.run(&both).refused(1, &["PACELINE__PROVIDER__KEYED_CLOUD__APP_KEY", "app_key of its operator"]);

    let binary = binary.set("PACELINE__PROVIDER__KEYED_CLOUD__APP_KEY", "app-s3cret");
    binary
        .run(&format!("{add} --secret-file username={name}"))
        .refused(1, &["the secret password (of the account)", "--secret-file"]);
    binary.run(&format!("{add} --secret-file {name}")).refused(1, &["(password, username)", "name each"]);
    binary.run(&format!("{both} --secret-file username={name}")).refused(1, &["username is given twice"]);
    binary
        .run(&format!("{both} --param bas_url=x"))
        .refused(1, &["no param \"bas_url\"", "base_url and units"]);
    binary.run(&both).ok();

    // One of them is renewed, the other stays.
    let run = binary.run_with(
        &["connection", "secret", "--tenant", "acme", "main", "--secret-stdin"],
        b"password=pass=word\n",
    );
    assert!(run.ok().out.contains("new secrets"));
    binary.run("device add --tenant acme --connection main --external-id a").ok();
    let shown = binary.run("provider try keyed-cloud --tenant acme --connection main").ok().out;
    assert!(
        shown.contains("/devices/a?app=***&units=metric") && shown.contains("authorization: ***"),
        "{shown}"
    );
    assert!(!shown.contains("s3cret") && !shown.contains("word"), "{shown}");
}

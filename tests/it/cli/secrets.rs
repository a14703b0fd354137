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

const ALLOWED: &str = r#"title = "Allowed"
[http]
base_url = "{{ params.base_url }}"
[auth]
kind = "bearer"
[auth.oauth2]
flow = "code"
authorize_url = "{{ params.base_url }}/authorize"
token_url = "{{ params.base_url }}/token"
[resource.state]
interval_min = "10s"
interval_default = "1m"
path = "/devices/{{ device.external_id }}"
records = "{values: {t: .t}}"
"#;

#[tokio::test]
async fn an_owner_is_walked_through_by_the_terminal() {
    let cloud = MockServer::start().await;
    let token = r#"{"access_token": "access-s3cret", "refresh_token": "refresh-s3cret", "expires_in": 3600}"#;
    Mock::given(matchers::path("/token"))
        .and(matchers::body_string_contains("code=the-code"))
        .and(matchers::basic_auth("client-1", "client-s3cret"))
        .respond_with(ResponseTemplate::new(200).set_body_string(token))
        .expect(1)
        .mount(&cloud)
        .await;
    let good = ResponseTemplate::new(200).set_body_string(r#"{"t": 21.5}"#);
    Mock::given(matchers::bearer_token("access-s3cret")).respond_with(good).expect(1).mount(&cloud).await;
    let binary = Binary::new().await;
    binary.file("providers/allowed.toml", ALLOWED);
    let binary = binary
        .set("PACELINE__PROVIDERS__DIR", "providers")
        .set("PACELINE__PROVIDERS__PRIVATE_NETWORKS", "allowed")
        .set("PACELINE__PROVIDER__ALLOWED__CLIENT_ID", "client-1")
        .set("PACELINE__PROVIDER__ALLOWED__CLIENT_SECRET", "client-s3cret");
    let base_url = cloud.uri();
    let add =
        format!("connection add --tenant acme --provider allowed --label main --param base_url={base_url}");
    assert!(binary.run(&add).ok().out.contains("paceline connection authorize --tenant acme"));
    let list = binary.run("connection list --tenant acme").ok().out;
    assert!(list.contains("needs_reauth") && list.contains("not authorised yet"), "{list}");

    let authorize = ["connection", "authorize", "--tenant", "acme", "main"];
    binary
        .run_with(&authorize, b"the-code\n")
        .refused(1, &["http.public_url", "provider.allowed.redirect_url"]);
    let binary = binary.set("PACELINE__PROVIDER__ALLOWED__REDIRECT_URL", "http://127.0.0.1:1/back");
    let guessed: &[u8] = b"http://127.0.0.1:1/back?code=the-code&state=guessed\n";
    for (pasted, says) in [(b"\n".as_slice(), "nothing was pasted"), (guessed, "begin again")] {
        let run = binary.run_with(&authorize, pasted);
        assert!(run.code == Some(1) && run.err.contains(says), "{run:?}");
    }
    let run = binary.run_with(&authorize, b"the-code\n");
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.err.contains("redirect_uri=http%3A%2F%2F127.0.0.1%3A1%2Fback"), "{run:?}");
    assert!(run.out.contains("is authorised") && !format!("{run:?}").contains("s3cret"), "{run:?}");
    binary.run("device add --tenant acme --connection main --external-id a").ok();
    let shown = binary.run("provider try allowed --tenant acme --connection main").ok().out;
    assert!(
        shown.contains("authorization: ***") && shown.contains("t  21.5") && !shown.contains("s3cret"),
        "{shown}"
    );
}

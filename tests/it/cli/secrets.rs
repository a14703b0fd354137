//! Connections with several secrets and with the operator's; authorization on a terminal; key rotation.

use super::Binary;
use paceline::preference::connections;
use paceline::seal::Sealer;
use paceline::token::{self, Pending};
use paceline::words::{Granted, UnixMs};
use secrecy::ExposeSecret;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

const WITH_SECRETS: &str = r#"title = "Keyed"
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
async fn several_secrets_are_given_by_name_and_never_shown() {
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
    binary.file("providers/keyed-cloud.toml", WITH_SECRETS);
    let binary = binary
        .set("PACELINE__PROVIDERS__DIR", "providers")
        .set("PACELINE__PROVIDERS__PRIVATE_NETWORKS", "keyed-cloud");
    let base_url = cloud.uri();
    let add = format!(
        "connection add --tenant acme --provider keyed-cloud --label main --param base_url={base_url}"
    );
    let (name, password) = (binary.file("name", "me@home\n"), binary.file("password", "wrong-one\n"));
    let both = format!("{add} --secret-file username={name} --secret-file password={password}");
    binary
        .run(&both)
        .refused(1, &["PACELINE__PROVIDER__KEYED_CLOUD__APP_KEY", "the operator's secret app_key"]);

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

    // One secret is replaced, the other stays.
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

const WITH_OAUTH: &str = r#"title = "Allowed"
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
async fn connection_is_authorized_on_a_terminal() {
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
    binary.file("providers/allowed.toml", WITH_OAUTH);
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
    for (pasted, error) in
        [(b"\n".as_slice(), "nothing was pasted"), (guessed, "another authorization request")]
    {
        let run = binary.run_with(&authorize, pasted);
        assert!(run.code == Some(1) && run.err.contains(error), "{run:?}");
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

#[tokio::test]
async fn rotation_seals_all_secrets_with_the_new_key_and_loses_none() {
    let mut binary = Binary::new().await;
    let old = binary.settings["PACELINE__SECRET__KEY"].clone();
    let new = Sealer::generate_key().unwrap().expose_secret().to_owned();
    let test = binary.app.take().expect("an app");
    let (pool, before) = (test.app.pool.clone(), Sealer::new(&old.as_str().into()).unwrap());
    let add = "connection add --tenant acme --provider meadow --param base_url=http://x";
    for n in 0..3 {
        let secret = binary.file("secret", format!("s3cret-{n}\n"));
        binary.run(&format!("{add} --label c{n} --secret-file {secret}")).ok();
    }
    let ids: Vec<i64> =
        sqlx::query_scalar("SELECT connection_id FROM connections WHERE label LIKE 'c_' ORDER BY 1")
            .fetch_all(&pool)
            .await
            .unwrap();
    let first = connections::open(&pool, &before, &ids[..1], false).await.unwrap().remove(0);
    let granted = Granted { access: "acc".into(), refresh: Some("ref".into()), lifetime_ms: None };
    paceline::preference::activation::allow(&pool, &before, &first, &granted, UnixMs(0)).await.unwrap();
    let (verifier, redirect_url) = (Some("proof".into()), "https://x".to_owned());
    let pending =
        Pending { tenant: first.tenant, connection: first.id, verifier, redirect_url, url: String::new() };
    token::wait_for(&pool, &before, &"state".into(), &pending, UnixMs(i64::MAX / 2)).await.unwrap();

    // The new key alone opens nothing, so that nothing is sealed with it. With the old one beside it all can be opened,
    // and new secrets are sealed with the new one.
    let binary = binary.set("PACELINE__SECRET__KEY", &new);
    binary.run("secret rotate").refused(2, &["secret.key", "secret.former_keys"]);
    let binary = binary.set("PACELINE__SECRET__FORMER_KEYS", &old);
    let secret = binary.file("secret", "s3cret-2\n");
    binary.run(&format!("connection secret --tenant acme c2 --secret-file {secret}")).ok();
    let both = Sealer::with_former(&new.as_str().into(), &[old.as_str().into()]).unwrap();
    assert_eq!(connections::open(&pool, &both, &ids, false).await.unwrap().len(), 3);
    // One cannot be opened: the others are sealed again all the same, and the error names it.
    sqlx::query("UPDATE connections SET secret_sealed = 'spoilt' WHERE connection_id = $1")
        .bind(ids[1])
        .execute(&pool)
        .await
        .unwrap();
    binary
        .run("secret rotate")
        .refused(1, &["3 sealed again", &format!("secrets of connections {}: ", ids[1])]);
    binary.run(&format!("connection secret --tenant acme c1 --secret-file {secret}")).ok();
    assert_eq!(binary.json("secret rotate")["sealed"], 0);

    let after = Sealer::new(&new.as_str().into()).unwrap();
    let opened = connections::open(&pool, &after, &ids, false).await.unwrap();
    let secret = |n: usize| opened.iter().find(|c| c.id.0 == ids[n]).unwrap().secrets.get("secret").unwrap();
    assert_eq!([0, 2].map(|n| secret(n).expose_secret()), ["s3cret-0", "s3cret-2"]);
    let token = opened.iter().find_map(|connection| connection.token.as_ref()).expect("a token");
    assert_eq!(token.refresh.as_ref().unwrap().expose_secret(), "ref");
    let redeemed =
        token::redeem(&pool, &after, &"state".into(), UnixMs(0)).await.unwrap().expect("it is pending");
    assert_eq!(redeemed.verifier.unwrap().expose_secret(), "proof");
    assert!(connections::open(&pool, &before, &ids, false).await.unwrap().is_empty());
    // The canary is sealed with the new key as well.
    binary.set("PACELINE__SECRET__FORMER_KEYS", "").run("tenant list").ok();
}

#[tokio::test]
async fn wrong_sealing_key_is_refused_before_anything_is_sealed() {
    let binary = Binary::new().await;
    let right = binary.settings["PACELINE__SECRET__KEY"].clone();
    binary.run("tenant list").ok();
    let secret = binary.file("secret", "s3cret\n");
    let add = format!(
        "connection add --tenant acme --provider meadow --param base_url=http://x --label main \
         --secret-file {secret}"
    );
    let zeros = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let binary = binary.set("PACELINE__SECRET__KEY", zeros);
    binary.run(&add).refused(2, &["all zeros", "openssl rand"]);
    let wrong = Sealer::generate_key().unwrap().expose_secret().to_owned();
    let binary = binary.set("PACELINE__SECRET__KEY", &wrong);
    binary.run(&add).refused(2, &["secret.key", "nothing was changed"]);
    let binary = binary.set("PACELINE__SECRET__FORMER_KEYS", &right);
    binary.run(&add).ok();
}

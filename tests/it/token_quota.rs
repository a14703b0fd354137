//! Requests for tokens under the quotas that name them.

use crate::journey::Rig;
use paceline::authorise::{Authoriser, Ready};
use paceline::keep;
use paceline::preference::connections;
use paceline::provider::{Provider, TOKEN};
use paceline::words::{Connection, ConnectionId};
use serde_json::json;
use std::sync::Arc;
use wiremock::matchers::{method, path};
use wiremock::{Mock, ResponseTemplate};

/// Two tokens a minute for everybody; calls are not counted by that.
const COUNTED: &str = r#"
title = "Counted"
[http]
base_url = "{{ params.base_url }}"
timeout = "2s"
[auth]
kind = "bearer"
[auth.login]
url = "/login"
json = '{"password": {{ secrets.secret }}}'
secrets = ["secret"]
token = ".token"
lifetime = ".ttl"
interval_min = "100ms"
[[quota]]
name = "tokens"
scope = "app"
amount = 2
burst = 2
window = "1m"
resources = ["token"]
[[quota]]
name = "second"
scope = "connection"
amount = 50
window = "1s"
burst = 10
[resource.state]
interval_min = "1s"
interval_default = "1m"
path = "/devices/{{ device.external_id }}"
records = "{values: {t: .t}}"
"#;

async fn opened(rig: &Rig, id: ConnectionId) -> Arc<Connection> {
    let app = &rig.t.app;
    Arc::new(connections::open_any(&app.pool, &app.sealer, rig.t.tenant, id).await.unwrap())
}

async fn logins(rig: &Rig) -> usize {
    let asked = rig.cloud.received_requests().await.unwrap();
    asked.iter().filter(|request| request.url.path() == "/login").count()
}

#[tokio::test]
async fn a_quota_that_names_tokens_is_shared_by_all_connections_and_the_third_renewal_waits() {
    let rig = Rig::new(COUNTED, 1).await;
    let app = &rig.t.app;
    let token = ResponseTemplate::new(200).set_body_json(json!({"token": "t", "ttl": 3600}));
    Mock::given(path("/login")).respond_with(token).mount(&rig.cloud).await;
    let good = ResponseTemplate::new(200).set_body_json(json!({"t": 1}));
    Mock::given(method("GET")).respond_with(good).mount(&rig.cloud).await;
    rig.land(1).await;
    let provider = app.registry.get(rig.provider).unwrap();
    let authoriser = Authoriser::new(app, provider).unwrap();
    assert!(authoriser.refused(&*opened(&rig, rig.connection).await).await);
    let age = "UPDATE tokens SET asked_at = now() - interval '1 h', retry_at = NULL";
    sqlx::query(age).execute(&app.pool).await.unwrap();
    let ready = authoriser.ready(&opened(&rig, rig.connection).await).await;
    assert!(matches!(ready, Ready::Go(_)), "{ready:?}");
    assert_eq!(logins(&rig).await, 2);

    let other = rig.t.connect(rig.provider, "other", &rig.cloud.uri()).await;
    let device = rig.t.add_devices(rig.provider, other, 1, "1h").await[0];
    keep::drain(app).await.unwrap();
    assert_eq!(rig.start(&rig.journey).await, Some(1));
    assert_eq!(rig.journey.land().await.unwrap().sent, 0);
    assert_eq!(logins(&rig).await, 2);
    // It keeps its turn, and the reason names what it waits for.
    let place = rig.location(device).await;
    assert!(place.is_sound() && !place.leased, "{place:?}");
    let ready = authoriser.ready(&opened(&rig, other).await).await;
    let Ready::NotYet(until, reason) = ready else { panic!("{ready:?}") };
    assert!(reason.contains("quota tokens lets no request for its token through yet"), "{reason}");
    let wait_ms = until.since_ms(app.clock.now());
    assert!((50_000..=63_000).contains(&wait_ms), "{wait_ms}");
    let standing: (String, i32) = sqlx::query_as(
        "SELECT c.state, t.failures FROM connections c JOIN tokens t USING (connection_id) WHERE connection_id = $1",
    )
    .bind(other.0)
    .fetch_one(&app.pool)
    .await
    .unwrap();
    assert_eq!(standing, ("active".to_owned(), 0), "it is no failure");
    assert!(rig.check().await.clean);

    // As though the minute had passed.
    let anchor = app.keys.anchor(&provider.name);
    let mut forget = redis::cmd("DEL");
    forget.arg(format!("{anchor}quota:app")).arg(format!("{anchor}quotas"));
    let _: i64 = forget.query_async(&mut app.redis.link()).await.unwrap();
    sqlx::query("UPDATE tokens SET retry_at = NULL").execute(&app.pool).await.unwrap();
    let ready = authoriser.ready(&opened(&rig, other).await).await;
    assert!(matches!(ready, Ready::Go(_)), "{ready:?}");
    assert_eq!(logins(&rig).await, 3);
}

#[test]
fn a_quota_that_counts_tokens_where_there_are_none_is_refused() {
    let parse = |text: &str| Provider::parse("counted".parse().unwrap(), "counted.toml", text);
    let counted = parse(COUNTED).unwrap();
    let counts: Vec<_> = counted.quotas().map(|quota| quota.counts(&TOKEN)).collect();
    assert_eq!(counts, [true, false], "one that names nothing counts calls alone");
    let (before, rest) = COUNTED.split_once("[auth.login]").unwrap();
    let without = format!("{before}{}", &rest[rest.find("[[quota]]").unwrap()..]);
    for (text, says) in [
        (without, "neither login nor oauth2"),
        (COUNTED.replace("scope = \"app\"", "scope = \"device\""), "made per connection"),
        (COUNTED.replace("[resource.state]", "[resource.token]"), "cannot be named token"),
    ] {
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.contains(says), "{says}: {error}");
    }
}

//! OAuth 2.0: owners allow connections, tokens are renewed by what rotates, and what the cloud ends is the owner's to
//! mend.

use crate::journey::Rig;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use paceline::authorise::{self, Authoriser, Ready};
use paceline::http;
use paceline::preference::{connections, refusals, tenants};
use paceline::words::{Connection, Role, Secrets, TenantId};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
use tower::ServiceExt;
use wiremock::matchers::{body_string_contains, header, method, path};
use wiremock::{Mock, ResponseTemplate};

const CODE: &str = r#"
title = "Code"
[http]
base_url = "{{ params.base_url }}"
timeout = "2s"
[auth]
kind = "bearer"
[auth.oauth2]
flow = "code"
authorize_url = "{{ params.base_url }}/authorize"
token_url = "{{ params.base_url }}/token"
client = "connection"
client_auth = "body"
scopes = ["read", "offline"]
interval_min = "100ms"
[resource.state]
interval_min = "1s"
interval_default = "1m"
path = "/devices/{{ device.external_id }}"
records = "{values: {t: .t}}"
"#;

const DEVICE: &str = r#"
title = "Device"
[http]
base_url = "{{ params.base_url }}"
timeout = "2s"
[auth]
kind = "bearer"
[auth.oauth2]
flow = "device"
device_url = "{{ params.base_url }}/device"
token_url = "{{ params.base_url }}/token"
client_id = "public"
client_auth = "none"
[resource.state]
interval_min = "1s"
interval_default = "1m"
path = "/devices/{{ device.external_id }}"
records = "{values: {t: .t}}"
"#;

/// Counts requests for tokens: one per two seconds.
const TOKEN_QUOTA: &str = r#"
[[quota]]
name = "tokens"
scope = "app"
amount = 1
burst = 1
window = "2s"
resources = ["token"]
"#;

/// A rig whose connection waits for its owner.
async fn rig(text: &'static str) -> Rig {
    let rig = Rig::new(text, 1).await;
    let app = &rig.t.app;
    let client = [("client_id", "client-1"), ("client_secret", "hush-hush")];
    let secrets: Secrets =
        client.map(|(name, secret)| (name.to_owned(), secret.into())).into_iter().collect();
    paceline::preference::activation::reauthorise(
        &app.pool,
        &app.sealer,
        rig.t.tenant,
        rig.connection,
        &secrets,
    )
    .await
    .unwrap();
    refusals::wait_for_owner(&app.pool, rig.connection, "not yet").await.unwrap();
    rig
}

fn token(n: u32, lifetime_s: i64) -> ResponseTemplate {
    let (access, refresh) = (format!("access-{n}"), format!("refresh-{n}"));
    let answer = json!({"access_token": access, "refresh_token": refresh, "expires_in": lifetime_s});
    ResponseTemplate::new(200).set_body_json(answer)
}

/// Gives this token for what the body of a request for one must hold.
async fn gives(rig: &Rig, for_this: &str, answer: ResponseTemplate) {
    Mock::given(path("/token"))
        .and(body_string_contains(for_this))
        .respond_with(answer)
        .expect(1)
        .mount(&rig.cloud)
        .await;
}

async fn reads(rig: &Rig, access: &str) {
    let good = ResponseTemplate::new(200).set_body_json(json!({"t": 1}));
    Mock::given(method("GET"))
        .and(header("authorization", format!("Bearer {access}")))
        .respond_with(good)
        .mount(&rig.cloud)
        .await;
}

async fn connection(rig: &Rig) -> Arc<Connection> {
    let app = &rig.t.app;
    Arc::new(connections::open_any(&app.pool, &app.sealer, rig.t.tenant, rig.connection).await.unwrap())
}

fn authoriser(rig: &Rig) -> Authoriser {
    let provider = rig.t.app.registry.get(rig.provider).unwrap();
    Authoriser::new(&rig.t.app, provider).unwrap()
}

async fn standing(rig: &Rig) -> (String, Option<String>) {
    sqlx::query_as("SELECT state, state_reason FROM connections").fetch_one(&rig.t.app.pool).await.unwrap()
}

/// The cookies that the browser of these tests was given.
static COOKIES: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());

/// Status and body of a request to the API, by the browser.
async fn ask(rig: &Rig, asked: (&str, &str), key: Option<&str>) -> (StatusCode, String) {
    let cookies = COOKIES.lock().unwrap().join("; ");
    let (status, _, body) = ask_with(rig, asked, key, &[("cookie", &cookies)]).await;
    (status, body)
}

/// Status, headers and body of a request to the API with these headers.
async fn ask_with(
    rig: &Rig,
    asked: (&str, &str),
    key: Option<&str>,
    headers: &[(&str, &str)],
) -> (StatusCode, axum::http::HeaderMap, String) {
    let mut app = rig.t.app.clone();
    app.settings.http.public_url = "https://paceline.example.com/".to_owned();
    let mut request = Request::builder().method(asked.0).uri(asked.1);
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = http::router(app).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, headers, String::from_utf8(body.to_vec()).unwrap())
}

/// The page from which a way begins, as path and query.
async fn start(rig: &Rig, key: &str) -> String {
    let path = format!("/v1/connections/{}/authorize", rig.connection);
    let (status, body) = ask(rig, ("POST", &path), Some(key)).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let url = serde_json::from_str::<Value>(&body).unwrap()["url"].as_str().unwrap().to_owned();
    url.strip_prefix("https://paceline.example.com").unwrap().to_owned()
}

/// Begins by the API and goes on from the page; the address that the owner is sent to.
async fn begin(rig: &Rig, key: &str) -> reqwest::Url {
    let start = start(rig, key).await;
    let (status, headers, body) =
        ask_with(rig, ("POST", &start), None, &[("sec-fetch-site", "same-origin")]).await;
    assert_eq!(status, StatusCode::SEE_OTHER, "{body}");
    let cookie = headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    COOKIES.lock().unwrap().push(cookie);
    headers["location"].to_str().unwrap().parse().unwrap()
}

fn param(url: &reqwest::Url, name: &str) -> String {
    url.query_pairs()
        .find(|(known, _)| known == name)
        .unwrap_or_else(|| panic!("{name}: {url}"))
        .1
        .into_owned()
}

#[tokio::test]
async fn an_owner_goes_allows_comes_back_once_and_the_device_is_fetched() {
    let rig = rig(CODE).await;
    let key = rig.t.key(Role::User).await;
    let url = begin(&rig, &key).await;
    assert!(url.as_str().starts_with(&format!("{}/authorize?", rig.cloud.uri())), "{url}");
    let asked = ["response_type", "client_id", "scope", "redirect_uri", "code_challenge_method"];
    let told = asked.map(|name| param(&url, name));
    let back = "https://paceline.example.com/v1/authorize/callback";
    assert_eq!(told, ["code", "client-1", "read offline", back, "S256"]);
    let state = param(&url, "state");
    let hashed: String =
        sqlx::query_scalar("SELECT a::text FROM authorisations a").fetch_one(&rig.t.app.pool).await.unwrap();
    assert!(!hashed.contains(&state));

    gives(&rig, "code=the-code", token(1, 3600)).await;
    reads(&rig, "access-1").await;
    let way_back = format!("/v1/authorize/callback?state={state}&code=the-code");
    let (status, body) = ask(&rig, ("GET", &way_back), None).await;
    assert!(status == StatusCode::OK && body.contains("is authorised"), "{body}");
    let requests = rig.cloud.received_requests().await.unwrap();
    let sent = String::from_utf8(requests[0].body.clone()).unwrap();
    for part in
        ["code_verifier=", "client_id=client-1", "client_secret=hush-hush", "grant_type=authorization_code"]
    {
        assert!(sent.contains(part), "{part}: {sent}");
    }
    let (status, body) = ask(&rig, ("GET", &way_back), None).await;
    assert!(status == StatusCode::CONFLICT && body.contains("begin again"), "{body}");

    assert_eq!(standing(&rig).await, ("active".to_owned(), None));
    rig.land(1).await;
    assert_eq!(rig.value(rig.devices[0]).await, Some((json!({"t": 1}), true)));
    let stored: String = sqlx::query_scalar("SELECT t::text || c::text FROM tokens t, connections c")
        .fetch_one(&rig.t.app.pool)
        .await
        .unwrap();
    assert!(
        !stored.contains("access-1") && !stored.contains("refresh-1") && !stored.contains("hush"),
        "{stored}"
    );
}

#[tokio::test]
async fn a_way_back_is_good_for_its_connection_for_ten_minutes_and_may_bring_a_no() {
    let rig = rig(CODE).await;
    let key = rig.t.key(Role::User).await;
    let first = begin(&rig, &key).await;
    let second = begin(&rig, &key).await;
    let back = |url: &reqwest::Url, rest: &str| {
        format!("/v1/authorize/callback?state={}&{rest}", param(url, "state"))
    };
    // The later way took the place of the earlier one.
    let (status, _) = ask(&rig, ("GET", &back(&first, "code=x")), None).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let (status, body) = ask(&rig, ("GET", &back(&second, "error=access_denied")), None).await;
    assert!(status == StatusCode::CONFLICT && body.contains("not allowed: access_denied"), "{body}");
    let third = begin(&rig, &key).await;
    sqlx::query("UPDATE authorisations SET expires_at = now() - interval '1 s'")
        .execute(&rig.t.app.pool)
        .await
        .unwrap();
    let (status, _) = ask(&rig, ("GET", &back(&third, "code=x")), None).await;
    assert_eq!(status, StatusCode::CONFLICT);
    for bad in ["/v1/authorize/callback?code=x", "/v1/authorize/callback?state=x"] {
        assert_eq!(ask(&rig, ("GET", bad), None).await.0, StatusCode::BAD_REQUEST);
    }
    assert_eq!(rig.cloud.received_requests().await.unwrap().len(), 0);
    // Nobody else's key begins a way for it.
    let stranger: TenantId = tenants::ensure(&rig.t.app.pool, "other").await.unwrap();
    let who = paceline::preference::keys::Principal { tenant: stranger, role: Role::Operator };
    let other = paceline::preference::keys::create(&rig.t.app.pool, who, "x", None).await.unwrap().1;
    let other = secrecy::ExposeSecret::expose_secret(&other).to_owned();
    let path = format!("/v1/connections/{}/authorize", rig.connection);
    assert_eq!(ask(&rig, ("POST", &path), Some(&other)).await.0, StatusCode::NOT_FOUND);
    let reader = rig.t.key(Role::Reader).await;
    assert_eq!(ask(&rig, ("POST", &path), Some(&reader)).await.0, StatusCode::FORBIDDEN);
    assert_eq!(standing(&rig).await.0, "needs_reauth");
}

#[tokio::test]
async fn only_the_browser_that_went_on_from_the_page_that_names_the_connection_comes_back() {
    let rig = rig(CODE).await;
    let key = rig.t.key(Role::User).await;
    sqlx::query("UPDATE connections SET label = '<b>&\"roof'").execute(&rig.t.app.pool).await.unwrap();
    let start = start(&rig, &key).await;
    let (status, headers, page) = ask_with(&rig, ("GET", &start), None, &[]).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    for part in ["acme", "&lt;b&gt;&amp;&quot;roof", "<form method=\"post\""] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(headers["content-security-policy"].to_str().unwrap().contains("frame-ancestors 'none'"));
    // A form of another page may not go on.
    for from in [
        &[][..],
        &[("sec-fetch-site", "cross-site"), ("origin", "https://paceline.example.com")],
        &[("origin", "https://evil.example.com")],
        &[("origin", "https://paceline.example.co")],
        &[("origin", "null")],
    ] {
        let (status, headers, body) = ask_with(&rig, ("POST", &start), None, from).await;
        assert!(status == StatusCode::FORBIDDEN && body.contains("foreign-form"), "{from:?}: {body}");
        assert!(!headers.contains_key("set-cookie"));
    }
    let from = [("origin", "https://paceline.example.com")];
    let (status, headers, _) = ask_with(&rig, ("POST", &start), None, &from).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    let cookie = headers["set-cookie"].to_str().unwrap();
    for part in ["; HttpOnly", "; SameSite=Lax", "; Secure", "; Path=/v1/authorize"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let url: reqwest::Url = headers["location"].to_str().unwrap().parse().unwrap();
    let back = format!("/v1/authorize/callback?state={}&code=the-code", param(&url, "state"));
    let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
    for other in [String::new(), format!("{name}={}", "0".repeat(64)), format!("x{name}={value}")] {
        let (status, _, body) = ask_with(&rig, ("GET", &back), None, &[("cookie", &other)]).await;
        assert!(status == StatusCode::FORBIDDEN && body.contains("other-browser"), "{other}: {body}");
    }
    // The others did not use the state up.
    gives(&rig, "code=the-code", token(1, 3600)).await;
    let mine = format!("a=b; {name}={value}");
    let (status, headers, body) = ask_with(&rig, ("GET", &back), None, &[("cookie", &mine)]).await;
    assert!(status == StatusCode::OK && body.contains("&lt;b&gt;&amp;&quot;roof"), "{body}");
    assert!(headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    let (status, _, _) = ask_with(&rig, ("GET", &start), None, &[]).await;
    assert_eq!(status, StatusCode::CONFLICT, "it was used");
}

#[tokio::test]
async fn code_and_proof_that_a_cloud_echoes_are_in_no_text() {
    for (name, status) in [("error_description", 400), ("message", 500), ("error_description", 429)] {
        let rig = rig(CODE).await;
        let key = rig.t.key(Role::User).await;
        let echo = move |request: &wiremock::Request| {
            let sent = String::from_utf8_lossy(&request.body).into_owned();
            let verifier = form_urlencoded::parse(sent.as_bytes())
                .find(|(name, _)| name == "code_verifier")
                .map(|(_, value)| value.into_owned())
                .unwrap();
            let body = json!({"error": "invalid_grant", name: format!("you sent {sent} and {verifier}")});
            ResponseTemplate::new(status).set_body_json(body)
        };
        Mock::given(path("/token")).respond_with(echo).mount(&rig.cloud).await;
        let url = begin(&rig, &key).await;
        let back = format!("/v1/authorize/callback?state={}&code=the-c%2Fode", param(&url, "state"));
        let (answered, body) = ask(&rig, ("GET", &back), None).await;
        assert_eq!(answered, StatusCode::BAD_GATEWAY, "{body}");
        let requests = rig.cloud.received_requests().await.unwrap();
        let sent = String::from_utf8(requests[0].body.clone()).unwrap();
        let verifier = sent.split("code_verifier=").nth(1).unwrap().split('&').next().unwrap();
        let stored: String = sqlx::query_scalar(
            "SELECT c::text || coalesce((SELECT string_agg(t::text, '') FROM tokens t), '')
                                FROM connections c",
        )
        .fetch_one(&rig.t.app.pool)
        .await
        .unwrap();
        for text in [&body, &stored] {
            for secret in [verifier, "the-c/ode", "the-c%2Fode", "hush-hush"] {
                assert!(!text.contains(secret), "{secret}: {text}");
            }
        }
    }
}

/// Allows the rig's connection: its token lives so long.
async fn allowed(rig: &Rig, lifetime_s: i64) {
    let key = rig.t.key(Role::User).await;
    let url = begin(rig, &key).await;
    gives(rig, "code=the-code", token(1, lifetime_s)).await;
    let way_back = format!("/v1/authorize/callback?state={}&code=the-code", param(&url, "state"));
    assert_eq!(ask(rig, ("GET", &way_back), None).await.0, StatusCode::OK);
    sqlx::query("UPDATE tokens SET asked_at = asked_at - interval '1 h'")
        .execute(&rig.t.app.pool)
        .await
        .unwrap();
}

#[tokio::test]
async fn what_rotates_is_written_before_it_is_used_and_a_crash_in_between_is_survived() {
    let rig = rig(CODE).await;
    allowed(&rig, 0).await;
    gives(&rig, "refresh_token=refresh-1", token(2, 0)).await;
    gives(&rig, "refresh_token=refresh-2", token(3, 3600)).await;
    reads(&rig, "access-3").await;
    // A process renews, and dies before it uses what it was given.
    let Ready::Go(renewed) = authoriser(&rig).ready(&connection(&rig).await).await else {
        panic!("it is renewed")
    };
    assert_eq!(renewed.token.as_ref().unwrap().generation, 2);
    drop(renewed);
    sqlx::query("UPDATE tokens SET asked_at = asked_at - interval '1 h'")
        .execute(&rig.t.app.pool)
        .await
        .unwrap();
    // The next one goes on with what was written.
    rig.land(1).await;
    assert_eq!(rig.value(rig.devices[0]).await, Some((json!({"t": 1}), true)));
    rig.cloud.verify().await;
    assert!(rig.check().await.clean);
}

#[tokio::test]
async fn token_that_comes_after_a_calls_timeout_is_stored_and_used() {
    let hasty = CODE.replace("timeout = \"2s\"", "timeout = \"1s\"");
    let rig = rig(hasty.leak()).await;
    allowed(&rig, 0).await;
    gives(&rig, "refresh_token=refresh-1", token(2, 3600).set_delay(Duration::from_secs(5))).await;
    reads(&rig, "access-2").await;
    let ready = authoriser(&rig).ready(&connection(&rig).await).await;
    let Ready::NotYet(_, reason) = ready else { panic!("{ready:?}") };
    assert!(reason.contains("takes long"), "{reason}");
    // Nobody asks with the spent refresh token meanwhile.
    sqlx::query("UPDATE tokens SET asked_at = NULL").execute(&rig.t.app.pool).await.unwrap();
    let ready = authoriser(&rig).ready(&connection(&rig).await).await;
    assert!(matches!(&ready, Ready::NotYet(_, reason) if reason.contains("being renewed")), "{ready:?}");
    rig.t.app.detached.close();
    rig.t.app.detached.wait().await;
    assert_eq!(connection(&rig).await.token.as_ref().unwrap().generation, 2);
    rig.t.app.detached.reopen();
    rig.land(1).await;
    assert_eq!(rig.value(rig.devices[0]).await, Some((json!({"t": 1}), true)));
    rig.cloud.verify().await;
}

#[tokio::test]
async fn what_the_cloud_ends_is_the_owners_to_mend_and_what_may_pass_is_not() {
    let rig = rig(CODE).await;
    allowed(&rig, 0).await;
    let down = ResponseTemplate::new(502).set_body_string("hush-hush is down");
    Mock::given(body_string_contains("refresh-1")).respond_with(down).expect(1).mount(&rig.cloud).await;
    let ready = authoriser(&rig).ready(&connection(&rig).await).await;
    let Ready::NotYet(_, reason) = ready else { panic!("{ready:?}") };
    assert!(reason.contains("HTTP 502: *** is down"), "{reason}");
    assert_eq!(standing(&rig).await.0, "active");

    rig.cloud.reset().await;
    let ended = json!({"error": "invalid_grant", "error_description": "refresh-1 was revoked"});
    let ended = ResponseTemplate::new(400).set_body_json(ended);
    Mock::given(body_string_contains("refresh-1")).respond_with(ended).expect(1).mount(&rig.cloud).await;
    sqlx::query("UPDATE tokens SET asked_at = NULL, retry_at = NULL").execute(&rig.t.app.pool).await.unwrap();
    assert!(rig.start(&rig.journey).await.is_some());
    assert_eq!(rig.journey.land().await.unwrap().sent, 0);
    let (state, reason) = standing(&rig).await;
    assert_eq!(state, "needs_reauth");
    let reason = reason.unwrap();
    assert!(reason.contains("invalid_grant (*** was revoked)"), "{reason}");
    let place = rig.location(rig.devices[0]).await;
    assert!(place.due && !place.ready && !place.leased, "it tries again: {place:?}");
    rig.cloud.verify().await;
    assert!(rig.check().await.clean);
}

#[tokio::test]
async fn polls_for_a_device_code_wait_for_the_quota_of_token_requests() {
    let rig = rig(Box::leak(format!("{DEVICE}{TOKEN_QUOTA}").into_boxed_str())).await;
    let app = &rig.t.app;
    let (sent, pending) = (Arc::new(Mutex::new(Vec::new())), json!({"error": "authorization_pending"}));
    let seen = sent.clone();
    let answer = move |_: &wiremock::Request| {
        let mut seen = seen.lock().unwrap();
        seen.push(Instant::now());
        match seen.len() {
            1 => ResponseTemplate::new(200)
                .set_body_json(json!({"device_code": "dev-1", "user_code": "ABCD",
                "verification_uri": "https://x.example/link", "expires_in": 60, "interval": 1})),
            2 => ResponseTemplate::new(400).set_body_json(&pending),
            _ => token(1, 3600),
        }
    };
    Mock::given(method("POST")).respond_with(answer).mount(&rig.cloud).await;
    let provider = app.registry.get(rig.provider).unwrap();
    let connection = connection(&rig).await;
    let code = authorise::device_code(app, provider, &connection).await.unwrap();
    authorise::finish_device(app, provider, &connection, &code).await.unwrap();
    let sent = sent.lock().unwrap().clone();
    let gaps_ms: Vec<_> = sent.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    // The requests left at least two seconds apart; how long each travelled differs by less than 100 ms.
    assert!(gaps_ms.len() == 2 && gaps_ms.iter().all(|gap| *gap > 1_900), "{gaps_ms:?}");
    assert_eq!(standing(&rig).await.0, "active");
}

#[tokio::test]
async fn device_code_is_polled_until_the_owner_enters_it() {
    let rig = rig(DEVICE).await;
    let app = &rig.t.app;
    let told = json!({"device_code": "dev-1", "user_code": "ABCD", "verification_uri": "https://x.example/link",
        "expires_in": 600, "interval": 1});
    let told = ResponseTemplate::new(200).set_body_json(told);
    Mock::given(path("/device"))
        .and(body_string_contains("client_id=public"))
        .respond_with(told)
        .mount(&rig.cloud)
        .await;
    let pending = ResponseTemplate::new(400).set_body_json(json!({"error": "authorization_pending"}));
    Mock::given(path("/token")).respond_with(pending).up_to_n_times(1).mount(&rig.cloud).await;
    gives(&rig, "device_code=dev-1", token(1, 3600)).await;
    reads(&rig, "access-1").await;
    let provider = app.registry.get(rig.provider).unwrap();
    let connection = connection(&rig).await;
    let code = authorise::device_code(app, provider, &connection).await.unwrap();
    assert_eq!((code.code.as_str(), code.url.as_str()), ("ABCD", "https://x.example/link"));
    authorise::finish_device(app, provider, &connection, &code).await.unwrap();
    paceline::keep::drain(app).await.unwrap();
    rig.land(1).await;
    assert_eq!(rig.value(rig.devices[0]).await, Some((json!({"t": 1}), true)));
    let other_way = authorise::begin(app, provider, &connection).await.unwrap_err().to_string();
    assert!(other_way.contains("shows a code to type in"), "{other_way}");
}

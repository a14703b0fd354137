//! What pages of other origins may do from a browser.

use super::*;

/// An API that pages of these origins may call.
async fn open_to(origins: Value) -> (TestApp, Router) {
    let test = TestApp::with_settings(&[("testcloud", PROVIDER)], |settings| {
        settings.http.cors_origins = serde_json::from_value(origins).unwrap();
    })
    .await;
    let router = http::router(test.app.clone());
    (test, router)
}

/// What a browser asks before a page's request with a key.
async fn preflight(router: &Router, origin: &str) -> Response {
    let asked = request("OPTIONS", "/v1/refreshes")
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "authorization,content-type");
    send(router, asked, Body::empty()).await
}

fn text<'a>(response: &'a Response, header: &str) -> &'a str {
    response.headers.get(header).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn pages_of_named_origins_may_call_with_a_key() {
    let (test, router) = open_to(json!(["https://dash.example.com", "http://localhost:5173"])).await;
    let key = test.key(Role::Reader).await;
    for origin in ["https://dash.example.com", "http://localhost:5173"] {
        let allowed = preflight(&router, origin).await;
        assert!(allowed.status.is_success(), "{allowed:?}");
        assert_eq!(text(&allowed, "access-control-allow-origin"), origin);
        assert!(text(&allowed, "access-control-allow-methods").contains("PATCH"));
        assert!(text(&allowed, "access-control-allow-headers").contains("authorization"));
        assert_eq!(text(&allowed, "access-control-allow-credentials"), "", "cookies are never of use");
        let get = request("GET", "/v1/devices").header("Origin", origin);
        let answer = send(&router, get.header(header::AUTHORIZATION, bearer(&key)), Body::empty()).await;
        assert_eq!((answer.status, text(&answer, "access-control-allow-origin")), (StatusCode::OK, origin));
        assert!(text(&answer, "access-control-expose-headers").contains("ratelimit"));
        // An error can be read by the page, too.
        let get = request("GET", "/v1/devices").header("Origin", origin);
        assert_eq!(text(&send(&router, get, Body::empty()).await, "access-control-allow-origin"), origin);
    }
    for other in ["https://evil.example.com", "https://dash.example.com.evil.example", "null"] {
        assert_eq!(text(&preflight(&router, other).await, "access-control-allow-origin"), "", "{other}");
    }
}

#[tokio::test]
async fn without_the_setting_no_page_may_and_with_a_star_each() {
    let (_test, router) = open_to(json!([])).await;
    assert_eq!(
        text(&preflight(&router, "https://dash.example.com").await, "access-control-allow-origin"),
        ""
    );
    let (_test, router) = open_to(json!("*")).await;
    assert_eq!(
        text(&preflight(&router, "https://dash.example.com").await, "access-control-allow-origin"),
        "*"
    );
}

#[test]
fn what_is_no_origin_is_refused() {
    for bad in [
        "https://dash.example.com/",
        "dash.example.com",
        "https://",
        "https://Dash.example.com",
        "https://a b",
    ] {
        let error =
            serde_json::from_value::<paceline::settings::Origins>(json!([bad])).unwrap_err().to_string();
        assert!(error.contains("is no origin") && error.contains("https://dashboard"), "{error}");
    }
}

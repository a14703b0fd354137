//! The whole server: a real socket, shutdown, and the OpenAPI description.

use super::*;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The committed copy of the description.
const OPENAPI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/openapi.json");

#[tokio::test]
async fn openapi_file_is_current() {
    let generated = http::document();
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(OPENAPI, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(OPENAPI).unwrap_or_default();
    assert!(
        generated == committed,
        "{OPENAPI} is stale: run this test with UPDATE_OPENAPI=1 and commit what changed"
    );

    let api = Api::with_devices(0).await;
    let served = send(&api.router, request("GET", "/openapi.json"), Body::empty()).await;
    assert_eq!(
        (served.status, &served.headers[header::CONTENT_TYPE]),
        (StatusCode::OK, &"application/json".parse().unwrap())
    );
    assert_eq!(served.body, serde_json::from_str::<Value>(&committed).unwrap());
}

#[tokio::test]
async fn every_endpoint_documents_whether_it_needs_a_key() {
    let described: Value = serde_json::from_str(&http::document()).unwrap();
    let mut names = std::collections::BTreeSet::new();
    for (path, methods) in described["paths"].as_object().unwrap() {
        for (method, endpoint) in methods.as_object().unwrap() {
            // An owner's browser is authenticated by the `state`, not by a key.
            let keyed = path.starts_with("/v1/") && !path.starts_with("/v1/authorize/");
            assert_eq!(endpoint["security"] == json!([{"bearer": []}]), keyed, "{method} {path}");
            assert_eq!(endpoint["responses"].get("401").is_some(), keyed, "{method} {path}");
            assert!(endpoint["summary"].is_string(), "{method} {path}");
            assert!(
                names.insert(endpoint["operationId"].as_str().unwrap()),
                "{method} {path}: operationId is used twice"
            );
        }
    }
    assert_eq!(described["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
}

#[tokio::test]
async fn server_stops_when_cancelled() {
    let api = Api::with_devices(1).await;
    let key = api.test.key(Role::Reader).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let serving = tokio::spawn(http::serve(api.app().clone(), listener, stop.clone()));

    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::new();
    let response = client.get(format!("{base}/v1/devices")).bearer_auth(&key).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let listed: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!(listed["devices"][0]["external_id"], "d0");

    stop.cancel();
    timeout(TIMEOUT, serving).await.unwrap().unwrap();
    assert!(client.get(format!("{base}/healthz")).send().await.is_err());
}

#[tokio::test]
async fn every_answer_names_its_request_and_is_safe_for_browsers() {
    let api = Api::with_devices(1).await;
    let key = api.test.key(Role::Reader).await;
    let id_of = async |path: &str, asked: Option<&str>| {
        let request = request("GET", path).header(header::AUTHORIZATION, bearer(&key));
        let request = match asked {
            Some(id) => request.header("X-Request-Id", id),
            None => request,
        };
        let headers = send(&api.router, request, Body::empty()).await.headers;
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
        assert_eq!(headers[header::X_FRAME_OPTIONS], "DENY", "{path}");
        assert!(headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().contains("'none'"), "{path}");
        headers["x-request-id"].to_str().unwrap().to_owned()
    };
    for path in ["/v1/devices", "/v1/devices/x", "/nowhere", "/healthz"] {
        assert_eq!(id_of(path, Some("page-7/a.b")).await, "page-7/a.b", "{path}");
        let new = id_of(path, None).await;
        assert!(new.len() == 32 && new != id_of(path, None).await, "{path}: {new}");
    }
    for bad in ["two words", "", &"x".repeat(129), "caf\u{e9}"] {
        assert_eq!(id_of("/v1/devices", Some(bad)).await.len(), 32, "{bad}");
    }
}

#[tokio::test]
async fn head_is_answered_as_get_without_a_body() {
    let api = Api::with_devices(1).await;
    let key = api.test.key(Role::Reader).await;
    let request = request("HEAD", "/v1/devices").header(header::AUTHORIZATION, bearer(&key));
    let head = send(&api.router, request, Body::empty()).await;
    assert_eq!((head.status, head.body), (StatusCode::OK, Value::Null));
    assert_eq!(head.headers[header::ETAG], api.get("/v1/devices", &key).await.headers[header::ETAG]);
}

#[tokio::test]
async fn description_is_served_as_a_page_that_loads_nothing_from_elsewhere() {
    let api = Api::with_devices(0).await;
    let get = async |path: &str| {
        let answer =
            api.router.clone().oneshot(request("GET", path).body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = to_bytes(body, 10 << 20).await.unwrap();
        (parts, String::from_utf8_lossy(&body).into_owned())
    };
    let (parts, page) = get("/docs/").await;
    assert_eq!(parts.status, StatusCode::OK, "{page}");
    let policy = parts.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.contains("script-src 'self';") && policy.contains("connect-src 'self'"), "{policy}");
    // Everything that the page names is here.
    let named = regex::Regex::new(r#"(?:src|href)="([^"]+)""#).unwrap();
    let mut files = 0;
    for found in named.captures_iter(&page) {
        let file = found[1].trim_start_matches("./");
        assert!(!file.contains("//"), "{file}");
        let (parts, body) = get(&format!("/docs/{file}")).await;
        assert!(parts.status.is_success() && !body.is_empty(), "{file}: {}", parts.status);
        files += 1;
    }
    assert!(files > 3, "{page}");
    let (_, begins) = get("/docs/swagger-initializer.js").await;
    assert!(begins.contains("/openapi.json"), "{begins}");
}

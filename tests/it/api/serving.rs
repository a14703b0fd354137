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
            // The callback is authenticated by its `state`, not by a key.
            let keyed = path.starts_with("/v1/") && path != "/v1/authorize/callback";
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
    timeout(TIMEOUT, serving).await.unwrap().unwrap().unwrap();
    assert!(client.get(format!("{base}/healthz")).send().await.is_err());
}

//! What is refused, with which status, and whether the refusal helps.

use super::*;

#[tokio::test]
async fn preferences_are_refused_with_what_would_be_accepted() {
    let api = Api::with_devices(1).await;
    let key = api.test.key(Role::User).await;
    let path = format!("/v1/devices/{}/jobs/state", api.devices[0]);
    let range = ["5s", "31days"].as_slice();
    let five = ["realtime", "high", "normal", "low", "background"].as_slice();
    let fields = ["interval", "priority", "paused"].as_slice();
    for (body, problem, told) in [
        (json!({"interval": "4999ms"}), "bad-interval", range),
        (json!({"interval": "0s"}), "bad-interval", range),
        (json!({"interval": "-30s"}), "bad-interval", range),
        (json!({"interval": "30 parsecs"}), "bad-interval", range),
        (json!({"interval": "32days"}), "bad-interval", range),
        (json!({"interval": ""}), "bad-interval", range),
        (json!({"priority": "urgent"}), "bad-priority", five),
        (json!({"priority": "High"}), "bad-priority", five),
        (json!({}), "nothing-asked", fields),
        (json!({"interval": null}), "nothing-asked", fields),
        (json!({"intervall": "30s"}), "bad-body", fields),
        (json!({"interval": 30}), "bad-body", &["interval"]),
        (json!({"paused": "yes"}), "bad-body", &["paused"]),
        (json!(["30s"]), "bad-body", &[]),
    ] {
        let answer = api.put(&path, &key, body.clone()).await;
        assert_eq!((answer.status, answer.problem()), (StatusCode::UNPROCESSABLE_ENTITY, problem), "{body}");
        assert!(told.iter().all(|word| answer.detail().contains(word)), "{body}: {}", answer.detail());
    }
    let stored = api.get(&format!("/v1/devices/{}", api.devices[0]), &key).await;
    assert_eq!(stored.body["resources"]["state"]["interval"], "30s");
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_refused() {
    let api = Api::with_devices(1).await;
    let key = api.test.key(Role::User).await;
    let path = format!("/v1/devices/{}/jobs/state", api.devices[0]);
    let send_body = async |kind: Option<&str>, body: Body| {
        let request = request("PUT", &path).header(header::AUTHORIZATION, bearer(&key));
        let request =
            kind.into_iter().fold(request, |request, kind| request.header(header::CONTENT_TYPE, kind));
        send(&api.router, request, body).await
    };
    let json = Some("application/json");
    for (kind, body, status, problem) in [
        (json, "{\"interval\":", 400, "bad-json"),
        (json, "", 400, "bad-json"),
        (json, "{\"paused\":true} extra", 400, "bad-json"),
        (Some("text/plain"), "{\"paused\":true}", 415, "bad-content-type"),
        (Some("application/x-www-form-urlencoded"), "paused=true", 415, "bad-content-type"),
        (None, "{\"paused\":true}", 415, "bad-content-type"),
    ] {
        let answer = send_body(kind, Body::from(body)).await;
        assert_eq!((answer.status.as_u16(), answer.problem()), (status, problem), "{kind:?} {body}");
    }
    let large = vec![b' '; (1 << 20) + 1];
    let answer = send_body(json, Body::from(large.clone())).await;
    assert_eq!((answer.status, answer.problem()), (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large"));
    // Nor is a body taken that does not say how long it is.
    let chunks =
        large.chunks(100_000).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect::<Vec<_>>();
    let answer = send_body(json, Body::from_stream(futures::stream::iter(chunks))).await;
    assert_eq!((answer.status, answer.problem()), (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large"));
}

#[tokio::test]
async fn what_is_not_there_is_refused() {
    let api = Api::with_devices(1).await;
    let key = api.test.key(Role::User).await;
    let device = api.devices[0];
    let paused = json!({"paused": true});
    let unknown = api.put(&format!("/v1/devices/{device}/jobs/humidity"), &key, paused.clone()).await;
    assert_eq!((unknown.status, unknown.problem()), (StatusCode::NOT_FOUND, "no-such-resource"));
    let told = ["testcloud", "humidity", "energy", "state"];
    assert!(told.iter().all(|word| unknown.detail().contains(word)), "{}", unknown.detail());
    let unnameable = api.put(&format!("/v1/devices/{device}/jobs/%00%7B"), &key, paused.clone()).await;
    assert_eq!(unnameable.problem(), "no-such-resource");

    for path in ["/", "/v1", "/v1/device", "/v1/devices/1/jobs", "/v2/devices"] {
        let answer = api.get(path, &key).await;
        assert_eq!((answer.status, answer.problem()), (StatusCode::NOT_FOUND, "no-such-path"), "{path}");
    }
    for (method, path, allowed) in [
        ("DELETE", "/v1/devices/1", "GET,HEAD"),
        ("POST", "/v1/devices", "GET,HEAD"),
        ("GET", "/v1/devices/1/jobs/state", "PUT"),
        ("GET", "/v1/devices/1/jobs/state/refresh", "POST"),
        ("PUT", "/healthz", "GET,HEAD"),
    ] {
        let answer =
            send(&api.router, request(method, path).header("Authorization", bearer(&key)), Body::empty())
                .await;
        assert_eq!(
            (answer.status, answer.problem()),
            (StatusCode::METHOD_NOT_ALLOWED, "bad-method"),
            "{path}"
        );
        assert_eq!(answer.headers[header::ALLOW], allowed, "{path}");
    }
}

#[tokio::test]
async fn bad_ids_and_queries_are_refused() {
    let api = Api::with_devices(1).await;
    let key = api.test.key(Role::User).await;
    for id in ["abc", "1.5", "%20", "99999999999999999999", "0x1", "%FF"] {
        let answer = api.get(&format!("/v1/devices/{id}"), &key).await;
        assert_eq!((answer.status, answer.problem()), (StatusCode::BAD_REQUEST, "bad-id"), "{id}");
        let answer = api.put(&format!("/v1/devices/{id}/jobs/state"), &key, json!({"paused": true})).await;
        assert_eq!((answer.status, answer.problem()), (StatusCode::BAD_REQUEST, "bad-id"), "{id}");
    }
    for id in ["-1", "0", "9223372036854775807"] {
        let answer = api.get(&format!("/v1/devices/{id}"), &key).await;
        assert_eq!((answer.status, answer.problem()), (StatusCode::NOT_FOUND, "no-such-device"), "{id}");
    }
    for query in [
        "limit=0",
        "limit=501",
        "limit=-1",
        "limit=many",
        "after=x",
        "limt=5",
        "limit=1&limit=2",
        "connection=%00",
    ] {
        let answer = api.get(&format!("/v1/devices?{query}"), &key).await;
        assert_eq!((answer.status, answer.problem()), (StatusCode::BAD_REQUEST, "bad-query"), "{query}");
    }
    let told = api.get("/v1/devices?limit=501", &key).await;
    assert!(told.detail().contains("1 to 500"), "{}", told.detail());
}

#[tokio::test]
async fn a_provider_without_a_definition_is_named() {
    let api = Api::with_devices(1).await;
    let key = api.test.key(Role::User).await;
    let mut app = api.app().clone();
    app.registry = paceline::provider::Registry::of([]);
    let router = http::router(app);
    let path = format!("/v1/devices/{}/jobs/state", api.devices[0]);
    let answer = put(&router, &path, &key, json!({"interval": "1m"})).await;
    assert_eq!((answer.status, answer.problem()), (StatusCode::CONFLICT, "provider-gone"));
    assert!(answer.detail().contains("testcloud.toml"), "{}", answer.detail());
    let answer = refresh(&router, api.devices[0], "state", &key).await;
    assert_eq!((answer.status, answer.problem()), (StatusCode::CONFLICT, "provider-gone"));
}

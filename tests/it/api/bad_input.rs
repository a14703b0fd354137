//! Invalid requests: their status, and whether the error says what to do.

use super::*;

#[tokio::test]
async fn invalid_preference_error_names_the_accepted_values() {
    let api = Api::with_devices(1).await;
    let key = api.test.key(Role::User).await;
    let path = format!("/v1/devices/{}/jobs/state", api.devices[0]);
    let range = ["5s", "31days"].as_slice();
    let five = ["realtime", "high", "normal", "low", "background"].as_slice();
    let fields = ["interval", "priority", "paused"].as_slice();
    for (body, problem, named) in [
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
        // As long as the struct: serde would take it for one.
        (json!(["45s", null, null, "high", false]), "bad-body", &["JSON object"]),
        (json!({"interval": "1M"}), "bad-interval", &["ms, s, m, h and d"]),
        (json!({"interval": "2weeks"}), "bad-interval", &["ms, s, m, h and d"]),
        (json!({"interval": "x".repeat(500_000)}), "bad-interval", range),
        (json!({"priority": "x".repeat(500_000)}), "bad-priority", five),
        (json!({"x".repeat(500_000): 1}), "bad-body", fields),
        (json!({"paused": "x".repeat(500_000)}), "bad-body", &["paused"]),
    ] {
        let response = api.put(&path, &key, body.clone()).await;
        assert_eq!(
            (response.status, response.problem()),
            (StatusCode::UNPROCESSABLE_ENTITY, problem),
            "{body}"
        );
        let detail = response.detail();
        assert!(named.iter().all(|word| detail.contains(word)), "{body:.80}: {detail:.500}");
        assert!(!detail.contains(&"x".repeat(80)), "{detail:.500}");
    }
    let stored = api.get(&format!("/v1/devices/{}", api.devices[0]), &key).await;
    assert_eq!(stored.body["resources"]["state"]["interval"], "30s");
}

#[tokio::test]
async fn unreadable_bodies_are_errors() {
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
        let response = send_body(kind, Body::from(body)).await;
        assert_eq!((response.status.as_u16(), response.problem()), (status, problem), "{kind:?} {body}");
    }
    let large = vec![b' '; (1 << 20) + 1];
    let response = send_body(json, Body::from(large.clone())).await;
    assert_eq!((response.status, response.problem()), (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large"));
    // The limit also applies to a body without a Content-Length.
    let chunks =
        large.chunks(100_000).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect::<Vec<_>>();
    let response = send_body(json, Body::from_stream(futures::stream::iter(chunks))).await;
    assert_eq!((response.status, response.problem()), (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large"));
}

#[tokio::test]
async fn unknown_resources_paths_and_methods_are_errors() {
    let api = Api::with_devices(1).await;
    let key = api.test.key(Role::User).await;
    let device = api.devices[0];
    let paused = json!({"paused": true});
    let unknown = api.put(&format!("/v1/devices/{device}/jobs/humidity"), &key, paused.clone()).await;
    assert_eq!((unknown.status, unknown.problem()), (StatusCode::NOT_FOUND, "no-such-resource"));
    let named = ["testcloud", "humidity", "energy", "state"];
    assert!(named.iter().all(|word| unknown.detail().contains(word)), "{}", unknown.detail());
    let unnameable = api.put(&format!("/v1/devices/{device}/jobs/%00%7B"), &key, paused.clone()).await;
    assert_eq!(unnameable.problem(), "no-such-resource");

    for path in ["/", "/v1", "/v1/device", "/v1/devices/1/jobs", "/v2/devices"] {
        let response = api.get(path, &key).await;
        assert_eq!((response.status, response.problem()), (StatusCode::NOT_FOUND, "no-such-path"), "{path}");
    }
    for (method, path, allowed) in [
        ("PUT", "/v1/devices/1", "GET,HEAD,PATCH,DELETE"),
        ("POST", "/v1/devices", "GET,HEAD"),
        ("POST", "/v1/devices/1/jobs/state", "GET,HEAD,PUT,DELETE"),
        ("GET", "/v1/jobs", "PATCH"),
        ("GET", "/v1/devices/1/jobs/state/refresh", "POST"),
        ("GET", "/v1/refreshes", "POST"),
        ("POST", "/v1/refreshes/1", "GET,HEAD"),
        ("PUT", "/v1/webhooks", "GET,HEAD,POST"),
        ("POST", "/v1/webhooks/1", "GET,HEAD,PATCH,DELETE"),
        ("GET", "/v1/webhooks/1/rotate", "POST"),
        ("GET", "/v1/webhooks/1/test", "POST"),
        ("GET", "/v1/webhooks/1/replay", "POST"),
        ("PUT", "/healthz", "GET,HEAD"),
    ] {
        let response =
            send(&api.router, request(method, path).header("Authorization", bearer(&key)), Body::empty())
                .await;
        assert_eq!(
            (response.status, response.problem()),
            (StatusCode::METHOD_NOT_ALLOWED, "bad-method"),
            "{path}"
        );
        assert_eq!(response.headers[header::ALLOW], allowed, "{path}");
    }
}

#[tokio::test]
async fn bad_ids_and_queries_are_errors() {
    let api = Api::with_devices(1).await;
    let key = api.test.key(Role::User).await;
    for id in ["abc", "1.5", "%20", "99999999999999999999", "0x1", "%FF"] {
        let response = api.get(&format!("/v1/devices/{id}"), &key).await;
        assert_eq!((response.status, response.problem()), (StatusCode::BAD_REQUEST, "bad-id"), "{id}");
        let response = api.put(&format!("/v1/devices/{id}/jobs/state"), &key, json!({"paused": true})).await;
        assert_eq!((response.status, response.problem()), (StatusCode::BAD_REQUEST, "bad-id"), "{id}");
    }
    for id in ["-1", "0", "9223372036854775807"] {
        let response = api.get(&format!("/v1/devices/{id}"), &key).await;
        assert_eq!((response.status, response.problem()), (StatusCode::NOT_FOUND, "no-such-device"), "{id}");
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
        let response = api.get(&format!("/v1/devices?{query}"), &key).await;
        assert_eq!((response.status, response.problem()), (StatusCode::BAD_REQUEST, "bad-query"), "{query}");
    }
    let refused = api.get("/v1/devices?limit=501", &key).await;
    assert!(refused.detail().contains("1 to 500"), "{}", refused.detail());
}

#[tokio::test]
async fn long_addresses_and_headers_and_unknown_providers_are_problems() {
    let api = Api::with_devices(1).await;
    let key = api.test.key(Role::User).await;
    let long = api.get(&format!("/v1/devices?connection={}", "x".repeat(20_000)), &key).await;
    assert_eq!((long.status.as_u16(), long.problem()), (414, "uri-too-long"));
    let headers = request("GET", "/v1/devices")
        .header(header::AUTHORIZATION, bearer(&key))
        .header("x-padding", "x".repeat(50_000));
    let large = send(&api.router, headers, Body::empty()).await;
    assert_eq!((large.status.as_u16(), large.problem()), (431, "headers-too-large"));
    let unknown = api.get("/v1/devices?provider=tsetcloud", &key).await;
    assert_eq!((unknown.status.as_u16(), unknown.problem()), (400, "bad-query"));
    assert!(unknown.detail().contains("use one of testcloud"), "{}", unknown.detail());
}

#[tokio::test]
async fn answers_of_the_api_are_not_stored_on_the_way() {
    let api = Api::with_devices(1).await;
    let key = api.test.key(Role::User).await;
    for (path, key) in [
        ("/v1/devices", key.as_str()),
        ("/v1/devices/1", &key),
        ("/v1/providers/testcloud", &key),
        ("/v1/devices", "wrong"),
        ("/v1/nowhere", &key),
    ] {
        assert_eq!(api.get(path, key).await.headers[header::CACHE_CONTROL], "no-store", "{path}");
    }
}

#[tokio::test]
async fn missing_provider_definition_is_named() {
    let api = Api::with_devices(1).await;
    let key = api.test.key(Role::User).await;
    let mut app = api.app().clone();
    app.registry = paceline::provider::Registry::of([]);
    let router = http::router(app);
    let path = format!("/v1/devices/{}/jobs/state", api.devices[0]);
    let response = put(&router, &path, &key, json!({"interval": "1m"})).await;
    assert_eq!((response.status, response.problem()), (StatusCode::CONFLICT, "provider-gone"));
    assert!(
        response.detail().contains("\"testcloud\", which this server no longer knows"),
        "{}",
        response.detail()
    );
    let response = refresh(&router, api.devices[0], "state", &key).await;
    assert_eq!((response.status, response.problem()), (StatusCode::CONFLICT, "provider-gone"));
}

#[tokio::test]
async fn labels_and_params_that_cannot_be_stored_or_shown_are_refused() {
    let api = Api::with_devices(1).await;
    let key = api.test.key(Role::User).await;
    let mut app = api.app().clone();
    app.settings.providers.private_by_api = true;
    let router = http::router(app);
    let add = async |label: &str, param: &str| {
        let body = json!({"provider": "testcloud", "label": label, "params": {"base_url": param}});
        let request = request("POST", "/v1/connections")
            .header(header::AUTHORIZATION, bearer(&key))
            .header(header::CONTENT_TYPE, "application/json");
        send(&router, request, Body::from(body.to_string())).await
    };
    for label in ["a\0b", "a\x1b[2J", "a\r\nb", "a\u{200b}b", "a\u{202e}b", "12", &"x".repeat(9_000)] {
        let refused = add(label, "http://cloud.invalid").await;
        assert_eq!((refused.status.as_u16(), refused.problem()), (422, "bad-label"), "{label:.20}");
        assert!(refused.detail().len() < 200, "{}", refused.detail());
    }
    for param in ["http://a\0b", "http://a\r\nx", &"x".repeat(100_000)] {
        let refused = add("good", param).await;
        assert_eq!((refused.status.as_u16(), refused.problem()), (422, "bad-connection"), "{param:.20}");
        assert!(refused.detail().contains("the param base_url"), "{}", refused.detail());
    }
    assert_eq!(add(" good ", "http://cloud.invalid").await.status, StatusCode::CREATED);
    let listed = api.get("/v1/connections", &key).await;
    let labels: Vec<_> = listed.body["connections"].as_array().unwrap().iter().map(|c| &c["label"]).collect();
    assert_eq!(labels, ["good", "home"]);
}

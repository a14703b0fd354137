//! Requests that name themselves are served once.

use super::*;
use paceline::preference::idempotency::{self, Claimed, Name};

async fn add(router: &Router, key: &str, name: &str, label: &str) -> Response {
    let body =
        json!({"provider": "testcloud", "label": label, "params": {"base_url": "http://cloud.invalid"}});
    let request = request("POST", "/v1/connections")
        .header(header::AUTHORIZATION, bearer(key))
        .header(header::CONTENT_TYPE, "application/json")
        .header("Idempotency-Key", name);
    send(router, request, Body::from(body.to_string())).await
}

async fn api() -> (TestApp, Router, String) {
    let test =
        TestApp::with_settings(&[("testcloud", PROVIDER)], |s| s.providers.private_by_api = true).await;
    let (router, key) = (http::router(test.app.clone()), test.key(Role::User).await);
    (test, router, key)
}

async fn connections(test: &TestApp) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM connections").fetch_one(&test.app.pool).await.unwrap()
}

#[tokio::test]
async fn repeated_request_gets_the_first_answer_and_is_served_once() {
    let (test, router, key) = api().await;
    let first = add(&router, &key, "a-1", "home").await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.body);
    assert!(!first.headers.contains_key("idempotent-replayed"));
    // In quotes it is the same name.
    for name in ["a-1", "\"a-1\""] {
        let again = add(&router, &key, name, "home").await;
        assert_eq!((again.status, &again.body), (StatusCode::CREATED, &first.body));
        assert_eq!(again.headers["idempotent-replayed"], "true");
        assert_eq!(again.headers[header::CONTENT_TYPE], first.headers[header::CONTENT_TYPE]);
    }
    let other = add(&router, &key, "a-1", "attic").await;
    assert_eq!((other.status.as_u16(), other.problem()), (422, "idempotency-key-reused"));
    assert_eq!(connections(&test).await, 1);
    // Names of one key say nothing of another's.
    let second = test.key(Role::User).await;
    assert_eq!(add(&router, &second, "a-1", "home").await.problem(), "label-taken");
    // What failed changed nothing: it is served anew, and may go well then.
    assert_eq!(add(&router, &key, "a-2", "home").await.problem(), "label-taken");
    sqlx::query("UPDATE connections SET label = 'elsewhere'").execute(&test.app.pool).await.unwrap();
    assert_eq!(add(&router, &key, "a-2", "home").await.status, StatusCode::CREATED);
    // A key that is not valid, or may not, gets what it would get without a name.
    assert_eq!(add(&router, "pl_user_nobody", "a-1", "home").await.problem(), "bad-key");
    assert_eq!(add(&router, &test.key(Role::Reader).await, "a-1", "home").await.problem(), "forbidden");
    for bad in ["", " ", "\"\"", "two words", &"x".repeat(256)] {
        assert_eq!(add(&router, &key, bad, "home").await.problem(), "bad-idempotency-key", "{bad:?}");
    }
}

#[tokio::test]
async fn same_requests_at_once_are_served_once() {
    let (test, router, key) = api().await;
    let all = (0..8).map(|_| add(&router, &key, "at-once", "home"));
    let answers = futures::future::join_all(all).await;
    let mut ids = std::collections::BTreeSet::new();
    for answer in &answers {
        match answer.status {
            StatusCode::CREATED => drop(ids.insert(answer.body["id"].as_i64())),
            _ => {
                assert_eq!((answer.status, answer.problem()), (StatusCode::CONFLICT, "still-served"));
                assert_eq!(answer.headers[header::RETRY_AFTER], "1");
            }
        }
    }
    assert_eq!((ids.len(), connections(&test).await), (1, 1));
}

#[tokio::test]
async fn request_of_a_process_that_died_is_served_again_and_old_ones_are_forgotten() {
    let (test, _, _) = api().await;
    let pool = &test.app.pool;
    let name = Name { tenant: test.tenant, key: 1, name: "n".to_owned() };
    let claim = async |request: &[u8]| idempotency::claim(pool, &name, request).await.unwrap();
    let Claimed::Yes(first) = claim(b"r").await else { panic!("new") };
    assert!(matches!(claim(b"r").await, Claimed::UnderWay));
    assert!(matches!(claim(b"s").await, Claimed::Other));
    sqlx::query("UPDATE idempotent_requests SET claimed_at = now() - interval '6 minutes'")
        .execute(pool)
        .await
        .unwrap();
    let Claimed::Yes(second) = claim(b"r").await else { panic!("taken over") };
    assert!(second > first);
    // The first was only slow: its answer is not kept, the second's is.
    let answer = |body: &[u8]| idempotency::Answer { status: 201, headers: json!({}), body: body.to_vec() };
    idempotency::answer(pool, &name, first, &answer(b"first")).await.unwrap();
    assert!(matches!(claim(b"r").await, Claimed::UnderWay));
    idempotency::answer(pool, &name, second, &answer(b"second")).await.unwrap();
    let Claimed::Answered(kept) = claim(b"r").await else { panic!("answered") };
    assert_eq!(kept, answer(b"second"));
    idempotency::forget(pool, test.app.clock.now().plus_ms(-3_600_000)).await.unwrap();
    assert!(matches!(claim(b"r").await, Claimed::Answered(_)));
    idempotency::forget(pool, test.app.clock.now().plus_ms(3_600_000)).await.unwrap();
    assert!(matches!(claim(b"r").await, Claimed::Yes(_)));
}

/// The header is documented where it counts, and nowhere else.
#[test]
fn endpoints_document_the_header() {
    let described: Value = serde_json::from_str(&http::document()).unwrap();
    let mut with = Vec::new();
    for (path, methods) in described["paths"].as_object().unwrap() {
        for (method, endpoint) in methods.as_object().unwrap() {
            let parameters = endpoint["parameters"].as_array().map_or(&[][..], Vec::as_slice);
            if parameters.iter().any(|one| one["name"] == "Idempotency-Key") {
                assert_eq!(method, "post", "{path}");
                with.push(path.as_str());
            }
        }
    }
    let expected = [
        "/v1/connections",
        "/v1/connections/{id}/devices",
        "/v1/connections/{id}/discover",
        "/v1/connections/{id}/test",
        "/v1/devices/{id}/jobs/{resource}/refresh",
        "/v1/refreshes",
    ];
    assert_eq!(with, expected);
}

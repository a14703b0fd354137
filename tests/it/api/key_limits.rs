//! Keys that expire, when they were used, and how many requests each may make.

use super::*;

/// A key of the tenant that expires within so many ms.
async fn expiring(api: &Api, ms: i32) -> String {
    let pool = &api.app().pool;
    let who = keys::Principal { tenant: api.test.tenant, role: Role::Reader };
    let (id, key) = keys::create(pool, who, "short", Some(1)).await.unwrap();
    sqlx::query("UPDATE api_keys SET expires_at = now() + $2 * interval '1 ms' WHERE key_id = $1")
        .bind(id)
        .bind(ms)
        .execute(pool)
        .await
        .unwrap();
    key.expose_secret().to_owned()
}

#[tokio::test]
async fn expired_key_is_refused_though_it_was_cached() {
    let api = Api::with_devices(1).await;
    let key = expiring(&api, 1_500).await;
    assert_eq!(api.get("/v1/devices", &key).await.status, StatusCode::OK);
    let refused =
        until(async || api.get("/v1/devices", &key).await, |response| !response.status.is_success()).await;
    assert_eq!((refused.status, refused.problem()), (StatusCode::UNAUTHORIZED, "bad-key"));
    assert!(refused.detail().contains("expired"), "{refused:?}");
    let past = expiring(&api, -1).await;
    assert_eq!(api.get("/v1/devices", &past).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn use_of_a_key_is_seen_in_the_list() {
    let api = Api::with_devices(1).await;
    let (used, pool) = (api.test.key(Role::Reader).await, &api.app().pool);
    api.test.key(Role::User).await;
    assert_eq!(api.get("/v1/devices", &used).await.status, StatusCode::OK);
    let listed = async {
        loop {
            let listed = keys::list(pool, api.test.tenant).await.unwrap();
            if listed[0].used_at.is_some() {
                return listed;
            }
            tokio::task::yield_now().await;
        }
    };
    let listed = timeout(Duration::from_secs(20), listed).await.expect("a time of its last use");
    assert_eq!((&listed[1].used_at, &listed[0].expires_at), (&None, &None));
}

#[tokio::test]
async fn requests_of_a_key_are_bounded_and_told() {
    let test = TestApp::with_settings(&[("testcloud", PROVIDER)], |settings| {
        settings.http.key_requests = 3;
        settings.http.key_window = "1h".parse().unwrap();
    })
    .await;
    let connection = test.connect("testcloud", "home", "http://cloud.invalid").await;
    let device = test.add_devices("testcloud", connection, 1, "1d").await[0];
    let (router, key, other) =
        (http::router(test.app.clone()), test.key(Role::User).await, test.key(Role::User).await);
    let get = async |path: &str, key: &str| {
        send(&router, request("GET", path).header(header::AUTHORIZATION, bearer(key)), Body::empty()).await
    };
    for left in [2, 1, 0] {
        let response = get("/v1/devices", &key).await;
        assert_eq!(response.status, StatusCode::OK);
        assert_eq!(response.headers["ratelimit-policy"], "\"key\";q=3;w=3600");
        assert_eq!(response.headers["ratelimit"], format!("\"key\";r={left};t=1200"));
    }
    let refused = get("/v1/devices", &key).await;
    assert_eq!((refused.status.as_u16(), refused.problem()), (429, "too-many-requests"));
    assert!(refused.detail().contains("3 requests in 1h"), "{}", refused.detail());
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1_190..=1_200).contains(&wait), "{wait}");
    assert!(refused.headers["ratelimit"].to_str().unwrap().starts_with("\"key\";r=0;t=1"), "{refused:?}");
    // Others are not held up, nor is what needs no key.
    assert_eq!(get("/v1/devices", &other).await.status, StatusCode::OK);
    assert_eq!(get("/healthz", &key).await.status, StatusCode::OK);
    // An answer with two limits tells both.
    paceline::keep::rebuild_if_lost(&test.app, &"testcloud".parse().unwrap()).await.unwrap();
    let refreshed = refresh(&router, device, "state", &other).await;
    let told: Vec<_> = refreshed.headers.get_all("ratelimit").iter().collect();
    assert_eq!(told, ["\"refresh\";r=59;t=1", "\"key\";r=1;t=1200"], "{refreshed:?}");
}

//! Authentication, roles and isolation of tenants.

use super::*;
use sqlx::AssertSqlSafe;

#[tokio::test]
async fn missing_or_unknown_key_is_unauthorized() {
    let api = Api::with_devices(1).await;
    for path in ["/v1/devices", "/v1/devices/1", "/v1/lag"] {
        let response = send(&api.router, request("GET", path), Body::empty()).await;
        assert_eq!((response.status, response.problem()), (StatusCode::UNAUTHORIZED, "no-key"), "{path}");
        assert_eq!(response.headers[header::WWW_AUTHENTICATE], "Bearer");
        for header in ["Basic dXNlcjpwYXNz", "Bearer ", "Bearer", ""] {
            let request = request("GET", path).header("Authorization", header);
            assert_eq!(
                send(&api.router, request, Body::empty()).await.status,
                StatusCode::UNAUTHORIZED,
                "{header}"
            );
        }
        let response = api.get(path, "pl_user_nobody").await;
        assert_eq!((response.status, response.problem()), (StatusCode::UNAUTHORIZED, "bad-key"), "{path}");
        assert_eq!(response.headers[header::WWW_AUTHENTICATE], "Bearer");
    }
    let response = api.put("/v1/devices/1/jobs/state", "pl_user_nobody", json!({"paused": true})).await;
    assert_eq!(response.status, StatusCode::UNAUTHORIZED);
    assert_eq!(api.refresh(DeviceId(1), "state", "pl_user_nobody").await.problem(), "bad-key");
}

#[tokio::test]
async fn reader_key_cannot_change_anything() {
    let api = Api::with_devices(1).await;
    let path = format!("/v1/devices/{}/jobs/state", api.devices[0]);
    let reader = api.test.key(Role::Reader).await;
    for readable in
        ["/v1/devices".to_owned(), format!("/v1/devices/{}", api.devices[0]), "/v1/lag".to_owned()]
    {
        assert_eq!(api.get(&readable, &reader).await.status, StatusCode::OK, "{readable}");
    }
    let refused = api.put(&path, &reader, json!({"interval": "1m"})).await;
    assert_eq!((refused.status, refused.problem()), (StatusCode::FORBIDDEN, "forbidden"));
    assert!(refused.detail().contains("user") && refused.detail().contains("reader"), "{}", refused.detail());
    assert_eq!(api.refresh(api.devices[0], "state", &reader).await.problem(), "forbidden");
    for role in [Role::User, Role::Operator] {
        let key = api.test.key(role).await;
        let refreshed = api.refresh(api.devices[0], "state", &key).await;
        assert_eq!(refreshed.status, StatusCode::ACCEPTED, "{role}");
        assert_eq!(api.put(&path, &key, json!({"interval": "1m"})).await.status, StatusCode::OK, "{role}");
    }
}

#[tokio::test]
async fn devices_of_another_tenant_are_not_found() {
    let api = Api::with_devices(2).await;
    let mine = api.test.key(Role::User).await;
    let (_, theirs, key) = api.stranger(Role::User).await;
    api.record(api.devices[0], 0, json!({"w": 1})).await;

    // The device is in the cache now; that must not make it visible to the other tenant.
    assert_eq!(api.get(&format!("/v1/devices/{}", api.devices[0]), &mine).await.status, StatusCode::OK);
    for (key, not_theirs, unknown) in [(&key, api.devices[0], 999_999), (&mine, theirs, 999_999)] {
        for verb in ["GET", "PUT", "POST"] {
            let of = async |id: i64| match verb {
                "GET" => api.get(&format!("/v1/devices/{id}"), key).await,
                "POST" => api.refresh(DeviceId(id), "state", key).await,
                _ => api.put(&format!("/v1/devices/{id}/jobs/state"), key, json!({"paused": true})).await,
            };
            let (response, mut missing) = (of(not_theirs.0).await, of(unknown).await);
            assert_eq!((response.status, response.problem()), (StatusCode::NOT_FOUND, "no-such-device"));
            missing.body["detail"] =
                missing.detail().replace(&unknown.to_string(), &not_theirs.to_string()).into();
            assert_eq!(response.body, missing.body);
        }
    }
    let ids = async |path: &str, key: &str| -> Vec<i64> {
        let listed = api.get(path, key).await;
        listed.body["devices"].as_array().unwrap().iter().map(|d| d["id"].as_i64().unwrap()).collect()
    };
    assert_eq!(ids("/v1/devices", &key).await, [theirs.0]);
    assert_eq!(ids("/v1/devices", &mine).await, [api.devices[0].0, api.devices[1].0]);
    assert_eq!(ids("/v1/devices?connection=home", &key).await, [0; 0]);
    let state = sqlx::query_scalar::<_, String>("SELECT string_agg(DISTINCT state, ',') FROM jobs");
    assert_eq!(state.fetch_one(&api.app().pool).await.unwrap(), "active");
}

#[tokio::test]
async fn lag_covers_own_jobs_and_all_jobs_for_an_operator() {
    let api = Api::with_devices(2).await;
    let (_, _, key) = api.stranger(Role::User).await;
    let theirs = api.get("/v1/lag", &key).await.body;
    assert_eq!(theirs["providers"]["testcloud"]["jobs"]["active"], 1);
    assert!(theirs["providers"]["testcloud"].get("schedule").is_none());

    let all = api.get("/v1/lag", &api.test.key(Role::Operator).await).await.body;
    assert_eq!(all["providers"]["testcloud"]["jobs"]["active"], 3);
    assert_eq!(all["providers"]["testcloud"]["schedule"]["calls_leased"], 0);
    assert_eq!(all["providers"]["testcloud"]["recent"]["calls"], 0);
}

#[tokio::test]
async fn revoked_key_is_rejected_at_once() {
    let api = Api::with_devices(1).await;
    let pool = &api.app().pool;
    let who = keys::Principal { tenant: api.test.tenant, role: Role::Reader };
    let (id, key) = keys::create(pool, who, "doomed", None).await.unwrap();
    let kept = api.test.key(Role::Reader).await;
    listening(&api, 1).await;
    assert_eq!(api.get("/v1/devices", key.expose_secret()).await.status, StatusCode::OK);
    assert_eq!(api.get("/v1/devices", &kept).await.status, StatusCode::OK);

    keys::revoke(pool, api.test.tenant, id).await.unwrap();
    // The notification takes a moment, much less than the minutes for which a lookup is cached.
    let ask = async || api.get("/v1/devices", key.expose_secret()).await;
    let refused =
        timeout(Duration::from_secs(2), until(ask, |response| !response.status.is_success())).await.unwrap();
    assert_eq!((refused.status, refused.problem()), (StatusCode::UNAUTHORIZED, "bad-key"));
    assert_eq!(api.get("/v1/devices", &kept).await.status, StatusCode::OK);
}

#[tokio::test]
async fn read_with_cached_key_does_not_query_postgres() {
    let api = Api::with_devices(1).await;
    let key = api.test.key(Role::Reader).await;
    listening(&api, 1).await;
    let path = format!("/v1/devices/{}", api.devices[0]);
    // While this lock is held, any query for keys waits longer than this test does.
    let responds_under_lock = async || {
        let warm = api.get(&path, &key).await;
        let mut locked = api.app().pool.begin().await.unwrap();
        sqlx::query("LOCK TABLE api_keys, devices IN ACCESS EXCLUSIVE MODE")
            .execute(&mut locked)
            .await
            .unwrap();
        let response = timeout(Duration::from_millis(200), api.get(&path, &key)).await;
        locked.commit().await.unwrap();
        warm.status.is_success() && response.is_ok_and(|response| response.status.is_success())
    };
    timeout(TIMEOUT, async { while !responds_under_lock().await {} })
        .await
        .expect("a response without Postgres");
}

/// Waits until `count` routers listen for changed keys.
async fn listening(api: &Api, count: i64) {
    let sql =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'";
    let listeners =
        async || sqlx::query_scalar::<_, i64>(AssertSqlSafe(sql)).fetch_one(&api.app().pool).await.unwrap();
    timeout(TIMEOUT, async { while listeners().await < count {} }).await.expect("a listener");
}

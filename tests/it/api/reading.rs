//! Reads: their content, and whether it comes from the cache or Postgres.

use super::*;
use paceline::cache::Slot;

#[tokio::test]
async fn device_is_shown_with_values_and_age() {
    let api = Api::with_devices(1).await;
    let (key, id) = (api.test.key(Role::Reader).await, api.devices[0]);
    let path = format!("/v1/devices/{id}");

    let before = api.get(&path, &key).await.body;
    let nothing_yet = json!({
        "values": null, "observed_at": null, "fetched_at": null, "age_ms": null, "fetched_ago_ms": null,
        "fresh": false, "online": null,
        "interval": "30s", "priority": "normal", "state": "active",
    });
    let device = json!({
        "id": id, "name": "Device 0", "external_id": "d0", "provider": "testcloud", "connection": "home",
        "group": null, "model": null, "missing_since": null, "resources": {"state": nothing_yet},
    });
    assert_eq!(before, device);

    // As after a sync: first recorded, then cached.
    api.record(id, 10_000, json!({"power_w": 1.5})).await;
    paceline::read::refresh(api.app(), api.test.tenant, &[id]).await.unwrap();
    let state = &api.get(&path, &key).await.body["resources"]["state"];
    let age = state["age_ms"].as_i64().unwrap();
    assert!((10_000..20_000).contains(&age), "{age}");
    assert_eq!(
        (&state["values"], &state["fresh"], &state["online"]),
        (&json!({"power_w": 1.5}), &json!(true), &json!(true))
    );
    for at in ["observed_at", "fetched_at"] {
        let text = state[at].as_str().unwrap();
        assert!(chrono::DateTime::parse_from_rfc3339(text).is_ok() && text.len() == 24, "{text}");
    }
}

#[tokio::test]
async fn reading_is_fresh_until_interval_plus_grace() {
    let api = Api::with_devices(3).await;
    let key = api.test.key(Role::Reader).await;
    // 30 s plus a grace of a tenth; a reading from the future has age 0, not a negative one.
    for (device, age_ms, fresh) in [(0, 32_000, true), (1, 33_001, false), (2, -5_000, true)] {
        let id = api.devices[device];
        api.record(id, age_ms, json!({"n": device})).await;
        let state = api.get(&format!("/v1/devices/{id}"), &key).await.body["resources"]["state"].take();
        // On a slow machine the reading may have passed the bound meanwhile.
        if state["fetched_ago_ms"].as_i64().unwrap() < 33_000 || !fresh {
            assert_eq!(state["fresh"], fresh, "{age_ms}: {state}");
        }
        assert!(state["age_ms"].as_i64().unwrap() >= 0);
    }
}

#[tokio::test]
async fn reads_use_the_cache_first_and_refill_it_from_postgres() {
    let api = Api::with_devices(1).await;
    let (key, id, app) = (api.test.key(Role::Reader).await, api.devices[0], api.app());
    let path = format!("/v1/devices/{id}");
    let shown = async || api.get(&path, &key).await.body["resources"]["state"]["values"].take();
    api.record(id, 0, json!({"from": "record"})).await;
    assert_eq!(shown().await, json!({"from": "record"}));

    let cached = app.cache.get(api.test.tenant, &[id]).await.unwrap().remove(0);
    let text = cached["state"].replace("record", "cache");
    let slot = Slot {
        tenant: api.test.tenant,
        device: id,
        field: "state".to_owned(),
        version: 99,
        json: text,
        is_change: false,
    };
    app.cache.put(&[slot]).await.unwrap();
    assert_eq!(shown().await, json!({"from": "cache"}));

    let forget = async || {
        let key = app.keys.device(api.test.tenant, id);
        redis::cmd("DEL").arg(key).query_async::<()>(&mut app.redis.link()).await.unwrap();
    };
    forget().await;
    assert_eq!(shown().await, json!({"from": "record"}));
    assert_eq!(app.cache.get(api.test.tenant, &[id]).await.unwrap().remove(0), cached);
    forget().await;
    let listed = api.get("/v1/devices", &key).await.body;
    assert_eq!(listed["devices"][0]["resources"]["state"]["values"], json!({"from": "record"}));
    assert_eq!(app.cache.get(api.test.tenant, &[id]).await.unwrap().remove(0), cached);

    // An entry written by an older version cannot be parsed and is read from Postgres again.
    let slot = Slot {
        tenant: api.test.tenant,
        device: id,
        field: "_".to_owned(),
        version: 99,
        json: "{}".to_owned(),
        is_change: false,
    };
    app.cache.put(&[slot]).await.unwrap();
    assert_eq!(shown().await, json!({"from": "record"}));
}

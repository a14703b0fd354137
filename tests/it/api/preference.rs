//! Setting preferences.

use super::*;
use paceline::preference::{jobs, outbox};

#[tokio::test]
async fn preference_is_stored_shown_and_scheduled() {
    let api = Api::with_devices(1).await;
    let (key, id, app) = (api.test.key(Role::User).await, api.devices[0], api.app());
    let (path, device) = (format!("/v1/devices/{id}/jobs/state"), format!("/v1/devices/{id}"));
    // Put the device into the cache, which must show the change.
    api.get(&device, &key).await;

    let asked = json!({"interval": "1m 30s", "priority": "high", "paused": false});
    let response = api.put(&path, &key, asked).await;
    let stored = json!({
        "device": id, "resource": "state", "interval": "1m30s", "priority": "high", "state": "active",
        "minimum_interval": "5s", "effective_interval": "1m30s", "effective_interval_ms": 90_000,
        "limited_by": null, "from": "device",
    });
    assert_eq!((response.status, response.body), (StatusCode::OK, stored));
    let state = &api.get(&device, &key).await.body["resources"]["state"];
    assert_eq!((&state["interval"], &state["priority"]), (&json!("1m30s"), &json!("high")));

    let job = jobs_of(&api).await.remove(0);
    let account = app.queue.locate(&"testcloud".parse().unwrap(), &[job.job.id]).await.unwrap().remove(0);
    assert!(account.is_sound() && account.interval_ms == 90_000 && account.class == 2, "{account:?}");
    assert!(outbox::read(&app.pool, 10).await.unwrap().is_empty());

    // Fields that are left out stay as they are.
    let response = api.put(&path, &key, json!({"paused": true})).await;
    assert_eq!((&response.body["state"], &response.body["interval"]), (&json!("paused"), &json!("1m30s")));
    assert_eq!(api.get(&device, &key).await.body["resources"]["state"]["state"], "paused");
    let account = app.queue.locate(&"testcloud".parse().unwrap(), &[job.job.id]).await.unwrap().remove(0);
    assert!(!account.known, "{account:?}");
}

#[tokio::test]
async fn preference_for_a_resource_without_a_job_creates_it() {
    let api = Api::with_devices(1).await;
    let (key, id) = (api.test.key(Role::User).await, api.devices[0]);
    let response = api.put(&format!("/v1/devices/{id}/jobs/energy"), &key, json!({"priority": "low"})).await;
    let made = json!({
        "device": id, "resource": "energy", "interval": "5m", "priority": "low", "state": "active",
        "minimum_interval": "10s", "effective_interval": "5m", "effective_interval_ms": 300_000,
        "limited_by": null, "from": "device",
    });
    assert_eq!(response.body, made);
    let shown = api.get(&format!("/v1/devices/{id}"), &key).await.body;
    let resources: Vec<_> = shown["resources"].as_object().unwrap().keys().collect();
    assert_eq!(resources, ["energy", "state"]);
}

pub(super) async fn jobs_of(api: &Api) -> Vec<jobs::StoredJob> {
    let ids = sqlx::query_scalar::<_, i64>("SELECT job_id FROM jobs ORDER BY job_id");
    jobs::by_id(&api.app().pool, &ids.fetch_all(&api.app().pool).await.unwrap()).await.unwrap()
}

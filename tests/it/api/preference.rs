//! Setting preferences.

use super::*;
use paceline::preference::{jobs, outbox};

#[tokio::test]
async fn a_preference_is_stored_shown_and_scheduled() {
    let api = Api::with_devices(1).await;
    let (key, id, app) = (api.test.key(Role::User).await, api.devices[0], api.app());
    let (path, device) = (format!("/v1/devices/{id}/jobs/state"), format!("/v1/devices/{id}"));
    // In the cache as it was: the change must be seen through it.
    api.get(&device, &key).await;

    let asked = json!({"interval": "1m 30s", "priority": "high", "paused": false});
    let answer = api.put(&path, &key, asked).await;
    let stored = json!({
        "device": id, "resource": "state", "interval": "1m30s", "priority": "high", "state": "active",
        "minimum_interval": "5s",
    });
    assert_eq!((answer.status, answer.body), (StatusCode::OK, stored));
    let state = &api.get(&device, &key).await.body["resources"]["state"];
    assert_eq!((&state["interval"], &state["priority"]), (&json!("1m30s"), &json!("high")));

    let job = jobs_of(&api).await.remove(0);
    let account = app.queue.locate(&"testcloud".parse().unwrap(), &[job.job.id]).await.unwrap().remove(0);
    assert!(account.is_sound() && account.interval_ms == 90_000 && account.class == 2, "{account:?}");
    assert!(outbox::read(&app.pool, 10).await.unwrap().is_empty());

    // What is left out stays as it is.
    let answer = api.put(&path, &key, json!({"paused": true})).await;
    assert_eq!((&answer.body["state"], &answer.body["interval"]), (&json!("paused"), &json!("1m30s")));
    assert_eq!(api.get(&device, &key).await.body["resources"]["state"]["state"], "paused");
    let account = app.queue.locate(&"testcloud".parse().unwrap(), &[job.job.id]).await.unwrap().remove(0);
    assert!(!account.known, "{account:?}");
}

#[tokio::test]
async fn a_resource_that_was_not_asked_for_gets_a_job() {
    let api = Api::with_devices(1).await;
    let (key, id) = (api.test.key(Role::User).await, api.devices[0]);
    let answer = api.put(&format!("/v1/devices/{id}/jobs/energy"), &key, json!({"priority": "low"})).await;
    let made = json!({
        "device": id, "resource": "energy", "interval": "5m", "priority": "low", "state": "active",
        "minimum_interval": "10s",
    });
    assert_eq!(answer.body, made);
    let shown = api.get(&format!("/v1/devices/{id}"), &key).await.body;
    let resources: Vec<_> = shown["resources"].as_object().unwrap().keys().collect();
    assert_eq!(resources, ["energy", "state"]);
}

pub(super) async fn jobs_of(api: &Api) -> Vec<jobs::StoredJob> {
    let ids = sqlx::query_scalar::<_, i64>("SELECT job_id FROM jobs ORDER BY job_id");
    jobs::by_id(&api.app().pool, &ids.fetch_all(&api.app().pool).await.unwrap()).await.unwrap()
}

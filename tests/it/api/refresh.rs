//! "Refresh now".

use super::preference::jobs_of;
use super::*;
use paceline::keep;
use paceline::preference::outbox;
use paceline::schedule::JobLocation;
use paceline::take::Taker;
use paceline::words::{JobState, ProviderName};

/// Where the first job is.
async fn location(api: &Api) -> JobLocation {
    let job = jobs_of(api).await.remove(0).job;
    api.app().queue.locate(&job.provider, &[job.id]).await.unwrap().remove(0)
}

#[tokio::test]
async fn refresh_is_queued_waits_and_runs_once() {
    let api = Api::with_devices(1).await;
    let (key, id, app) = (api.test.key(Role::User).await, api.devices[0], api.app());
    let name: ProviderName = "testcloud".parse().unwrap();
    // The schedule does not have the job yet: the refresh adds it first.
    keep::rebuild_if_lost(app, &name).await.unwrap();
    app.queue.purge(&name, &[jobs_of(&api).await[0].job.id]).await.unwrap();
    assert!(!location(&api).await.known && !outbox::read(&app.pool, 10).await.unwrap().is_empty());
    let queued = api.refresh(id, "state", &key).await;
    let expected = json!({"device": id, "resource": "state", "status": "queued", "fetched_at": null});
    assert_eq!((queued.status, queued.body), (StatusCode::ACCEPTED, expected));
    assert!(location(&api).await.ready && outbox::read(&app.pool, 10).await.unwrap().is_empty());

    api.record(id, 60_000, json!({"w": 1})).await;
    let waiting = api.refresh(id, "state", &key).await;
    assert_eq!((waiting.status, &waiting.body["status"]), (StatusCode::ACCEPTED, &json!("waiting")));
    let shown = api.get(&format!("/v1/devices/{id}"), &key).await.body;
    assert_eq!(waiting.body["fetched_at"], shown["resources"]["state"]["fetched_at"]);

    let taker = Taker::new(app.redis.clone(), app.registry.get("testcloud").unwrap(), &app.taker_settings());
    assert_eq!(taker.take(10, None).await.unwrap().grants.len(), 1);
    let running = api.refresh(id, "state", &key).await;
    assert_eq!((running.status, &running.body["status"]), (StatusCode::ACCEPTED, &json!("running")));
    assert!(keep::check(app, false).await.unwrap().clean);
}

#[tokio::test]
async fn refresh_of_an_unscheduled_job_says_what_to_do() {
    let api = Api::with_devices(1).await;
    let (key, id, pool) = (api.test.key(Role::User).await, api.devices[0], &api.app().pool);
    let missing = api.refresh(id, "humidity", &key).await;
    let put = api.put(&format!("/v1/devices/{id}/jobs/humidity"), &key, json!({"paused": true})).await;
    assert_eq!((missing.status, &missing.body), (StatusCode::NOT_FOUND, &put.body));
    let missing = api.refresh(id, "energy", &key).await;
    assert_eq!((missing.status, missing.problem()), (StatusCode::NOT_FOUND, "no-such-job"));
    assert!(missing.detail().contains(&format!("PUT /v1/devices/{id}/jobs/energy")), "{missing:?}");
    let nowhere = send(
        &api.router,
        request("POST", "/v1/devices/x/jobs/state/refresh").header(header::AUTHORIZATION, bearer(&key)),
        Body::empty(),
    );
    assert_eq!(nowhere.await.problem(), "bad-id");

    for (sql, problem, says) in [
        ("UPDATE jobs SET state = 'paused'", "paused", r#"{"paused": false}"#),
        (
            "WITH mended AS (UPDATE jobs SET state = 'active')
             UPDATE connections SET state = 'needs_reauth', state_reason = 'HTTP 401'",
            "needs-reauth",
            "PUT /v1/connections/ID/secrets",
        ),
    ] {
        sqlx::query(sql).execute(pool).await.unwrap();
        let refused = api.refresh(id, "state", &key).await;
        assert_eq!((refused.status, refused.problem()), (StatusCode::CONFLICT, problem), "{refused:?}");
        assert!(refused.detail().contains(says), "{refused:?}");
    }
    assert_eq!(jobs_of(&api).await[0].job.state, JobState::Active);
    assert!(!location(&api).await.known, "nothing that must not run was put into the schedule");
}

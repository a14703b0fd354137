//! "Refresh now".

use super::preference::jobs_of;
use super::*;
use paceline::keep;
use paceline::preference::outbox;
use paceline::schedule::JobLocation;
use paceline::take::{Settlement, Taker, Verdict};
use paceline::words::{End, JobState, ProviderName};

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
    let number = queued.body["refresh"].as_i64().unwrap();
    let expected =
        json!({"device": id, "resource": "state", "refresh": number, "status": "queued", "fetched_at": null});
    assert_eq!((queued.status, &queued.body), (StatusCode::ACCEPTED, &expected));
    assert_eq!(queued.headers["location"], format!("/v1/refreshes/{number}"));
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

/// One limit for all connections, ten calls at once, and no reserve.
const SHARED: &str = r#"
title = "Shared"
[http]
base_url = "{{ params.base_url }}"
[[quota]]
name = "common"
scope = "app"
amount = 10
window = "10s"
burst = 10
[resource.state]
interval_min = "5s"
interval_default = "1m"
path = "/state"
records = "."
"#;

#[tokio::test]
async fn refreshes_of_one_tenant_starve_neither_the_schedule_nor_anothers() {
    let test = TestApp::with_settings(&[("shared", SHARED)], |settings| {
        settings.schedule.first_run_spread = "100ms".parse().unwrap();
    })
    .await;
    let (app, name) = (&test.app, "shared".parse::<ProviderName>().unwrap());
    let connection = test.connect("shared", "eager", "http://cloud.invalid").await;
    let eager = test.add_devices("shared", connection, 40, "1d").await;
    let key = test.key(Role::User).await;
    let other = tenants::ensure(&app.pool, "other").await.unwrap();
    let (_, theirs) = keys::create(&app.pool, keys::Principal { tenant: other, role: Role::User }, "k", None)
        .await
        .unwrap();
    let new = connections::NewConnection {
        tenant: other,
        provider: name.clone(),
        label: "calm".parse().unwrap(),
        params: [("base_url".to_owned(), "http://cloud.invalid".to_owned())].into(),
        secrets: paceline::words::Secrets::default(),
    };
    let connection = connections::add(&app.pool, &app.sealer, new).await.unwrap();
    let device = |n: usize| devices::NewDevice {
        external_id: format!("c{n}"),
        name: String::new(),
        group: String::new(),
        jobs: vec![("state".parse().unwrap(), "10s".parse().unwrap(), Priority::Normal)],
    };
    let account = devices::TenantConnection { tenant: other, provider: name.clone(), connection };
    let calm = devices::add(&app.pool, &account, &(0..20).map(device).collect::<Vec<_>>()).await.unwrap();
    keep::rebuild_if_lost(app, &name).await.unwrap();

    let router = http::router(app.clone());
    let mut answers = Vec::new();
    for device in &eager {
        answers.push(refresh(&router, *device, "state", &key).await);
    }
    let queued = answers.iter().filter(|answer| answer.status == StatusCode::ACCEPTED).count();
    assert_eq!(
        queued, 1,
        "one call per ten seconds, of which refreshes have a quarter, and one tenant half of that"
    );
    let refused = answers.last().unwrap();
    assert_eq!((refused.status.as_u16(), refused.problem()), (429, "too-many-refreshes"));
    assert!(refused.detail().contains("limit \"common\""), "{}", refused.detail());
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((40..=80).contains(&wait), "{wait}");
    assert_eq!(refused.headers["ratelimit-policy"], "\"refresh\";q=60;w=60");
    assert_eq!(refused.headers["ratelimit"], "\"refresh\";r=59;t=1");
    // What is granted next is not only what was asked for by hand.
    let taker = Taker::new(app.redis.clone(), app.registry.get("shared").unwrap(), &app.taker_settings());
    tokio::time::sleep(Duration::from_millis(150)).await;
    let grants = taker.take(10, None).await.unwrap().grants;
    let of_calm = grants.iter().filter(|grant| grant.lane == connection.to_string()).count();
    assert!(grants.len() == 10 && of_calm > 0, "{of_calm} of {}", grants.len());
    // Whoever comes next finds some left.
    let answer = refresh(&router, calm[0], "state", theirs.expose_secret()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
}

#[tokio::test]
async fn refreshes_are_bounded_per_tenant_and_job() {
    let test = TestApp::with_settings(&[("testcloud", PROVIDER)], |settings| {
        settings.refresh.tenant_amount = 3;
        settings.refresh.job_every = "500ms".parse().unwrap();
    })
    .await;
    let (app, name) = (&test.app, "testcloud".parse::<ProviderName>().unwrap());
    let connection = test.connect("testcloud", "home", "http://cloud.invalid").await;
    let devices = test.add_devices("testcloud", connection, 4, "1d").await;
    let (router, key) = (http::router(app.clone()), test.key(Role::User).await);
    keep::rebuild_if_lost(app, &name).await.unwrap();
    let taker = Taker::new(app.redis.clone(), app.registry.get("testcloud").unwrap(), &app.taker_settings());
    let ended = async || {
        for grant in taker.take(10, None).await.unwrap().grants {
            let jobs = grant.jobs.iter().map(|job| (job.id, Verdict::Done(app.clock.now()))).collect();
            let done = Settlement { jobs, end: End::Good, ..Settlement::unsent(grant.call) };
            taker.settle(&[done], None).await.unwrap();
        }
    };
    assert_eq!(
        refresh(&router, devices[0], "state", &key).await.headers["ratelimit"],
        "\"refresh\";r=2;t=20"
    );
    // What waits already is not counted.
    assert_eq!(refresh(&router, devices[0], "state", &key).await.body["status"], "waiting");
    ended().await;
    let again = refresh(&router, devices[0], "state", &key).await;
    assert_eq!(again.problem(), "too-many-refreshes");
    assert!(
        again.detail().contains("this job was refreshed just now: try again in 1 s"),
        "{}",
        again.detail()
    );
    for device in &devices[1..3] {
        assert_eq!(refresh(&router, *device, "state", &key).await.status, StatusCode::ACCEPTED);
    }
    let fourth = refresh(&router, devices[3], "state", &key).await;
    assert_eq!(fourth.problem(), "too-many-refreshes");
    assert!(fourth.detail().contains("as many refreshes as you may"), "{}", fourth.detail());
    assert_eq!(fourth.headers["ratelimit"], "\"refresh\";r=0;t=20");
    // The operator's command is not bound.
    let (operator, state) = (paceline::refresh::Asker::Operator, "state".parse().unwrap());
    paceline::refresh::refresh_now(app, operator, test.tenant, devices[3], &state).await.unwrap();
}

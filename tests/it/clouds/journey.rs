//! Runs one case through the whole journey, and compares what is stored with what the case expects.

use super::deployment::{AnyCase, DeployedCase, previous_reading};
use super::stored;
use paceline::adhoc::AdHocError;
use paceline::app::App;
use paceline::authorise::{Authoriser, Ready};
use paceline::discovery::{self, DiscoverError};
use paceline::fetch::cases::SECRET;
use paceline::fetch::cases::TokenCase;
use paceline::fetch::cases::{Case, Difference};
use paceline::fetch::{Bootstrapped, CallResult, Listing, Validators};
use paceline::journey::{Journey, Step};
use paceline::preference::connections;
use paceline::read;
use paceline::words::{DeviceId, End, Granted, JobId, NoToken, UnixMs};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Longer than any case takes.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Runs the case. Returns the differences.
pub async fn run(app: &App, deployed: &DeployedCase) -> Vec<Difference> {
    let run = async {
        match &deployed.case {
            AnyCase::Call(case) if case.resource.as_str() == "discovery" => {
                discover(app, deployed, case).await
            }
            AnyCase::Call(case) if case.resource.as_str() == "bootstrap" => {
                fetch_bootstrap_values(app, deployed, case).await
            }
            AnyCase::Call(case) => fetch(app, deployed, case).await,
            AnyCase::Token(case) => renew_token(app, deployed, case).await,
        }
    };
    timeout(TIMEOUT, run).await.unwrap_or_else(|_| panic!("{} takes too long", deployed.name()))
}

/// Adds a difference if the values differ.
fn compare(differences: &mut Vec<Difference>, what: &str, expected: Value, got: Value) {
    if expected != got {
        let (expected, got) = (expected.to_string(), got.to_string());
        differences.push(Difference { what: what.to_owned(), expected, got });
    }
}

async fn now(app: &App) -> UnixMs {
    UnixMs(app.redis.time_ms().await.unwrap())
}

async fn fetch(app: &App, deployed: &DeployedCase, case: &Case) -> Vec<Difference> {
    let journey = Journey::new(app, &deployed.redirected.provider, CancellationToken::new()).unwrap();
    let before = stored::validator(app, deployed.devices[0]).await;
    let began = now(app).await;
    send(&journey, deployed).await;
    let ended = now(app).await;
    let mut differences =
        deployed.compare_requests(&deployed.redirected.requests().await, began, ended).await;
    let (device, expect) = (deployed.devices[0], &case.expect);
    let job = deployed.job(app, device).await;
    let outcomes = vec![(job, stored::outcome(app, device, job).await)];
    let holds = stored::holds(app, deployed, expect.wait, (began, ended), case.now()).await;
    let mut bootstrap = stored::bootstrap(app, deployed).await.0;
    bootstrap.retain(|name, value| case.bootstrap.get(name) != Some(value));
    // An unchanged validator was not in the response: it stays from before.
    let all = stored::validator(app, device).await.filter(|stored| Some(stored) != before.as_ref());
    let validators = Validators { all, ..Validators::default() };
    let answer = CallResult {
        end: End::Good,
        outcomes,
        holds,
        bootstrap_values: bootstrap,
        validators,
        ..CallResult::default()
    };
    differences.extend(case.compare_result(&answer, case.now()));
    differences.extend(compare_reading(app, deployed, case, device).await);
    differences.extend(compare_states(app, deployed, case, (&journey, job)).await);
    differences
}

/// Pulls and lands until a call was sent. On a busy machine a call may first be handed back as too late.
async fn send(journey: &Journey, deployed: &DeployedCase) {
    let mut sent = 0;
    while sent == 0 {
        match journey.pull().await.unwrap() {
            Step::Ran(calls, _) => {
                let mut ended = 0;
                while ended < calls {
                    let landed = journey.land().await.unwrap();
                    (ended, sent) = (ended + landed.ended, sent + landed.sent);
                }
            }
            Step::Idle(Some(wake)) if wake < TIMEOUT => sleep(wake).await,
            idle => panic!("{}: nothing to send: {idle:?}", deployed.name()),
        }
    }
}

/// Compares what readers get: from the cache, and from Postgres if the cache is empty.
async fn compare_reading(
    app: &App,
    deployed: &DeployedCase,
    case: &Case,
    device: DeviceId,
) -> Vec<Difference> {
    let mut differences = Vec::new();
    let is_fresh = case.expect.outcome == "fresh";
    if is_fresh {
        let cached = app.cache.get(deployed.tenant, &[device]).await.unwrap();
        compare(
            &mut differences,
            "cached",
            json!(true),
            json!(cached[0].contains_key(case.resource.as_str())),
        );
    }
    for source in ["cache", "Postgres"] {
        let view = read::device(app, deployed.tenant, device, read::With::default())
            .await
            .unwrap()
            .expect("the device");
        let view = &view.resources[case.resource.as_str()];
        let what = |what: &str| format!("{what}, read from {source}");
        let values = if is_fresh { case.expect.values.clone() } else { Some(previous_reading().values) };
        if let Some(values) = values {
            compare(&mut differences, &what("values"), json!(values), json!(view.values));
        }
        let online =
            if is_fresh { case.expect.online } else { Some(case.expect.outcome != "device_offline") };
        if let Some(online) = online {
            compare(&mut differences, &what("online"), json!(online), json!(view.online));
        }
        if let Some(at) = case.expect.observed_at {
            let at = UnixMs(at.timestamp_millis()).to_string();
            compare(&mut differences, &what("observed_at"), json!(at), json!(view.observed_at));
        }
        app.cache.forget([(deployed.tenant, device)]).await.unwrap();
    }
    differences
}

/// Compares the states of the job and the connection.
async fn compare_states(
    app: &App,
    deployed: &DeployedCase,
    case: &Case,
    (journey, job): (&Journey, JobId),
) -> Vec<Difference> {
    let mut differences = Vec::new();
    let outcome = case.expect.outcome.as_str();
    let is_failure = matches!(outcome, "unauthorized" | "gone" | "transient" | "broken" | "no_data");
    let stored = stored::state(app, job).await;
    let error = stored.last_error.unwrap_or_default();
    compare(
        &mut differences,
        "last_error",
        json!(is_failure),
        json!(error.starts_with(&format!("{outcome}: "))),
    );
    compare(&mut differences, "failing", json!(matches!(outcome, "gone" | "broken")), json!(stored.failing));
    let state = if outcome == "gone" { "probing" } else { "active" };
    compare(&mut differences, "state", json!(state), json!(stored.state));
    let reason = stored.state_reason.is_some_and(|reason| reason.starts_with("gone: "));
    compare(&mut differences, "state_reason", json!(outcome == "gone"), json!(reason));
    compare(&mut differences, "connection", json!("active"), json!(stored.connection));
    let at = |location: &paceline::schedule::JobLocation| {
        json!([location.known, location.due, location.ready, location.leased])
    };
    let location =
        async || app.queue.locate(&deployed.redirected.provider.name, &[job]).await.unwrap().remove(0);
    let expected = match outcome {
        // It stays ready, with its rank.
        "throttled" => json!([true, false, true, false]),
        _ => json!([true, true, false, false]),
    };
    compare(&mut differences, "location [known, due, ready, leased]", expected, at(&location().await));
    match outcome {
        "throttled" => {
            let step = journey.pull().await.unwrap();
            let wait = Duration::from_millis(case.expect.wait.map_or(0, |wait| wait.as_ms()));
            // Another limit may last longer.
            let is_held = matches!(step, Step::Idle(Some(wake)) if wake + TIMEOUT >= wait);
            compare(&mut differences, "held", json!(true), json!(is_held || wait < TIMEOUT));
        }
        "unauthorized" => {
            stored::forget_spent_quotas(app, deployed).await;
            send(journey, deployed).await;
            let stored = stored::state(app, job).await;
            compare(
                &mut differences,
                "connection, refused twice",
                json!("needs_reauth"),
                json!(stored.connection),
            );
            compare(&mut differences, "its reason", json!(true), json!(stored.refusal.is_some()));
            // The only job of the connection probes it.
            let probing = json!([true, true, false, false]);
            compare(&mut differences, "location, refused twice", probing, at(&location().await));
        }
        _ => {}
    }
    differences
}

/// Bootstrap values are requested in place of the first call, which waits for them.
async fn fetch_bootstrap_values(app: &App, deployed: &DeployedCase, case: &Case) -> Vec<Difference> {
    let journey = Journey::new(app, &deployed.redirected.provider, CancellationToken::new()).unwrap();
    let began = now(app).await;
    while deployed.redirected.requests().await.is_empty() {
        match journey.pull().await.unwrap() {
            Step::Ran(..) => drop(journey.land().await.unwrap()),
            Step::Idle(Some(wake)) if wake < TIMEOUT => sleep(wake).await,
            idle => panic!("{}: nothing to send: {idle:?}", deployed.name()),
        }
    }
    let ended = now(app).await;
    let mut differences =
        deployed.compare_requests(&deployed.redirected.requests().await, began, ended).await;
    let holds = stored::holds(app, deployed, case.expect.wait, (began, ended), case.now()).await;
    let (learned, is_complete) = stored::bootstrap(app, deployed).await;
    let job = deployed.job(app, deployed.devices[0]).await;
    let values = match is_complete {
        true => Ok(learned.clone()),
        false => Err(stored::outcome(app, deployed.devices[0], job).await),
    };
    differences.extend(case.compare_bootstrapped(
        &Bootstrapped { end: End::Good, holds, values, corrected: learned },
        case.now(),
    ));
    differences
}

async fn discover(app: &App, deployed: &DeployedCase, case: &Case) -> Vec<Difference> {
    let (tenant, connection) = (deployed.tenant, deployed.connection);
    let request = discovery::DiscoverRequest {
        provider: deployed.redirected.provider.clone(),
        tenant,
        connection,
        timeout: TIMEOUT,
        dry_run: false,
    };
    let began = now(app).await;
    let mut listed = discovery::discover(app, request.clone()).await;
    while matches!(listed, Err(DiscoverError::NotSent(AdHocError::Late))) {
        listed = discovery::discover(app, request.clone()).await;
    }
    let devices = match listed {
        Ok(_) => Ok(stored::listed(app, deployed).await),
        Err(DiscoverError::NoList(why)) => {
            let (word, detail) = why.split_once(": ").unwrap_or((&why, ""));
            Err(stored::failure(word, detail.to_owned()))
        }
        Err(error) => panic!("{}: {error}", deployed.name()),
    };
    let ended = now(app).await;
    let mut differences =
        deployed.compare_requests(&deployed.redirected.requests().await, began, ended).await;
    let is_refused = devices.is_err();
    let holds = stored::holds(app, deployed, case.expect.wait, (began, ended), case.now()).await;
    differences.extend(case.compare_listing(
        &Listing {
            end: End::Good,
            holds,
            devices,
            id_prefix: String::new(),
            bootstrap_values: BTreeMap::new(),
        },
        case.now(),
    ));
    let count = stored::listed(app, deployed).await.len();
    let is_empty = is_refused || case.expect.devices.as_ref().is_some_and(Vec::is_empty);
    compare(&mut differences, "no devices added", json!(is_empty), json!(count == 0));
    differences
}

async fn renew_token(app: &App, deployed: &DeployedCase, case: &TokenCase) -> Vec<Difference> {
    let provider = &deployed.redirected.provider;
    let open = async || {
        connections::open_any(&app.pool, &app.sealer, deployed.tenant, deployed.connection).await.unwrap()
    };
    let authoriser = Authoriser::new(app, provider).unwrap();
    let began = now(app).await;
    let mut ready = authoriser.ready(&Arc::new(open().await)).await;
    while matches!(&ready, Ready::NotYet(_, why) if why.contains("too busy")) {
        sleep(Duration::from_millis(500)).await;
        ready = authoriser.ready(&Arc::new(open().await)).await;
    }
    let ended = now(app).await;
    let mut differences =
        deployed.compare_requests(&deployed.redirected.requests().await, began, ended).await;
    let stored = open().await.token.expect("a token");
    let row: (String, Option<String>, i32, Option<String>, bool, Option<i64>) = sqlx::query_as(
        "SELECT c.state, c.state_reason, t.failures, t.failure, coalesce(t.retry_at > now(), false),
                (extract(epoch FROM t.expires_at - t.asked_at) * 1000)::bigint
         FROM tokens t JOIN connections c USING (tenant_id, connection_id) WHERE connection_id = $1",
    )
    .bind(deployed.connection.0)
    .fetch_one(&app.pool)
    .await
    .unwrap();
    let (state, refusal, failures, failure, waits, lives_ms) = row;
    let answer = match ready {
        Ready::Go(connection) => {
            let used = connection.token.as_ref().map(|token| token.generation);
            compare(&mut differences, "token in use", json!(stored.generation), json!(used));
            // Tokens expire five seconds early.
            let lifetime_ms = lives_ms.map(|ms| ms + 5_000);
            Ok(Granted { access: stored.access, refresh: stored.refresh, lifetime_ms })
        }
        Ready::Refused(reason) => Err(NoToken::Refused { reason }),
        Ready::NotYet(_, reason) => Err(NoToken::later(reason, End::Error)),
    };
    differences.extend(case.compare_token(&answer));
    let is = |outcome: &str| case.expect.outcome == outcome;
    compare(
        &mut differences,
        "generation",
        json!(if is("granted") { 2 } else { 1 }),
        json!(stored.generation),
    );
    compare(
        &mut differences,
        "state",
        json!(if is("refused") { "needs_reauth" } else { "active" }),
        json!(state),
    );
    compare(&mut differences, "its reason", json!(is("refused")), json!(refusal.is_some()));
    compare(&mut differences, "failures", json!(if is("granted") { 0 } else { 1 }), json!(failures));
    compare(&mut differences, "failure", json!(!is("granted")), json!(failure.is_some()));
    compare(&mut differences, "waits", json!(!is("granted")), json!(waits));
    differences
}

/// Rows in Postgres that contain a case's secret.
pub async fn leaks(app: &App) -> Vec<String> {
    let mark = SECRET.split(' ').next().unwrap_or(SECRET);
    let mut differences = Vec::new();
    for table in ["connections", "tokens", "jobs", "sync_events", "latest", "readings"] {
        let text = format!("SELECT x::text FROM {table} x WHERE strpos(x::text, $1) > 0");
        let rows: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(text)).bind(mark).fetch_all(&app.pool).await.unwrap();
        differences.extend(rows);
    }
    differences
}

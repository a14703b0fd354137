//! One case through the whole journey, and what differs from what it says.

use super::stage::{Staged, What, before};
use super::stored;
use paceline::adhoc::AdHocError;
use paceline::app::App;
use paceline::authorise::{self, Authoriser, Ready};
use paceline::discovery::{self, DiscoverError};
use paceline::fetch::cases::SECRET;
use paceline::fetch::cases::TokenCase;
use paceline::fetch::cases::{Case, Difference};
use paceline::fetch::{Answer, Bootstrapped, Listing, Validators};
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
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs it.
pub async fn run(app: &App, one: &Staged) -> Vec<Difference> {
    let run = async {
        match &one.what {
            What::Call(case) if case.resource.as_str() == "discovery" => list(app, one, case).await,
            What::Call(case) if case.resource.as_str() == "bootstrap" => look_up(app, one, case).await,
            What::Call(case) => fetch(app, one, case).await,
            What::Token(case) => renew(app, one, case).await,
        }
    };
    timeout(PATIENCE, run).await.unwrap_or_else(|_| panic!("{} takes too long", one.name()))
}

/// Notes what is not as it should be.
fn note(differences: &mut Vec<Difference>, what: &str, expected: Value, got: Value) {
    if expected != got {
        let (expected, got) = (expected.to_string(), got.to_string());
        differences.push(Difference { what: what.to_owned(), expected, got });
    }
}

async fn now(app: &App) -> UnixMs {
    UnixMs(app.redis.time_ms().await.unwrap())
}

async fn fetch(app: &App, one: &Staged, case: &Case) -> Vec<Difference> {
    let journey = Journey::new(app, &one.turned.provider, CancellationToken::new()).unwrap();
    let before = stored::validator(app, one.devices[0]).await;
    let began = now(app).await;
    land(&journey, one).await;
    let ended = now(app).await;
    let mut found = one.compare_requests(&one.turned.asked().await, began, ended).await;
    let (device, expect) = (one.devices[0], &case.expect);
    let job = one.job(app, device).await;
    let outcomes = vec![(job, stored::outcome(app, device, job).await)];
    let holds = stored::holds(app, one, expect.wait, (began, ended), case.now()).await;
    let mut learned = stored::bootstrap(app, one).await.0;
    learned.retain(|name, value| case.bootstrap.get(name) != Some(value));
    // What is unchanged goes on vouching, which the answer itself did not tell.
    let all = stored::validator(app, device).await.filter(|kept| Some(kept) != before.as_ref());
    let validators = Validators { all, ..Validators::default() };
    let answer = Answer { end: End::Good, outcomes, holds, learned, validators, ..Answer::default() };
    found.extend(case.compare_answer(&answer, case.now()));
    found.extend(reading(app, one, case, device).await);
    found.extend(consequence(app, one, case, (&journey, job)).await);
    found
}

/// Pulls until a call was made, and ends it. One that a busy machine would have sent too late is handed back first.
async fn land(journey: &Journey, one: &Staged) {
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
            Step::Idle(Some(wake)) if wake < PATIENCE => sleep(wake).await,
            idle => panic!("{}: nothing to send: {idle:?}", one.name()),
        }
    }
}

/// Readers see the last good value: from the cache, and from Postgres where the cache has nothing.
async fn reading(app: &App, one: &Staged, case: &Case, device: DeviceId) -> Vec<Difference> {
    let mut found = Vec::new();
    let is_fresh = case.expect.outcome == "fresh";
    if is_fresh {
        let cached = app.cache.get(one.tenant, &[device]).await.unwrap();
        note(&mut found, "cached", json!(true), json!(cached[0].contains_key(case.resource.as_str())));
    }
    for source in ["cache", "Postgres"] {
        let view = read::device(app, one.tenant, device).await.unwrap().expect("the device");
        let view = &view.resources[case.resource.as_str()];
        let what = |what: &str| format!("{what}, read from {source}");
        let values = if is_fresh { case.expect.values.clone() } else { Some(before().values) };
        if let Some(values) = values {
            note(&mut found, &what("values"), json!(values), json!(view.values));
        }
        let online =
            if is_fresh { case.expect.online } else { Some(case.expect.outcome != "device_offline") };
        if let Some(online) = online {
            note(&mut found, &what("online"), json!(online), json!(view.online));
        }
        if let Some(at) = case.expect.observed_at {
            let at = UnixMs(at.timestamp_millis()).to_string();
            note(&mut found, &what("observed_at"), json!(at), json!(view.observed_at));
        }
        app.cache.forget(one.tenant, device, paceline::cache::CARD).await.unwrap();
    }
    found
}

/// What becomes of the job, and of the connection.
async fn consequence(
    app: &App,
    one: &Staged,
    case: &Case,
    (journey, job): (&Journey, JobId),
) -> Vec<Difference> {
    let mut found = Vec::new();
    let outcome = case.expect.outcome.as_str();
    let is_failure = matches!(outcome, "unauthorized" | "gone" | "transient" | "broken");
    let stands = stored::standing(app, job).await;
    let error = stands.last_error.unwrap_or_default();
    note(&mut found, "last_error", json!(is_failure), json!(error.starts_with(&format!("{outcome}: "))));
    note(&mut found, "failing", json!(matches!(outcome, "gone" | "broken")), json!(stands.failing));
    let state = if outcome == "gone" { "parked" } else { "active" };
    note(&mut found, "state", json!(state), json!(stands.state));
    let reason = stands.state_reason.is_some_and(|reason| reason.starts_with("gone: "));
    note(&mut found, "state_reason", json!(outcome == "gone"), json!(reason));
    note(&mut found, "connection", json!("active"), json!(stands.connection));
    let at = |location: &paceline::schedule::JobLocation| {
        json!([location.known, location.due, location.ready, location.leased])
    };
    let location = async || app.queue.locate(&one.turned.provider.name, &[job]).await.unwrap().remove(0);
    let expected = match outcome {
        "gone" => json!([false, false, false, false]),
        // It keeps its rank.
        "throttled" => json!([true, false, true, false]),
        _ => json!([true, true, false, false]),
    };
    note(&mut found, "location [known, due, ready, leased]", expected, at(&location().await));
    match outcome {
        "throttled" => {
            let step = journey.pull().await.unwrap();
            let wait = Duration::from_millis(case.expect.wait.map_or(0, |wait| wait.as_ms()));
            // Some other limit may take longer.
            let is_held = matches!(step, Step::Idle(Some(wake)) if wake + PATIENCE >= wait);
            note(&mut found, "held", json!(true), json!(is_held || wait < PATIENCE));
        }
        "unauthorized" => {
            stored::forget_what_is_spent(app, one).await;
            land(journey, one).await;
            let stands = stored::standing(app, job).await;
            note(&mut found, "connection, refused twice", json!("needs_reauth"), json!(stands.connection));
            note(&mut found, "its reason", json!(true), json!(stands.refusal.is_some()));
            let off = json!([false, false, false, false]);
            note(&mut found, "location, refused twice", off, at(&location().await));
        }
        _ => {}
    }
    found
}

/// What calls need to know is asked for in place of the first call, which waits for it.
async fn look_up(app: &App, one: &Staged, case: &Case) -> Vec<Difference> {
    let journey = Journey::new(app, &one.turned.provider, CancellationToken::new()).unwrap();
    let began = now(app).await;
    while one.turned.asked().await.is_empty() {
        match journey.pull().await.unwrap() {
            Step::Ran(..) => drop(journey.land().await.unwrap()),
            Step::Idle(Some(wake)) if wake < PATIENCE => sleep(wake).await,
            idle => panic!("{}: nothing to send: {idle:?}", one.name()),
        }
    }
    let ended = now(app).await;
    let mut found = one.compare_requests(&one.turned.asked().await, began, ended).await;
    let holds = stored::holds(app, one, case.expect.wait, (began, ended), case.now()).await;
    let (learned, whole) = stored::bootstrap(app, one).await;
    let job = one.job(app, one.devices[0]).await;
    let values = match whole {
        true => Ok(learned.clone()),
        false => Err(stored::outcome(app, one.devices[0], job).await),
    };
    found.extend(
        case.compare_bootstrapped(&Bootstrapped { end: End::Good, holds, values, learned }, case.now()),
    );
    found
}

async fn list(app: &App, one: &Staged, case: &Case) -> Vec<Difference> {
    let (tenant, connection) = (one.tenant, one.connection);
    let wanted = discovery::DiscoverRequest {
        provider: &one.turned.provider,
        tenant,
        connection,
        patience: PATIENCE,
        dry_run: false,
    };
    let began = now(app).await;
    let mut listed = discovery::discover(app, wanted).await;
    while matches!(listed, Err(DiscoverError::NotSent(AdHocError::Late))) {
        listed = discovery::discover(app, wanted).await;
    }
    let devices = match listed {
        Ok(_) => Ok(stored::listed(app, one).await),
        Err(DiscoverError::NoList(why)) => {
            let (word, detail) = why.split_once(": ").unwrap_or((&why, ""));
            Err(stored::failure(word, detail.to_owned()))
        }
        Err(error) => panic!("{}: {error}", one.name()),
    };
    let ended = now(app).await;
    let mut found = one.compare_requests(&one.turned.asked().await, began, ended).await;
    let is_none = devices.is_err();
    let holds = stored::holds(app, one, case.expect.wait, (began, ended), case.now()).await;
    found.extend(
        case.compare_listing(
            &Listing { end: End::Good, holds, devices, learned: BTreeMap::new() },
            case.now(),
        ),
    );
    let kept = stored::listed(app, one).await.len();
    note(&mut found, "devices without a list", json!(is_none), json!(kept == 0));
    found
}

async fn renew(app: &App, one: &Staged, case: &TokenCase) -> Vec<Difference> {
    let provider = &one.turned.provider;
    let open =
        async || connections::open_any(&app.pool, &app.sealer, one.tenant, one.connection).await.unwrap();
    let authoriser = Authoriser::new(app, provider, &authorise::fetcher(app, provider).unwrap());
    let began = now(app).await;
    let mut ready = authoriser.ready(&Arc::new(open().await)).await;
    while matches!(&ready, Ready::NotYet(_, why) if why.contains("busy machine")) {
        sleep(Duration::from_millis(500)).await;
        ready = authoriser.ready(&Arc::new(open().await)).await;
    }
    let ended = now(app).await;
    let mut found = one.compare_requests(&one.turned.asked().await, began, ended).await;
    let kept = open().await.token.expect("a token");
    let row: (String, Option<String>, i32, Option<String>, bool, Option<i64>) = sqlx::query_as(
        "SELECT c.state, c.state_reason, t.failures, t.failure, coalesce(t.retry_at > now(), false),
                (extract(epoch FROM t.expires_at - t.asked_at) * 1000)::bigint
         FROM tokens t JOIN connections c USING (tenant_id, connection_id) WHERE connection_id = $1",
    )
    .bind(one.connection.0)
    .fetch_one(&app.pool)
    .await
    .unwrap();
    let (state, refusal, failures, failure, waits, lives_ms) = row;
    let answer = match ready {
        Ready::Go(connection) => {
            let used = connection.token.as_ref().map(|token| token.generation);
            note(&mut found, "the token that is used", json!(kept.generation), json!(used));
            // Given up five seconds early.
            let lifetime_ms = lives_ms.map(|ms| ms + 5_000);
            Ok(Granted { access: kept.access, refresh: kept.refresh, lifetime_ms })
        }
        Ready::Refused(reason) => Err(NoToken::Refused { reason }),
        Ready::NotYet(_, reason) => Err(NoToken::later(reason, End::Error)),
    };
    found.extend(case.compare_token(&answer));
    let is = |outcome: &str| case.expect.outcome == outcome;
    note(&mut found, "generation", json!(if is("granted") { 2 } else { 1 }), json!(kept.generation));
    note(&mut found, "state", json!(if is("refused") { "needs_reauth" } else { "active" }), json!(state));
    note(&mut found, "its reason", json!(is("refused")), json!(refusal.is_some()));
    note(&mut found, "failures", json!(if is("granted") { 0 } else { 1 }), json!(failures));
    note(&mut found, "failure", json!(!is("granted")), json!(failure.is_some()));
    note(&mut found, "waits", json!(!is("granted")), json!(waits));
    found
}

/// Where in Postgres a case's secret can be read.
pub async fn leaks(app: &App) -> Vec<String> {
    let mark = SECRET.split(' ').next().unwrap_or(SECRET);
    let mut found = Vec::new();
    for table in ["connections", "tokens", "jobs", "sync_events", "latest", "readings"] {
        let text = format!("SELECT x::text FROM {table} x WHERE strpos(x::text, $1) > 0");
        let rows: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(text)).bind(mark).fetch_all(&app.pool).await.unwrap();
        found.extend(rows);
    }
    found
}

//! What a call stored in Postgres and Redis, in the types of cases.

use super::deployment::{DeployedCase, PREVIOUS_CALL, previous_reading};
use paceline::app::App;
use paceline::provider::Provider;
use paceline::words::{
    DeviceId, Hold, Interval, JobId, ListedDevice, Outcome, Record, Refusal, Scope, UnixMs, Validator,
};
use redis::AsyncCommands;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The state of a job and its connection.
#[derive(Debug, sqlx::FromRow)]
pub struct StoredState {
    pub state: String,
    pub failing: bool,
    pub last_error: Option<String>,
    pub state_reason: Option<String>,
    pub connection: String,
    pub refusal: Option<String>,
}

pub async fn state(app: &App, job: JobId) -> StoredState {
    sqlx::query_as(
        "SELECT j.state, j.failing_since IS NOT NULL AS failing, j.last_error, j.state_reason,
                c.state AS connection, c.state_reason AS refusal
         FROM jobs j JOIN devices d USING (tenant_id, device_id) JOIN connections c USING (tenant_id, connection_id)
         WHERE j.job_id = $1",
    )
    .bind(job.0)
    .fetch_one(&app.pool)
    .await
    .unwrap()
}

/// A device's last good reading.
#[derive(sqlx::FromRow)]
struct LatestRow {
    values: sqlx::types::Json<Map<String, Value>>,
    online: bool,
    observed_at: Option<chrono::DateTime<chrono::Utc>>,
    fence: i64,
}

/// The outcome of a device's call, derived from what was stored.
pub async fn outcome(app: &App, device: DeviceId, job: JobId) -> Outcome {
    // The reading before was online: that a device went offline is an event of its own, beside the outcome.
    let events = "SELECT outcome, detail FROM sync_events WHERE job_id = $1 AND outcome <> 'went_offline'";
    let events: Vec<(String, String)> =
        sqlx::query_as(events).bind(job.0).fetch_all(&app.pool).await.unwrap();
    if let [(word, detail)] = events.as_slice() {
        return failure(word, detail.clone());
    }
    assert_eq!(events, [], "a call writes at most one event");
    let latest: LatestRow =
        sqlx::query_as("SELECT \"values\", online, observed_at, fence FROM latest WHERE device_id = $1")
            .bind(device.0)
            .fetch_one(&app.pool)
            .await
            .unwrap();
    let LatestRow { values, online, observed_at, fence } = latest;
    let record =
        Record { external_id: None, observed_at: observed_at.map(UnixMs::from), online, values: values.0 };
    match (fence == PREVIOUS_CALL.0, record.values == previous_reading().values, online) {
        (true, ..) => Outcome::Throttled,
        (false, true, true) => Outcome::Unchanged,
        (false, true, false) => Outcome::DeviceOffline,
        (false, false, _) => Outcome::Fresh(record),
    }
}

/// The validator stored with a device's last good reading.
pub async fn validator(app: &App, device: DeviceId) -> Option<Validator> {
    let stored: Option<sqlx::types::Json<Validator>> =
        sqlx::query_scalar("SELECT validator FROM latest WHERE device_id = $1")
            .bind(device.0)
            .fetch_one(&app.pool)
            .await
            .unwrap();
    stored.map(|it| it.0)
}

/// The stored bootstrap values, and whether they are complete.
pub async fn bootstrap(app: &App, case: &DeployedCase) -> (BTreeMap<String, String>, bool) {
    let (values, is_complete): (sqlx::types::Json<BTreeMap<String, String>>, bool) = sqlx::query_as(
        "SELECT bootstrap, bootstrap_at IS NOT NULL FROM connections WHERE connection_id = $1",
    )
    .bind(case.connection.0)
    .fetch_one(&app.pool)
    .await
    .unwrap();
    (values.0, is_complete)
}

/// The outcome with this name.
pub fn failure(word: &str, reason: String) -> Outcome {
    match word {
        "throttled" => Outcome::Throttled,
        "unauthorized" => Outcome::Unauthorized { reason },
        "gone" => Outcome::Gone { reason },
        "transient" => Outcome::Transient { reason },
        "broken" => Outcome::Broken { reason, excerpt: String::new() },
        "unchanged" => Outcome::Unchanged,
        "device_offline" => Outcome::DeviceOffline,
        "no_data" => Outcome::NoData { reason },
        other => panic!("{other}: {reason}"),
    }
}

/// The stored holds. A hold that may have been set between these instants to last for `wait` is returned as one that
/// lasts for `wait` from `now`.
pub async fn holds(
    app: &App,
    case: &DeployedCase,
    wait: Option<Interval>,
    (began, ended): (UnixMs, UnixMs),
    now: UnixMs,
) -> Vec<(Hold, Option<DeviceId>)> {
    let mut holds = Vec::new();
    for (field, value) in quota_state(app, &case.redirected.provider, case.connection.0).await {
        let (Some(holder), Some(value)) = (field.strip_prefix("!hold"), value.as_str()) else { continue };
        let scope = match holder.chars().next() {
            Some('s') => continue,
            Some('@') => Scope::Group,
            Some('#') => Scope::Device,
            _ if field.ends_with(" of the app") => Scope::App,
            _ => Scope::Connection,
        };
        let device = holder.strip_prefix('#').map(|id| DeviceId(id.parse().unwrap()));
        let [until, refusals, _, _, reported, reason] = value.splitn(6, ' ').collect::<Vec<_>>()[..] else {
            panic!("a hold is stored as {value:?}");
        };
        let until: f64 = until.parse().unwrap();
        let reported_until = (reported != "0").then(|| UnixMs(reported.parse().unwrap()));
        let refusal = (refusals != "0").then_some(Refusal { reported_until });
        let wait_ms = wait.map_or(0, |wait| wait.as_ms() as i64);
        let lasts_ms = match until as i64 - wait_ms {
            set_at if (began.0..=ended.0).contains(&set_at) => wait_ms,
            set_at => set_at + wait_ms - began.0,
        };
        let until = now.plus_ms(lasts_ms);
        holds.push((Hold { scope, until, reason: reason.to_owned(), refusal }, device));
    }
    holds
}

/// The quota state of the app and of a connection in Redis, in the format of `take/lua/quota/state.lua`.
async fn quota_state(app: &App, provider: &Provider, connection: i64) -> BTreeMap<String, Value> {
    let anchor = app.keys.anchor(&provider.name);
    let mut link = app.redis.link();
    let of_app: BTreeMap<String, String> = link.hgetall(format!("{anchor}quota:app")).await.unwrap();
    let of_groups: BTreeMap<String, String> =
        link.hgetall(format!("{anchor}quota:{connection}")).await.unwrap();
    let packed: Option<Vec<u8>> = link.hget(format!("{anchor}quotas"), connection).await.unwrap();
    let packed = packed.unwrap_or_default();
    let mut rest = rmp_serde::Deserializer::from_read_ref(&packed);
    let flat: Vec<Value> = std::iter::from_fn(|| Value::deserialize(&mut rest).ok()).collect();
    let own = flat.chunks(2).map(|pair| (pair[0].as_str().unwrap().to_owned(), pair[1].clone()));
    let of_app = of_app.into_iter().map(|(field, value)| (field + " of the app", value.into()));
    own.chain(of_app).chain(of_groups.into_iter().map(|(field, value)| (field, value.into()))).collect()
}

/// Deletes the quota state, as if all windows had passed.
pub async fn forget_spent_quotas(app: &App, case: &DeployedCase) {
    let anchor = app.keys.anchor(&case.redirected.provider.name);
    let keys = [
        format!("{anchor}quotas"),
        format!("{anchor}quota:app"),
        format!("{anchor}quota:{}", case.connection),
    ];
    app.redis.link().del::<_, ()>(&keys).await.unwrap();
}

/// The devices of a connection, as discovery would list them.
pub async fn listed(app: &App, case: &DeployedCase) -> Vec<ListedDevice> {
    let rows: Vec<(String, String, String, String, Vec<String>)> = sqlx::query_as(
        "SELECT external_id, name, group_key, model,
                array(SELECT resource FROM jobs j WHERE j.device_id = d.device_id ORDER BY resource)
         FROM devices d WHERE connection_id = $1 ORDER BY external_id",
    )
    .bind(case.connection.0)
    .fetch_all(&app.pool)
    .await
    .unwrap();
    let mut default: Vec<_> = case.shipped.default_jobs().into_iter().map(|(name, ..)| name).collect();
    default.sort();
    let listed =
        |(external_id, name, group, model, resources): (String, String, String, String, Vec<String>)| {
            let mut resources: Vec<_> = resources.iter().map(|name| name.parse().unwrap()).collect();
            let expected = case.expected_resources(&external_id);
            // A case may name the resources that devices get anyway, in any order.
            resources.sort_by_key(|name| expected.unwrap_or_default().iter().position(|one| one == name));
            let resources = (expected.is_some() || resources != default).then_some(resources);
            ListedDevice { external_id, name, group, model, resources }
        };
    rows.into_iter().map(listed).collect()
}

//! The endpoints under `/v1`. A request has been counted and admitted before its handler runs.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::Uri;
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde::{Deserialize, Serialize};

use super::devices::{Device, Fleet, Kind, Site, Values, energy, report, timestamp, values};
use super::problem::{BATCH_MAX, PAGE_SIZE_MAX, Problem};

/// The account of a request, and when it arrived: responses show values as of the arrival, however long they are
/// delayed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub(super) account: u32,
    pub(super) arrived_ms: i64,
}

/// What the endpoints read from.
#[derive(Clone, Copy, Debug)]
pub(super) struct World {
    pub(super) fleet: Fleet,
    pub(super) offline_share: f64,
}

pub(super) fn router(world: World) -> Router {
    Router::new()
        .route("/v1/devices", get(list_devices))
        .route("/v1/devices/state", get(read_states))
        .route("/v1/devices/{id}/energy", get(read_energy))
        .route("/v1/{*rest}", get(no_such_path))
        .with_state(world)
}

#[derive(Deserialize)]
#[serde(default)]
struct PageQuery {
    page: u32,
    size: u32,
}

impl Default for PageQuery {
    fn default() -> Self {
        Self { page: 1, size: 50 }
    }
}

#[derive(Serialize)]
struct DeviceEntry {
    id: String,
    name: String,
    #[serde(rename = "type")]
    kind: Kind,
    model: &'static str,
}

#[derive(Serialize)]
struct DevicePage {
    devices: Vec<DeviceEntry>,
    page: u32,
    size: u32,
    total: u32,
}

async fn list_devices(
    State(World { fleet, .. }): State<World>,
    Extension(caller): Extension<Caller>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<DevicePage>, Problem> {
    let Query(PageQuery { page, size }) = query.map_err(|_| Problem::BadPage)?;
    if page == 0 || !(1..=PAGE_SIZE_MAX).contains(&size) {
        return Err(Problem::BadPage);
    }
    let total = fleet.per_account();
    let first = (page - 1).saturating_mul(size).min(total);
    let devices = (first..total.min(first.saturating_add(size)))
        .map(|index| entry(&fleet.device(caller.account, index)));
    Ok(Json(DevicePage { devices: devices.collect(), page, size, total }))
}

fn entry(device: &Device) -> DeviceEntry {
    DeviceEntry { id: device.id(), name: device.name(), kind: device.kind, model: device.model() }
}

#[derive(Deserialize)]
struct BatchQuery {
    #[serde(default)]
    ids: String,
}

#[derive(Serialize)]
struct States {
    devices: Vec<DeviceState>,
    unknown: Vec<String>,
}

#[derive(Serialize)]
struct DeviceState {
    id: String,
    #[serde(rename = "type")]
    kind: Kind,
    online: bool,
    observed_at: String,
    values: Values,
}

async fn read_states(
    State(world): State<World>,
    Extension(caller): Extension<Caller>,
    query: Result<Query<BatchQuery>, QueryRejection>,
) -> Result<Json<States>, Problem> {
    let Query(BatchQuery { ids }) = query.map_err(|_| Problem::NoIds)?;
    let ids: Vec<&str> = ids.split(',').filter(|id| !id.is_empty()).collect();
    match ids.len() {
        0 => return Err(Problem::NoIds),
        many if many > BATCH_MAX => return Err(Problem::TooManyIds(many)),
        _ => {}
    }
    let mut states = States { devices: Vec::with_capacity(ids.len()), unknown: Vec::new() };
    for id in ids {
        match world.fleet.find(caller.account, id) {
            Some(device) => states.devices.push(state_of(&device, world.offline_share, caller.arrived_ms)),
            None => states.unknown.push(id.to_owned()),
        }
    }
    Ok(Json(states))
}

fn state_of(device: &Device, offline_share: f64, now_ms: i64) -> DeviceState {
    let report = report(device, offline_share, now_ms);
    DeviceState {
        id: device.id(),
        kind: device.kind,
        online: report.online,
        observed_at: timestamp(report.observed_at_ms),
        values: values(device, report.observed_at_ms),
    }
}

#[derive(Serialize)]
struct EnergyState {
    id: String,
    online: bool,
    observed_at: String,
    power_w: i64,
    energy_today_kwh: f64,
    energy_total_kwh: f64,
}

async fn read_energy(
    State(world): State<World>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<EnergyState>, Problem> {
    let Some(device) = world.fleet.find(caller.account, &id) else {
        return Err(Problem::NoSuchDevice(id));
    };
    let report = report(&device, world.offline_share, caller.arrived_ms);
    let Some(energy) = energy(&device, &Site::new(device.site), report.observed_at_ms) else {
        return Err(Problem::NoEnergy(id));
    };
    Ok(Json(EnergyState {
        id,
        online: report.online,
        observed_at: timestamp(report.observed_at_ms),
        power_w: energy.power_w as i64,
        energy_today_kwh: watt_hours(energy.today_kwh),
        energy_total_kwh: watt_hours(energy.total_kwh),
    }))
}

/// Rounds down to whole watt-hours: rounded up, a total could exceed a later one.
fn watt_hours(kwh: f64) -> f64 {
    (kwh * 1_000.0).floor() / 1_000.0
}

pub(super) async fn no_such_path(uri: Uri) -> Problem {
    Problem::NoSuchPath(uri.path().to_owned())
}

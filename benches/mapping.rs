//! `mapping`: turning a response's bytes into the outcomes of 300 devices; the yardstick only parses the same bytes.

use crate::Failed;
use crate::figure::Figure;
use paceline::fetch::{Call, Fetcher, Target};
use paceline::provider::Provider;
use paceline::words::{
    Connection, ConnectionId, ConnectionState, DeviceId, JobId, Outcome, TenantId, UnixMs,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use tokio::time::Instant;

const STATIONS: usize = 100;
const MODULES: usize = 2;
const DEVICES: usize = STATIONS * (1 + MODULES);
const ROUNDS: usize = 500;
/// Thu, 01 Jan 2026 00:00:00 GMT.
const NOW: UnixMs = UnixMs(1_767_225_600_000);

/// A response like Netatmo's: weather stations, each with its modules.
const DEFINITION: &str = r#"
title = "Stations"
[http]
base_url = "https://api.example.com"
[resource.state]
unit = "connection"
interval_min = "10m"
interval_default = "10m"
path = "/api/getstationsdata"
records = '''
.body.devices[] | (., .modules[]) | {
  id: ._id,
  observed_at: (.dashboard_data.time_utc * 1000),
  online: .reachable,
  values: (.dashboard_data | {
    temperature_c: .Temperature, humidity_pct: .Humidity, co2_ppm: .CO2, noise_db: .Noise, pressure_mbar: .Pressure
  } | with_entries(select(.value != null)))
}
'''
[[rule]]
body = ".error.code == 26"
outcome = "throttled"
"#;

pub async fn run() -> Result<Vec<Figure>, Failed> {
    let provider = Provider::parse("stations".parse()?, "stations.toml", DEFINITION)?;
    let call = call(&provider)?;
    let fetcher = Fetcher::offline(Arc::new(provider))?;
    let body = serde_json::to_vec(&response())?;
    let (mut ours, mut parsing) = (Vec::new(), Vec::new());
    eprintln!("{ROUNDS} responses of {} bytes", body.len());
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let result = fetcher.result_from(&call, 200, &[], &body, NOW).ok_or("the resource is declared")?;
        ours.push(started.elapsed().as_secs_f64() * 1000.0);
        let fresh =
            result.outcomes.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Fresh(_))).count();
        if fresh != DEVICES {
            return Err(format!(
                "{fresh} of {DEVICES} devices have a reading; the first outcome is {:?}",
                result.outcomes[0]
            )
            .into());
        }
        let started = Instant::now();
        black_box(serde_json::from_slice::<Value>(black_box(&body))?);
        parsing.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    let (ours, parsing) = (median(ours), median(parsing));
    let figure = Figure::new("mapping", ours, parsing, "ms per response").param("devices", DEVICES);
    let met = ours <= 3.0 && figure.ratio() <= 4.0;
    Ok(vec![
        figure.param("bytes", body.len()).aim("value ≤ 3, ratio ≤ 4", met).peers("serde_json, as Value: 1"),
    ])
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

fn id(station: usize, module: usize) -> String {
    format!("70:ee:50:{:02x}:{:02x}:{module:02x}", station / 256, station % 256)
}

fn call(provider: &Provider) -> Result<Call, Failed> {
    let ids = (0..STATIONS).flat_map(|station| (0..=MODULES).map(move |module| id(station, module)));
    let target = |(n, external_id): (usize, String)| Target {
        job: JobId(n as i64),
        device: DeviceId(n as i64),
        external_id,
        group: String::new(),
        validator: None,
    };
    let connection = Connection {
        id: ConnectionId(1),
        tenant: TenantId(1),
        provider: provider.name.clone(),
        devices: 0,
        params: BTreeMap::new(),
        bootstrap: Default::default(),
        bootstrap_of: None,
        secrets_version: 1,
        state: ConnectionState::Active,
        secrets: paceline::words::Secrets::default(),
        token: None,
    };
    let targets = ids.enumerate().map(target).collect();
    Ok(Call { connection: Arc::new(connection), resource: "state".parse()?, targets })
}

fn response() -> Value {
    let dashboard_data = |n: usize| {
        json!({
            "time_utc": 1_767_225_000 + n, "Temperature": 18.5 + (n % 70) as f64 / 10.0, "CO2": 400 + n,
            "Humidity": 30 + n % 60, "Noise": 30 + n % 20, "Pressure": 1013.2, "AbsolutePressure": 987.6,
            "min_temp": 17.1, "max_temp": 24.9, "date_max_temp": 1_767_200_000 + n,
            "date_min_temp": 1_767_180_000 + n, "temp_trend": "stable", "pressure_trend": "up"
        })
    };
    let module = |station: usize, module: usize| {
        json!({
            "_id": id(station, module), "type": "NAModule1", "module_name": format!("Outdoor {module}"),
            "last_setup": 1_600_000_000, "data_type": ["Temperature", "Humidity"], "battery_percent": 73,
            "reachable": true, "firmware": 50, "last_message": 1_767_225_200, "last_seen": 1_767_225_200,
            "rf_status": 75, "battery_vp": 5448, "dashboard_data": dashboard_data(station * 3 + module)
        })
    };
    let station = |n: usize| {
        json!({
            "_id": id(n, 0), "station_name": format!("Wetterstation {n}"), "date_setup": 1_500_000_000,
            "last_setup": 1_500_000_000, "type": "NAMain", "last_status_store": 1_767_225_300,
            "module_name": "Wohnzimmer", "firmware": 181, "wifi_status": 45, "reachable": true,
            "co2_calibrating": false, "data_type": ["Temperature", "CO2", "Humidity", "Noise", "Pressure"],
            "place": {"altitude": 120, "city": "Köln", "country": "DE", "timezone": "Europe/Berlin",
                "location": [6.953101, 50.935173]},
            "home_id": format!("5f{n:022x}"), "home_name": "Zuhause", "dashboard_data": dashboard_data(n * 3),
            "modules": (1..=MODULES).map(|m| module(n, m)).collect::<Vec<_>>()
        })
    };
    let devices: Vec<_> = (0..STATIONS).map(station).collect();
    json!({"body": {"devices": devices, "user": {"mail": "a@example.com"}}, "status": "ok",
        "time_exec": 0.06, "time_server": 1_767_225_600})
}

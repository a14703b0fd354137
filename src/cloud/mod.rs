//! "Meadow": a device cloud that does not exist, for the demo, the tests and anybody who wants to break
//! something.
//!
//! It runs as a process of its own (`paceline cloud`) and is what a third party is to Paceline: a stranger
//! behind HTTP with slow answers, many kinds of devices and a quota it means. It counts every request at
//! arrival in an exact sliding log, and tells at the end, as a referee, whether anybody ever went over.
//!
//! Nothing of a device is stored. Its kind, name, cadence, outages and values are functions of (seed, device,
//! time), so a million devices cost no more than one, and the same seed at the same instant gives the same
//! answer.
//!
//! # Requests
//!
//! All under `/v1` want `Authorization: Bearer <key>` and count against the quota whatever the answer (400,
//! 404 and 500 too). Only refused (429) and unauthorized (401) requests do not.
//!
//! `GET /v1/devices?page=1&size=50` (size at most 100) lists the account's devices:
//! ```json
//! {"devices":[{"id":"th-7c9e6679","name":"Kitchen","type":"thermostat","model":"Meadow Dial 2"}],
//!  "page":1,"size":50,"total":120}
//! ```
//!
//! `GET /v1/devices/state?ids=a,b,c` (at most 20) reads a batch. Values depend on the type; a device reports
//! at its own cadence, so two reads in a row may see the same `observed_at`. While it is offline, that is its
//! last report. An id that is not the account's own is `unknown`.
//! ```json
//! {"devices":[
//!   {"id":"th-7c9e6679","type":"thermostat","online":true,"observed_at":"2026-01-01T10:00:00.000Z",
//!    "values":{"temperature_c":20.4,"target_c":20.5,"humidity_pct":46,"heating":true,"battery_pct":71}},
//!   {"id":"pv-01b2c3d4","type":"solar_inverter","online":true,"observed_at":"2026-01-01T09:59:58.250Z",
//!    "values":{"power_w":1840,"dc_voltage_v":402.5,"temperature_c":24.1,"status":"producing"}},
//!   {"id":"am-9f8e7d6c","type":"air_monitor","online":true,"observed_at":"2026-01-01T09:59:51.700Z",
//!    "values":{"co2_ppm":654,"temperature_c":21.7,"humidity_pct":44,"voc_ppb":176,"pm25_ugm3":7.3}},
//!   {"id":"ws-5a4b3c2d","type":"weather_station","online":true,"observed_at":"2026-01-01T09:59:40.115Z",
//!    "values":{"temperature_c":4.9,"humidity_pct":81,"pressure_hpa":1014.2,"wind_ms":3.1,"rain_mm_h":0.0,
//!              "battery_pct":88}},
//!   {"id":"pm-11223344","type":"power_meter","online":false,"observed_at":"2026-01-01T09:41:12.004Z",
//!    "values":{"power_w":412,"voltage_v":231.4,"current_a":1.78}}],
//!  "unknown":["th-00000000"]}
//! ```
//!
//! `GET /v1/devices/{id}/energy` reads the counters of a solar inverter or a power meter (404 for others).
//! `today` starts at midnight of the device's local solar time; `total` never falls.
//! ```json
//! {"id":"pv-01b2c3d4","online":true,"observed_at":"2026-01-01T09:59:58.250Z",
//!  "power_w":1840,"energy_today_kwh":5.217,"energy_total_kwh":12034.562}
//! ```
//!
//! Ordinary answers carry `X-RateLimit-Limit`, `-Remaining` and `-Reset` of the limit that has the fewest
//! left, and its name in `X-RateLimit-Policy` (`account:50/10s`); `Reset` is whole seconds until `Remaining`
//! starts to grow again. A refusal is 429 with `Retry-After` in whole seconds and the same `-Policy`. Every
//! error is `application/problem+json`:
//! ```json
//! {"status":429,"code":"rate_limited","detail":"…","limit":"account:50/10s","retry_after_s":7}
//! ```
//!
//! # The referee
//!
//! `GET /_referee` wants no key and costs nothing. Every request under `/v1` is in `requests`, and in exactly
//! one of `admitted`, `throttled`, `unauthorized`. `peak` is the most admitted in any window since the start:
//! it cannot pass `amount`, so whoever claims to respect the quota shows `throttled: 0`, and whoever claims
//! to use it, the shares. Those are of the window that ends now, `null` until one has passed: `used_share`
//! over all accounts together, `busiest_share` of the account that used most.
//! ```json
//! {"uptime_s":61.2,"requests":2310,"admitted":2310,"throttled":0,"unauthorized":0,
//!  "injected":{"error":0,"dropped":0,"hung":0,"garbage":0},
//!  "per_second":{"last":38,"peak":40,"history":[37,38]},
//!  "limits":[{"name":"account:50/10s","scope":"account","amount":50,"window_ms":10000,
//!             "peak":48,"throttled":0,"used_share":0.71,"busiest_share":0.96}]}
//! ```

mod api;
mod chance;
mod clock;
mod energy;
mod exit;
mod failures;
mod fleet;
mod gate;
mod limit;
mod place;
mod problem;
mod reading;
mod referee;
mod seconds;
mod server;
mod settings;
mod site;
mod sliding_log;
mod values;
mod wire;

pub use clock::{Clock, steady_clock};
pub use failures::Failures;
pub use limit::{BadLimit, Limit, Scope};
pub use server::{serve, serve_until};
pub use settings::{CloudSettings, KnownDevice};

//! "Meadow": a simulated device cloud for the demo, the tests and experiments with failures.
//!
//! It runs as a process of its own (`paceline cloud`) and behaves like a third-party provider: slow responses over
//! HTTP, many kinds of devices and limits that it enforces. It counts every request at arrival in an exact sliding
//! log, and reports as a referee whether a client ever exceeded a limit.
//!
//! No state of a device is stored. Its kind, name, cadence, outages and values are functions of (seed, device,
//! time), so a million devices cost no more memory than one, and the same seed at the same instant gives the same
//! response.
//!
//! # Requests
//!
//! Everything under `/v1` requires `Authorization: Bearer <key>` and counts against the limits whatever the status
//! (400, 404 and 500 too), except for throttled (429) and unauthorized (401) requests.
//!
//! `GET /v1/devices?page=1&size=50` (`size` at most 100) lists the account's devices:
//! ```json
//! {"devices":[{"id":"th-7c9e6679","name":"Kitchen","type":"thermostat","model":"Meadow Dial 2"}],
//!  "page":1,"size":50,"total":120}
//! ```
//!
//! `GET /v1/devices/state?ids=a,b,c` (at most 20) reads a batch. Values depend on the type. A device reports
//! at its own cadence, so two reads in a row may return the same `observed_at`; while it is offline, that of its
//! last report. Ids of other accounts are `unknown`.
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
//! Responses to admitted requests carry `X-RateLimit-Limit`, `-Remaining` and `-Reset` of the limit with the fewest
//! requests left, and its name in `X-RateLimit-Policy` (`account:50/10s`); `Reset` is in whole seconds until
//! `Remaining` grows again. A throttled request gets 429 with `Retry-After` in whole seconds and `-Policy`. Every
//! error is `application/problem+json`:
//! ```json
//! {"status":429,"code":"rate_limited","detail":"…","limit":"account:50/10s","retry_after_s":7}
//! ```
//!
//! # The referee
//!
//! `GET /_referee` needs no key and does not count against limits. Every request under `/v1` is in `requests`, and in
//! exactly one of `admitted`, `throttled`, `unauthorized`. `peak` is the most requests admitted in any window since
//! the start and never exceeds `amount`: `throttled: 0` shows that clients keep within the limits, and the shares
//! show how far they use them. Shares are of the window that ends now, and `null` until one has passed: `used_share`
//! of all accounts together, `busiest_share` of the account that used most.
//! ```json
//! {"uptime_s":61.2,"requests":2310,"admitted":2310,"throttled":0,"unauthorized":0,
//!  "injected":{"error":0,"dropped":0,"hung":0,"garbage":0},
//!  "per_second":{"last":38,"peak":40,"history":[37,38]},
//!  "limits":[{"name":"account:50/10s","scope":"account","amount":50,"window_ms":10000,
//!             "peak":48,"throttled":0,"used_share":0.71,"busiest_share":0.96}]}
//! ```

mod api;
mod clock;
mod devices;
mod exit;
mod failures;
mod limits;
mod problem;
mod rng;
mod server;
mod settings;
mod wire;

pub use clock::{Clock, steady_clock};
pub use failures::Failures;
pub use limits::{BadLimit, Limit, Scope};
pub use server::{serve, serve_until};
pub use settings::{CloudDevice, CloudSettings};

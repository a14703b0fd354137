//! When a device last reported, and whether it is online.

use chrono::{DateTime, SecondsFormat};

use super::fleet::Device;
use super::kind::Kind;
use crate::cloud::rng::Key;

/// The last report of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) online: bool,
    /// By the device's clock, in milliseconds since the Unix epoch.
    pub(crate) observed_at_ms: i64,
}

const CADENCE: u64 = 60;
const PHASE: u64 = 61;
const JITTER: u64 = 62;
const OUTAGE: u64 = 63;

/// The last report of the device before an instant.
pub(crate) fn report(device: &Device, offline_share: f64, now_ms: i64) -> Report {
    match outage_since_ms(device.key.with(OUTAGE), offline_share, now_ms) {
        Some(since_ms) => Report { online: false, observed_at_ms: last_report_ms(device, since_ms) },
        None => Report { online: true, observed_at_ms: last_report_ms(device, now_ms) },
    }
}

/// An instant in the format of the API: `2026-01-01T10:00:00.000Z`.
pub(crate) fn timestamp(at_ms: i64) -> String {
    DateTime::from_timestamp_millis(at_ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// How often the device reports: more often on mains power than on a battery.
fn cadence_ms(device: &Device) -> i64 {
    let choices: &[i64] = match device.kind {
        Kind::PowerMeter => &[2_000, 3_000, 5_000],
        Kind::SolarInverter => &[5_000, 10_000],
        Kind::AirMonitor => &[10_000, 15_000, 20_000],
        Kind::Thermostat | Kind::WeatherStation => &[15_000, 20_000, 30_000],
    };
    device.key.with(CADENCE).pick(choices)
}

/// The latest report at or before an instant. A report may be early by a twentieth of the cadence, but never late, so
/// reports stay in order.
fn last_report_ms(device: &Device, at_ms: i64) -> i64 {
    let cadence_ms = cadence_ms(device);
    let phase_ms = device.key.with(PHASE).below(cadence_ms as usize) as i64;
    let nth = (at_ms - phase_ms).div_euclid(cadence_ms);
    let early_ms = device.key.with(JITTER).with(nth as u64).below(cadence_ms as usize / 20) as i64;
    nth * cadence_ms + phase_ms - early_ms
}

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// When the current outage began, if there is one. Each hour of a device has at most one outage, entirely within the
/// hour and 5 to 25 minutes long: a quarter of an hour on average. So the share of hours with an outage is four times
/// the share of devices that are offline.
fn outage_since_ms(key: Key, offline_share: f64, now_ms: i64) -> Option<i64> {
    let shift_ms = key.with(1).below(HOUR_MS as usize) as i64;
    let hour = (now_ms - shift_ms).div_euclid(HOUR_MS);
    let draw = key.with(hour as u64);
    if draw.unit() >= offline_share * 4.0 {
        return None;
    }
    let length_ms = draw.with(1).between(5.0, 25.0) * MINUTE_MS as f64;
    // Not in the first minute: the device reports at least once after an outage at the end of the previous hour.
    let latest_ms = HOUR_MS as f64 - length_ms;
    let start_ms = draw.with(2).between(MINUTE_MS as f64, latest_ms);
    let since_ms = hour * HOUR_MS + shift_ms + start_ms as i64;
    (since_ms..since_ms + length_ms as i64).contains(&now_ms).then_some(since_ms)
}

#[cfg(test)]
mod tests {
    use super::super::fleet::Fleet;
    use super::*;

    /// 2026-01-01T00:00:00Z
    const START_MS: i64 = 1_767_225_600_000;

    #[test]
    fn timestamp_always_has_milliseconds() {
        assert_eq!(timestamp(START_MS), "2026-01-01T00:00:00.000Z");
        assert_eq!(timestamp(START_MS + 61_007), "2026-01-01T00:01:01.007Z");
    }

    #[test]
    fn reports_follow_the_cadence_in_order_and_never_from_the_future() {
        let fleet = Fleet::new(3, 20);
        for device in (0..20).map(|index| fleet.device(0, index)) {
            let reports: Vec<i64> = (0..3_000).map(|n| last_report_ms(&device, START_MS + n * 100)).collect();
            assert!(reports.windows(2).all(|pair| pair[0] <= pair[1]));
            assert!(reports.iter().zip(0..).all(|(at_ms, n)| *at_ms <= START_MS + n * 100));
            let mut distinct = reports.clone();
            distinct.dedup();
            let expected = 300_000 / cadence_ms(&device);
            assert!((expected..=expected + 2).contains(&(distinct.len() as i64)), "{}", distinct.len());
        }
    }

    #[test]
    fn offline_device_keeps_its_last_report() {
        let device = Fleet::new(3, 20).device(0, 0);
        let minutes: Vec<Report> =
            (0..100_000).map(|n| report(&device, 0.05, START_MS + n * MINUTE_MS / 4)).collect();
        let outages: Vec<&[Report]> =
            minutes.chunk_by(|one, two| one.online == two.online).filter(|run| !run[0].online).collect();
        assert!(outages.len() > 10);
        for outage in outages {
            assert!(outage.iter().all(|it| it.observed_at_ms == outage[0].observed_at_ms));
            assert!((5 * 4 - 1..=25 * 4 + 1).contains(&outage.len()), "{}", outage.len());
        }
    }

    #[test]
    fn offline_share_is_as_configured() {
        let fleet = Fleet::new(3, 10_000);
        for share in [0.0, 0.02, 0.2] {
            let devices = (0..10_000).map(|index| fleet.device(0, index));
            let offline =
                devices.filter(|device| !report(device, share, START_MS).online).count() as f64 / 10_000.0;
            assert!((offline - share).abs() < 0.012, "{offline} for {share}");
        }
    }
}

//! What the demo prints while it runs and at its end.

use super::cloud::Figures;
use crate::watch::{JobCounts, LagReport, Stats};
use serde::Serialize;

/// The state of the run at one second.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Line {
    /// Seconds since the start.
    pub(super) at_s: u64,
    /// Jobs synced in the last second.
    pub(super) syncs_per_s: u64,
    /// Jobs synced since the start.
    pub(super) syncs: u64,
    /// Share of jobs whose reading is fresh.
    pub(super) fresh_share: f64,
    /// Share of jobs whose reading is not fresh because the device is offline: no call can make it fresh.
    pub(super) offline_share: f64,
    /// The largest excess of age over interval, ms.
    pub(super) worst_lag_ms: i64,
    /// Of the busiest limit, the largest share used.
    pub(super) quota_used: f64,
    /// Calls that the cloud throttled (429).
    pub(super) throttled: u64,
    /// Outcomes that count as errors.
    pub(super) errors: u64,
}

/// The summary of the run.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Summary {
    summary: bool,
    devices: u32,
    syncs: u64,
    throttled: u64,
    fresh_share: f64,
    offline_share: f64,
    lag_p50_ms: f64,
    lag_p99_ms: f64,
    quota_used: f64,
    errors: u64,
}

/// Outcomes that are no errors. Throttled calls are counted on their own.
const NO_ERRORS: [&str; 6] = ["fresh", "unchanged", "device_offline", "no_data", "not_sent", "throttled"];

fn offline_share(jobs: &JobCounts) -> f64 {
    let offline = jobs.not_fresh.get("offline").copied().unwrap_or_default();
    if jobs.active == 0 { 0.0 } else { offline as f64 / jobs.active as f64 }
}

impl Line {
    pub(super) fn new(at_s: u64, before: &Self, stats: &Stats, lag: &LagReport, cloud: &Figures) -> Self {
        let syncs = ["fresh", "unchanged", "device_offline", "no_data"]
            .iter()
            .map(|outcome| stats.ended(outcome))
            .sum();
        let jobs = lag.providers.get("meadow").map(|p| p.jobs.clone()).unwrap_or_default();
        Self {
            at_s,
            syncs_per_s: u64::saturating_sub(syncs, before.syncs),
            syncs,
            fresh_share: jobs.fresh_share,
            offline_share: offline_share(&jobs),
            worst_lag_ms: jobs.worst_late_ms,
            quota_used: cloud.quota_used(),
            throttled: cloud.throttled,
            errors: stats
                .outcomes
                .iter()
                .filter(|(outcome, _)| !NO_ERRORS.contains(&outcome.as_str()))
                .map(|(_, n)| n)
                .sum(),
        }
    }

    /// Text for a terminal.
    pub(super) fn text(&self) -> String {
        format!(
            "{:>4} s  {:>5} syncs/s  fresh {:>5.1} %  offline {:>4.1} %  worst {:>5.1} s late  \
             quota used {:>5.1} %  throttled {}  errors {}",
            self.at_s,
            self.syncs_per_s,
            self.fresh_share * 100.0,
            self.offline_share * 100.0,
            self.worst_lag_ms as f64 / 1000.0,
            self.quota_used * 100.0,
            self.throttled,
            self.errors
        )
    }
}

impl Summary {
    pub(super) fn new(devices: u32, last: &Line, stats: &Stats) -> Self {
        Self {
            summary: true,
            devices,
            syncs: last.syncs,
            throttled: last.throttled,
            fresh_share: last.fresh_share,
            offline_share: last.offline_share,
            lag_p50_ms: stats.lag_ms(0.5).unwrap_or(0.0),
            lag_p99_ms: stats.lag_ms(0.99).unwrap_or(0.0),
            quota_used: last.quota_used,
            errors: last.errors,
        }
    }

    /// Whether nothing was throttled, nothing failed and at least 99 % is fresh, but for devices that are offline.
    pub(super) fn is_success(&self) -> bool {
        let could_be_fresh = 1.0 - self.offline_share;
        self.throttled == 0
            && self.errors == 0
            && self.fresh_share >= 0.99 * could_be_fresh
            && self.fresh_share > 0.0
    }

    /// Text for a terminal.
    pub(super) fn text(&self) -> String {
        format!(
            "{} devices, {} syncs, {} throttled by the cloud, {} errors; {:.1} % fresh, {:.1} % offline; \
             sent {:.0} ms after due (median), {:.0} ms (p99); quota used {:.0} %",
            self.devices,
            self.syncs,
            self.throttled,
            self.errors,
            self.fresh_share * 100.0,
            self.offline_share * 100.0,
            self.lag_p50_ms,
            self.lag_p99_ms,
            self.quota_used * 100.0
        )
    }
}

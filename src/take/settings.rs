//! How calls are granted, as it is configured.

use crate::provider::Provider;
use crate::redis::Keys;
use crate::settings::{self, Settings};
use crate::words::Interval;
use std::time::Duration;

/// How calls are granted.
#[derive(Debug, Clone)]
pub struct TakerSettings {
    /// Grants are made this far ahead, so that one round trip serves a fast provider.
    pub horizon: Interval,
    /// What is due within this time is granted for its instant, so that it is not late.
    pub ahead: Interval,
    /// A call may be sent this late.
    pub tolerance: Interval,
    /// After its send instant a call has this long until its jobs are due again.
    pub lease: Interval,
    /// A job this share of its interval before its time may piggyback on a call with free places …
    pub ride_share: f64,
    /// … but no longer before it than this.
    pub ride_max: Interval,
    /// k of the score.
    pub k: f64,
    /// Base priority of each class, realtime first.
    pub base: [f64; 5],
    /// The longest waits after failures in a row: that may pass, and that last.
    pub waits_max: [Interval; 2],
    /// Waits after refusals.
    pub hold: settings::Hold,
    /// The prefix of every key's name.
    pub keys: Keys,
}

impl TakerSettings {
    /// How late a provider's calls may be sent: no window overflows by it.
    pub fn tolerance_for(&self, provider: &Provider) -> Duration {
        Duration::from_millis(self.tolerance.as_ms()).min(provider.slack())
    }

    /// As configured, with keys under this prefix.
    pub fn of(settings: &Settings, keys: Keys) -> Self {
        let (take, rank) = (&settings.take, &settings.rank);
        Self {
            horizon: take.horizon,
            ahead: take.ahead,
            tolerance: take.tolerance,
            lease: take.lease,
            ride_share: take.ride_share,
            ride_max: take.ride_max,
            k: rank.k,
            base: [rank.realtime, rank.high, rank.normal, rank.low, rank.background],
            waits_max: [settings.retry.cap, settings.probe.cap],
            hold: settings.hold,
            keys,
        }
    }
}

//! A provider's limit: as its file declares it, and as the pacing arithmetic uses it.

use super::amount::Amount;
use super::calendar::{Calendar, Zone};
use crate::provider::auth::TOKEN;
use crate::provider::call::Resource;
use crate::words::{Interval, QuotaInputs, ResourceName, Scope};
use schemars::JsonSchema;
use serde::Deserialize;
use std::fmt;
use std::str::FromStr;

/// One declared limit. Which keys apply depends on the kind; the others are refused at load.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Its name in messages: `hour`, `per-second`.
    pub name: String,
    /// How it counts.
    #[serde(default)]
    pub kind: Kind,
    /// What it counts together: the app, a connection, a group or a device.
    pub scope: Scope,
    /// Cost per window; calls in flight for `concurrent`; consecutive failures for `errors`; the highest rate ever
    /// tried per window for `adaptive`. Or an amount per plan; a connection's param `plan` selects one.
    pub amount: Amount,
    /// Added for each known device of the connection.
    #[serde(default)]
    pub amount_per_device: Option<u32>,
    /// `amount_per_device` is added once per this many devices, rounded up; 1 when absent.
    #[serde(default)]
    pub per_devices: Option<u32>,
    /// The window: a length, or a calendar unit for `aligned`.
    #[serde(default)]
    pub window: Option<Window>,
    /// The time zone (IANA) of the calendar for `aligned`; UTC when absent.
    #[serde(default)]
    pub zone: Zone,
    /// How much may be spent at once after a pause; 1 when absent. A larger burst means a slower steady pace for
    /// `sliding`; `aligned` gives out the rest of its amount evenly over the window.
    #[serde(default)]
    pub burst: Option<u32>,
    /// The share of the window left unused, so that network jitter never makes the provider count one call too many;
    /// when absent, 2 %: at least 50 ms for `sliding`, at most 2 s for `aligned`.
    #[serde(default)]
    pub headroom: Option<f64>,
    /// Tolerance of the provider's own limiter, ms: a call may be sent this much later than its instant.
    #[serde(default)]
    pub forgives_ms: Option<u32>,
    /// The share kept for "refresh now"; background syncs may not spend it.
    #[serde(default)]
    pub reserve: f64,
    /// Whether a response with an error counts.
    #[serde(default = "yes")]
    pub errors_cost: bool,
    /// `adaptive`: the first rate per window; a tenth of the amount when absent.
    #[serde(default)]
    pub start: Option<u32>,
    /// `adaptive`: the lowest rate per window; 1 when absent.
    #[serde(default)]
    pub floor: Option<u32>,
    /// The resources that it counts; all when absent.
    #[serde(default)]
    pub resources: Option<Vec<ResourceName>>,
    /// How much later than its call a page may be sent, ms: the most of the counted resources.
    #[serde(skip)]
    pages_ms: f64,
}

/// How a quota counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "QuotaKind")]
pub enum Kind {
    /// In any window of the length, wherever the window begins.
    #[default]
    Sliding,
    /// From one calendar boundary to the next.
    Aligned,
    /// Calls in flight.
    Concurrent,
    /// Consecutive responses with an error.
    Errors,
    /// Undocumented: found by additive increase and multiplicative decrease (AIMD).
    Adaptive,
}

/// The window of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Window {
    /// A length: `10s`, `1h`.
    Length(Interval),
    /// `minute`, `hour`, `day` or `month`.
    Calendar(Calendar),
}

/// A quota's limit as pacing computes with it. Times in milliseconds, costs in the provider's units.
#[derive(Debug, Clone, PartialEq)]
pub enum Limit {
    /// GCRA: see `pace::Gcra`.
    Sliding {
        /// T, the time one unit of cost takes to come back.
        emission_ms: f64,
        /// How much may be spent at once.
        burst: u32,
    },
    /// A counter that is reset at calendar boundaries.
    Aligned {
        /// The amount per window.
        amount: u32,
        /// How much of it may be spent at once; the rest is given out evenly over the window.
        burst: u32,
        /// Nothing is sent this close to a boundary, because the provider's clock may differ.
        margin_ms: f64,
        /// The window.
        calendar: Calendar,
        /// The calendar's time zone.
        zone: Zone,
    },
    /// Calls in flight.
    Concurrent {
        /// The most at once.
        amount: u32,
    },
    /// Errors in a row.
    Errors {
        /// The most in a row, where calls in flight count as failed.
        amount: u32,
        /// Errors are forgotten this long after the last one.
        window_ms: f64,
    },
    /// A rate found by trying.
    Adaptive {
        /// The highest rate per window.
        ceiling: f64,
        /// The first rate per window.
        start: f64,
        /// The lowest rate per window.
        floor: f64,
        /// The window.
        window_ms: f64,
    },
}

/// Network and scheduling delay of a call on a busy machine or a home's line. A share of a short window is less.
const JITTER_MS: f64 = 50.0;
/// Clocks synchronised by NTP differ by less.
const SKEW_MS: f64 = 2_000.0;
/// The share of every window left unused by default.
const HEADROOM: f64 = 0.02;

fn yes() -> bool {
    true
}

impl Quota {
    /// The limit for every call, and the limit for background syncs if a share is reserved: for every connection, or
    /// for one whose quota inputs are unknown.
    pub fn limits(&self) -> (Limit, Option<Limit>) {
        self.limits_for(&QuotaInputs::default())
    }

    /// Likewise for a connection with these quota inputs.
    pub fn limits_for(&self, inputs: &QuotaInputs) -> (Limit, Option<Limit>) {
        let amount = self.amount_for(inputs);
        let whole = self.limit(amount, 1.0);
        let rest = (self.reserve > 0.0).then(|| self.limit(amount, 1.0 - self.reserve));
        (whole, rest)
    }

    /// The amount for a connection with these quota inputs.
    pub fn amount_for(&self, inputs: &QuotaInputs) -> u32 {
        let steps = inputs.devices.div_ceil(self.devices_a_step());
        let more = self.amount_per_device.unwrap_or(0).saturating_mul(steps);
        self.amount.on(&inputs.plan).saturating_add(more)
    }

    /// The smallest amount of any connection: on the smallest plan, without devices.
    pub fn least(&self) -> u32 {
        self.amount.least()
    }

    /// Whether some quota inputs lead to this amount.
    pub fn may_allow(&self, amount: f64) -> bool {
        let step = f64::from(self.amount_per_device.unwrap_or(0));
        let is_of = |base: u32| {
            let more = amount - f64::from(base);
            more == 0.0 || more > 0.0 && step > 0.0 && more % step == 0.0
        };
        match &self.amount {
            Amount::Same(base) => is_of(*base),
            Amount::ByPlan(all) => all.values().any(|base| is_of(*base)),
        }
    }

    /// Whether the amount depends on quota inputs.
    pub fn varies(&self) -> bool {
        self.amount_per_device.is_some() || matches!(self.amount, Amount::ByPlan(_))
    }

    /// The number of devices per step of `amount_per_device`.
    pub fn devices_a_step(&self) -> u32 {
        self.per_devices.unwrap_or(1).max(1)
    }

    /// The limit for a share of this amount, above 0 and at most 1.
    fn limit(&self, amount: u32, share: f64) -> Limit {
        let burst = self.burst();
        match self.kind {
            Kind::Sliding => {
                let steps = f64::from(amount) - f64::from(burst) + 1.0;
                Limit::Sliding { emission_ms: self.span_ms() / steps.max(1.0) / share, burst }
            }
            Kind::Aligned => {
                let amount = portion(amount, share);
                Limit::Aligned {
                    amount,
                    burst: burst.min(amount),
                    margin_ms: self.margin_ms() + self.pages_ms,
                    calendar: self.calendar(),
                    zone: self.zone.clone(),
                }
            }
            Kind::Concurrent => Limit::Concurrent { amount: portion(amount, share) },
            Kind::Errors => Limit::Errors { amount, window_ms: self.window_ms() },
            Kind::Adaptive => Limit::Adaptive {
                ceiling: f64::from(amount) * share,
                start: f64::from(self.start()) * share,
                floor: f64::from(self.floor()) * share,
                window_ms: self.window_ms(),
            },
        }
    }

    /// Takes in how late pages may be sent. Must run before any limit is computed.
    pub(crate) fn make_room<'a>(&mut self, calls: impl Iterator<Item = (&'a ResourceName, &'a Resource)>) {
        let counted = calls.filter(|(name, _)| self.counts(name));
        let most = counted.map(|(_, call)| call.pages_ms()).max();
        self.pages_ms = most.unwrap_or(0) as f64;
    }

    /// How much may be spent at once after a pause.
    pub fn burst(&self) -> u32 {
        self.burst.unwrap_or(1)
    }

    /// The first rate of an adaptive quota.
    pub fn start(&self) -> u32 {
        self.start.unwrap_or((self.least() / 10).max(self.floor()))
    }

    /// The lowest rate of an adaptive quota.
    pub fn floor(&self) -> u32 {
        self.floor.unwrap_or(1)
    }

    /// The stretched window W in ms. One unit of cost is replenished every `T = W / (N − b + 1)` with burst b.
    ///
    /// Headroom h stretches the window to `W / (1 − h)`, so that calls sent that far apart still arrive a window apart
    /// when one takes up to `W · h / (1 − h)` longer than another. The time in which pages are sent stretches it too:
    /// all pages are spent with their call, before any of them is late. Why this T keeps every window: `pace::Gcra`.
    pub fn span_ms(&self) -> f64 {
        self.window_ms() + self.spare_ms() + self.pages_ms
    }

    /// How much headroom stretches a sliding window, ms.
    fn spare_ms(&self) -> f64 {
        let window_ms = self.window_ms();
        match self.headroom {
            Some(share) => window_ms / (1.0 - share) - window_ms,
            None => (window_ms * HEADROOM).max(JITTER_MS),
        }
    }

    /// The margin around a calendar boundary in which nothing is sent, ms.
    pub(crate) fn margin_ms(&self) -> f64 {
        let window_ms = self.calendar().least_ms();
        self.headroom.map_or((window_ms * HEADROOM).min(SKEW_MS), |share| window_ms * share)
    }

    /// How late a call may be sent without overflowing a window, ms; none if the quota does not depend on the instant.
    pub fn slack_ms(&self) -> Option<f64> {
        let of_headroom = match self.kind {
            Kind::Sliding => Some(self.spare_ms()),
            Kind::Aligned => Some(self.margin_ms()),
            Kind::Concurrent | Kind::Errors | Kind::Adaptive => None,
        }?;
        Some(of_headroom.max(self.forgives_ms.map_or(0.0, f64::from)))
    }

    fn window_ms(&self) -> f64 {
        match self.window {
            Some(Window::Length(length)) => length.as_ms() as f64,
            Some(Window::Calendar(calendar)) => calendar.least_ms(),
            None => 0.0,
        }
    }

    /// The longest that its window can be, ms; none if it counts no time.
    pub(crate) fn longest_window_ms(&self) -> Option<i64> {
        Some(match self.window? {
            Window::Length(length) => i64::try_from(length.as_ms()).unwrap_or(i64::MAX),
            Window::Calendar(calendar) => calendar.most_ms(),
        })
    }

    fn calendar(&self) -> Calendar {
        match self.window {
            Some(Window::Calendar(calendar)) => calendar,
            Some(Window::Length(_)) | None => Calendar::Day,
        }
    }

    /// Whether calls for this resource count. Token requests count only if `resources` names them, because most
    /// providers count them separately.
    pub fn counts(&self, resource: &ResourceName) -> bool {
        let counts = |name: &ResourceName| name.as_str() == resource.scheduled();
        self.resources.as_ref().map_or(*resource != *TOKEN, |names| names.iter().any(counts))
    }
}

/// A share of an amount, at least 1.
fn portion(amount: u32, share: f64) -> u32 {
    ((f64::from(amount) * share + 1e-9).floor() as u32).max(1)
}

/// An invalid window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a window: write a length such as 10s or 1h, or minute, hour, day or month for kind = \"aligned\""
)]
pub struct WindowError(String);

impl FromStr for Window {
    type Err = WindowError;
    fn from_str(text: &str) -> Result<Self, WindowError> {
        if let Some(calendar) = Calendar::from_word(text) {
            return Ok(Self::Calendar(calendar));
        }
        text.parse().map(Self::Length).map_err(|_| WindowError(text.to_owned()))
    }
}

impl TryFrom<String> for Window {
    type Error = WindowError;
    fn try_from(text: String) -> Result<Self, WindowError> {
        text.parse()
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(length) => length.fmt(f),
            Self::Calendar(calendar) => f.pad(calendar.as_str()),
        }
    }
}

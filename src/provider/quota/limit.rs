//! A limit that a provider sets, as its file declares it and as the arithmetic of pacing wants it.

use super::amount::Amount;
use super::calendar::{Calendar, Zone};
use crate::provider::auth::TOKEN;
use crate::provider::call::Resource;
use crate::words::{Interval, QuotaInputs, ResourceName, Scope};
use schemars::JsonSchema;
use serde::Deserialize;
use std::fmt;
use std::str::FromStr;

/// One limit, as declared. Which of the keys mean something depends on the kind; the others are refused at load.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// What people call it: `hour`, `per-second`.
    pub name: String,
    /// How it counts.
    #[serde(default)]
    pub kind: Kind,
    /// Whom it counts.
    pub scope: Scope,
    /// How much in a window; calls in flight for `concurrent`; failures in a row for `errors`; the most that is ever
    /// tried in a window for `adaptive`. Or so much on each plan, of which a connection's param `plan` says one.
    pub amount: Amount,
    /// So much more for each device of the connection that we know.
    #[serde(default)]
    pub amount_per_device: Option<u32>,
    /// It is so much more for each so many devices, of which the last need not be full; 1 when absent.
    #[serde(default)]
    pub per_devices: Option<u32>,
    /// The window: a length, or for `aligned` a part of the calendar.
    #[serde(default)]
    pub window: Option<Window>,
    /// The calendar's time zone (IANA) for `aligned`; UTC when absent.
    #[serde(default)]
    pub zone: Zone,
    /// How much may be spent at once after a pause; 1 when absent. More burst means a slower steady pace for `sliding`;
    /// `aligned` gives out the rest of its amount evenly over the window.
    #[serde(default)]
    pub burst: Option<u32>,
    /// The share of the window given up, so that jitter on the way never makes the provider count one too many;
    /// when absent, 2 %: at least 50 ms for `sliding`, at most 2 s for `aligned`.
    #[serde(default)]
    pub headroom: Option<f64>,
    /// What the provider's own limiter forgives: a call may go this much later than its instant.
    #[serde(default)]
    pub forgives_ms: Option<u32>,
    /// The share kept for "refresh now", which background syncs may not spend.
    #[serde(default)]
    pub reserve: f64,
    /// Whether an answer that is an error counts.
    #[serde(default = "yes")]
    pub errors_cost: bool,
    /// `adaptive`: what is tried first in a window; a tenth of the amount when absent.
    #[serde(default)]
    pub start: Option<u32>,
    /// `adaptive`: never slower than this in a window; 1 when absent.
    #[serde(default)]
    pub floor: Option<u32>,
    /// Which resources it counts; all when absent.
    #[serde(default)]
    pub resources: Option<Vec<ResourceName>>,
    /// How much later than its call a page may be sent, of the resources that it counts, ms.
    #[serde(skip)]
    pages_ms: f64,
}

/// How a quota counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "QuotaKind")]
pub enum Kind {
    /// In any window of the length, wherever it begins.
    #[default]
    Sliding,
    /// From one turn of the calendar to the next.
    Aligned,
    /// Calls in flight.
    Concurrent,
    /// Answers in a row that were errors.
    Errors,
    /// Nobody tells: found by additive increase and multiplicative decrease.
    Adaptive,
}

/// Over what a quota counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Window {
    /// A length: `10s`, `1h`.
    Length(Interval),
    /// `minute`, `hour`, `day` or `month`.
    Calendar(Calendar),
}

/// What a quota amounts to: what pacing computes with. Times in milliseconds, costs in the provider's units.
#[derive(Debug, Clone, PartialEq)]
pub enum Limit {
    /// GCRA: see `pace::Gcra`.
    Sliding {
        /// T, the time one unit of cost takes to come back.
        emission_ms: f64,
        /// How much may be spent at once.
        burst: u32,
    },
    /// A counter that the calendar resets.
    Aligned {
        /// How much from one turn to the next.
        amount: u32,
        /// How much of it at once; the rest is given out evenly over the window.
        burst: u32,
        /// How far the provider's clock may differ: nothing is sent so close to a turn.
        margin_ms: f64,
        /// Which turns.
        calendar: Calendar,
        /// Whose calendar.
        zone: Zone,
    },
    /// Calls in flight.
    Concurrent {
        /// So many.
        amount: u32,
    },
    /// Errors in a row.
    Errors {
        /// So many, calls in flight counted as though they failed.
        amount: u32,
        /// After the last of them, so long a pause forgets all.
        window_ms: f64,
    },
    /// A rate that is felt for.
    Adaptive {
        /// The most in a window.
        ceiling: f64,
        /// At first.
        start: f64,
        /// The least in a window.
        floor: f64,
        /// The window.
        window_ms: f64,
    },
}

/// What a call may be late on its way on a busy machine or a home's line: a share of a short window is less than that.
const JITTER_MS: f64 = 50.0;
/// Clocks that are kept by NTP differ by less.
const SKEW_MS: f64 = 2_000.0;
/// Given up of every window unless the file says otherwise.
const HEADROOM: f64 = 0.02;

fn yes() -> bool {
    true
}

impl Quota {
    /// What it amounts to for every call, and what that leaves for background syncs where some of it is reserved: for
    /// everybody, or for an account of which nothing is known.
    pub fn limits(&self) -> (Limit, Option<Limit>) {
        self.limits_for(&QuotaInputs::default())
    }

    /// Likewise for an account on these terms.
    pub fn limits_for(&self, terms: &QuotaInputs) -> (Limit, Option<Limit>) {
        let amount = self.amount_for(terms);
        let whole = self.limit(amount, 1.0);
        let rest = (self.reserve > 0.0).then(|| self.limit(amount, 1.0 - self.reserve));
        (whole, rest)
    }

    /// How much it allows an account on these terms.
    pub fn amount_for(&self, terms: &QuotaInputs) -> u32 {
        let steps = terms.devices.div_ceil(self.devices_a_step());
        let more = self.amount_per_device.unwrap_or(0).saturating_mul(steps);
        self.amount.on(&terms.plan).saturating_add(more)
    }

    /// The least that it allows anybody: on the smallest plan, without devices.
    pub fn least(&self) -> u32 {
        self.amount.least()
    }

    /// Whether it may allow so much, on whatever terms.
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

    /// Whether it allows one account more than another.
    pub fn varies(&self) -> bool {
        self.amount_per_device.is_some() || matches!(self.amount, Amount::ByPlan(_))
    }

    /// How many devices allow `amount_per_device` more.
    pub fn devices_a_step(&self) -> u32 {
        self.per_devices.unwrap_or(1).max(1)
    }

    /// What a share of this amount, above 0 and at most 1, comes to.
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

    /// Learns how late pages may be: before it, no limit is computed.
    pub(crate) fn make_room<'a>(&mut self, calls: impl Iterator<Item = (&'a ResourceName, &'a Resource)>) {
        let counted = calls.filter(|(name, _)| self.counts(name));
        let most = counted.map(|(_, call)| call.pages_ms()).max();
        self.pages_ms = most.unwrap_or(0) as f64;
    }

    /// How much may be spent at once after a pause.
    pub fn burst(&self) -> u32 {
        self.burst.unwrap_or(1)
    }

    /// What an adaptive one tries first.
    pub fn start(&self) -> u32 {
        self.start.unwrap_or((self.least() / 10).max(self.floor()))
    }

    /// What an adaptive one never goes below.
    pub fn floor(&self) -> u32 {
        self.floor.unwrap_or(1)
    }

    /// W of the time in ms that one unit of cost takes to come back, which is `T = W / (N − b + 1)` with burst b.
    ///
    /// Headroom h stretches the window to `W / (1 − h)`, so that calls sent W apart still arrive W apart when the way
    /// takes up to `W · h / (1 − h)` longer for one than for another. So does the time in which pages are sent: all are
    /// spent with their call, before any of them is late. Why this T keeps every window: `pace::Gcra`.
    pub fn span_ms(&self) -> f64 {
        self.window_ms() + self.spare_ms() + self.pages_ms
    }

    /// By how much headroom stretches a sliding window, ms.
    fn spare_ms(&self) -> f64 {
        let window_ms = self.window_ms();
        match self.headroom {
            Some(share) => window_ms / (1.0 - share) - window_ms,
            None => (window_ms * HEADROOM).max(JITTER_MS),
        }
    }

    /// How close to a turn of the calendar nothing is sent, ms.
    pub(crate) fn margin_ms(&self) -> f64 {
        let window_ms = self.calendar().least_ms();
        self.headroom.map_or((window_ms * HEADROOM).min(SKEW_MS), |share| window_ms * share)
    }

    /// How late a call may be sent without a window overflowing, ms; none if its instant does not matter to it.
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

    fn calendar(&self) -> Calendar {
        match self.window {
            Some(Window::Calendar(calendar)) => calendar,
            Some(Window::Length(_)) | None => Calendar::Day,
        }
    }

    /// Whether calls for this resource count. Requests for tokens do where they are named alone: most clouds count
    /// them apart.
    pub fn counts(&self, resource: &ResourceName) -> bool {
        let counts = |name: &ResourceName| name.as_str() == resource.scheduled();
        self.resources.as_ref().map_or(*resource != *TOKEN, |names| names.iter().any(counts))
    }
}

/// A share of an amount, at least 1.
fn portion(amount: u32, share: f64) -> u32 {
    ((f64::from(amount) * share + 1e-9).floor() as u32).max(1)
}

/// A window that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no window: write a length such as 10s or 1h, or minute, hour, day or month for kind = \"aligned\""
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

//! The cloud's own count: every call that was sent, in every window of every quota, whatever the workers know.

use crate::far;
use crate::quota_inputs::Accounts;
use paceline::provider::{Limit, Provider, Quota, QuotaKind};
use paceline::words::{QuotaInputs, ResourceName, Scope, UnixMs};
use std::collections::{HashMap, VecDeque};

/// A call as the cloud sees it.
#[derive(Debug, Clone)]
pub struct Call {
    pub lane: String,
    pub resource: ResourceName,
    pub devices: Vec<i64>,
    pub cost: u32,
    /// It draws on what is reserved.
    pub urgent: bool,
    /// The answer will be an error, which some quotas do not count.
    pub fails: bool,
}

pub struct Referee {
    quotas: Vec<Quota>,
    /// How far its clock is ahead of ours.
    skew_ms: i64,
    /// How late calls may be on their way: what a felt rate may hold more of.
    late_ms: f64,
    books: HashMap<(usize, String), Book>,
    /// Calls counted, and how close any window came to its quota, as a share of it.
    pub counted: u64,
    pub fullest: f64,
}

/// How far ahead of its instant a call may be granted: `horizon` of the scenario.
pub const AHEAD_MS: f64 = 250.0;

/// What was counted of one quota for one of those it counts.
#[derive(Default)]
struct Book {
    sent: VecDeque<(f64, u32, bool)>,
    window: (i64, Sum),
    flying: Sum,
    errors: u32,
    last_error: f64,
}

/// Of all calls, and of those that are not urgent.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    all: u32,
    background: u32,
}

impl Sum {
    fn add(&mut self, cost: u32, urgent: bool) {
        self.all += cost;
        self.background += if urgent { 0 } else { cost };
    }

    fn take(&mut self, cost: u32, urgent: bool) {
        self.all -= cost;
        self.background -= if urgent { 0 } else { cost };
    }
}

/// Whom a quota counts a call for.
pub fn holders(scope: Scope, lane: &str, devices: &[i64]) -> Vec<String> {
    match scope {
        Scope::App => vec![String::new()],
        Scope::Connection => vec![connection(lane).to_owned()],
        Scope::Group => vec![lane.to_owned()],
        Scope::Device => devices.iter().map(i64::to_string).collect(),
    }
}

pub fn connection(lane: &str) -> &str {
    lane.split_once('.').map_or(lane, |(connection, _)| connection)
}

impl Referee {
    /// `far`: whether workers may be.
    pub fn new(provider: &Provider, skew_ms: i64, late_ms: f64, far: bool) -> Self {
        let quotas = provider.quotas().cloned().collect();
        let late_ms = if far { late_ms + (far::LATE_MAX_MS + far::REACH_MAX_MS) as f64 } else { late_ms };
        Self { quotas, skew_ms, late_ms, books: HashMap::new(), counted: 0, fullest: 0.0 }
    }

    /// Counts a call that arrives, and says which windows are over quota because of it.
    /// Where quota inputs changed, the window may hold the greatest amount that was in force during it.
    pub fn sent(&mut self, call: &Call, at: f64, accounts: &Accounts) -> Vec<String> {
        self.counted += 1;
        let mut wrong = Vec::new();
        for (number, quota) in self.quotas.iter().enumerate().filter(|(_, q)| q.counts(&call.resource)) {
            let cost = if call.fails && !quota.errors_cost { 0 } else { call.cost };
            let from = match quota.kind {
                QuotaKind::Aligned => self.window_ms(quota, at),
                _ => at - window_ms(quota),
            };
            let inputs = accounts.most(quota, connection(&call.lane), from, AHEAD_MS + self.late_ms);
            let inputs = &inputs;
            for holder in holders(quota.scope, &call.lane, &call.devices) {
                let book = self.books.entry((number, holder.clone())).or_default();
                let (held, most) = match quota.kind {
                    QuotaKind::Sliding => {
                        (book.slide(quota, inputs, cost, call.urgent, at), sliding(quota, inputs))
                    }
                    QuotaKind::Adaptive => {
                        let most = (f64::from(quota.least()) * (1.0 + self.late_ms / window_ms(quota))).ceil()
                            as u32;
                        (book.slide(quota, inputs, cost, call.urgent, at), (most + call.cost, None))
                    }
                    QuotaKind::Aligned => (
                        book.calendar(quota, cost, call.urgent, at + self.skew_ms as f64),
                        amounts(quota, inputs),
                    ),
                    QuotaKind::Concurrent => {
                        book.flying.add(1, call.urgent);
                        (book.flying, amounts(quota, inputs))
                    }
                    QuotaKind::Errors => continue,
                };
                self.fullest = self.fullest.max(f64::from(held.all) / f64::from(most.0));
                if held.all > most.0 {
                    wrong.push(format!("over quota: {} of {} {holder:?} holds {held:?}", quota.name, most.0));
                }
                if let Some(most) = most.1.filter(|most| held.background > *most) {
                    wrong.push(format!("reserve: {} of {most} {holder:?} holds {held:?}", quota.name));
                }
            }
        }
        wrong
    }

    /// When the calendar's window began in which a call arrives, by our clock.
    fn window_ms(&self, quota: &Quota, at: f64) -> f64 {
        match quota.limits().0 {
            Limit::Aligned { calendar, zone, .. } => {
                let theirs = UnixMs(at as i64 + self.skew_ms);
                (calendar.boundaries(&zone, theirs)[0].0 - self.skew_ms) as f64
            }
            _ => at,
        }
    }

    /// A call ends at the cloud.
    pub fn answered(&mut self, call: &Call, at: f64) -> Vec<String> {
        let mut wrong = Vec::new();
        for (number, quota) in self.quotas.iter().enumerate().filter(|(_, q)| q.counts(&call.resource)) {
            for holder in holders(quota.scope, &call.lane, &call.devices) {
                let book = self.books.entry((number, holder.clone())).or_default();
                match quota.kind {
                    QuotaKind::Concurrent => book.flying.take(1, call.urgent),
                    QuotaKind::Errors if !call.fails => book.errors = 0,
                    QuotaKind::Errors => {
                        if at >= book.last_error + window_ms(quota) {
                            book.errors = 0;
                        }
                        (book.errors, book.last_error) = (book.errors + 1, at);
                        if book.errors > quota.least() {
                            wrong.push(format!(
                                "over quota: {} errors in a row at {} {holder:?}",
                                book.errors, quota.name
                            ));
                        }
                    }
                    _ => {}
                }
            }
        }
        wrong
    }
}

impl Book {
    /// What the window that ends now holds. It is half open: instants exactly a window apart are in different ones.
    fn slide(&mut self, quota: &Quota, inputs: &QuotaInputs, cost: u32, urgent: bool, at: f64) -> Sum {
        self.sent.push_back((at, cost, urgent));
        // Arrival times are kept to a thousandth of a ms, and each call of a window may be rounded.
        let hair = 0.001 * f64::from(quota.amount_for(inputs) + 2);
        let from = at - window_ms(quota) + hair;
        while self.sent.front().is_some_and(|(sent, ..)| *sent <= from) {
            self.sent.pop_front();
        }
        let mut sum = Sum::default();
        self.sent.iter().for_each(|(_, cost, urgent)| sum.add(*cost, *urgent));
        sum
    }

    fn calendar(&mut self, quota: &Quota, cost: u32, urgent: bool, at: f64) -> Sum {
        if let Limit::Aligned { calendar, zone, .. } = quota.limits().0 {
            let boundary = calendar.boundaries(&zone, UnixMs(at as i64))[0].0;
            if boundary != self.window.0 {
                self.window = (boundary, Sum::default());
            }
        }
        self.window.1.add(cost, urgent);
        self.window.1
    }
}

fn window_ms(quota: &Quota) -> f64 {
    match quota.window {
        Some(paceline::provider::Window::Length(length)) => length.as_ms() as f64,
        _ => 0.0,
    }
}

/// The most that a window may hold, and of it of background syncs.
fn amounts(quota: &Quota, inputs: &QuotaInputs) -> (u32, Option<u32>) {
    let amount = |limit: Limit| match limit {
        Limit::Aligned { amount, .. } | Limit::Concurrent { amount } => amount,
        _ => u32::MAX,
    };
    let (whole, rest) = quota.limits_for(inputs);
    (amount(whole), rest.map(amount))
}

/// Likewise of a sliding one. With burst b and emission interval T a window of length W holds fewer than `b + W / T`.
fn sliding(quota: &Quota, inputs: &QuotaInputs) -> (u32, Option<u32>) {
    let amount = quota.amount_for(inputs);
    let rest = match quota.limits_for(inputs) {
        (Limit::Sliding { emission_ms: all, burst }, Some(Limit::Sliding { emission_ms, .. })) => {
            let steps = f64::from(amount - burst + 1) * all / emission_ms;
            Some((f64::from(burst) + steps - 1e-6).ceil() as u32 - 1)
        }
        _ => None,
    };
    (amount, rest)
}

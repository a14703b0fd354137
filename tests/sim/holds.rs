//! What holds must do after refusals: waits grow, and when one has ended a single call goes first.

use crate::model::Model;
use crate::referee::connection;
use crate::rig::Fields;
use paceline::settings;
use paceline::words::End;
use std::collections::{BTreeMap, HashSet};

/// A hold, as it must be at least. Where settlements of one batch can be taken in several orders, it is the shorter.
struct ActiveHold {
    until: i64,
    refusals: u32,
    /// The call that shows whether it is over.
    tried_by: Option<i64>,
}

pub struct Holds {
    settings: settings::Hold,
    active: BTreeMap<String, ActiveHold>,
}

/// A hold as a refusal reports it.
#[derive(Debug, Clone)]
pub struct ReportedHold {
    /// Who is held: empty for the app, a lane, or `#<device>`.
    pub scope: String,
    pub until: i64,
    /// Further away than what counts of it.
    pub reported_until: i64,
}

impl Holds {
    pub fn new(settings: settings::Hold) -> Self {
        Self { settings, active: BTreeMap::new() }
    }

    pub fn clear(&mut self) {
        self.active.clear();
    }

    pub fn has_device(&self) -> bool {
        self.active.keys().any(|scope| scope.starts_with('#'))
    }

    /// How long the longest lasts still, ms.
    pub fn longest_ms(&self, now: i64) -> i64 {
        self.active.values().map(|hold| hold.until - now).fold(0, i64::max)
    }

    fn forget_past(&mut self, now: i64) {
        let cap = self.settings.cap.as_ms() as i64;
        self.active.retain(|_, hold| hold.until + cap > now);
    }

    /// What is wrong with a call that a take at `now` granted for an instant.
    pub fn granted(&mut self, call: i64, scopes: &[String], at: f64, model: &Model, now: i64) -> Vec<String> {
        self.forget_past(now);
        let mut wrong = Vec::new();
        for scope in scopes {
            let Some(hold) = self.active.get_mut(scope) else { continue };
            if at < hold.until as f64 - 1e-6 {
                let early = hold.until as f64 - at;
                wrong.push(format!("hold: call {call} goes {early} ms too soon for {scope:?}"));
            }
            if let Some(other) = hold.tried_by.filter(|other| model.holds(*other)) {
                wrong.push(format!("hold: call {call} goes while {other} tries {scope:?}"));
            }
            hold.tried_by = Some(call);
        }
        wrong
    }

    /// Calls end, with the holds that each reports. Those that went well are taken first.
    pub fn settled(&mut self, ended: &[(i64, End, Vec<ReportedHold>)], now: i64) {
        self.forget_past(now);
        for (call, end, _) in ended.iter().filter(|(_, end, _)| *end != End::Throttled) {
            let is_over = |hold: &ActiveHold| hold.tried_by == Some(*call) && hold.until <= now;
            self.active.retain(|_, hold| !(*end == End::Good && is_over(hold)));
        }
        for (call, _, reported) in ended {
            for reported in reported {
                self.refused(*call, reported, now);
            }
        }
    }

    fn refused(&mut self, call: i64, reported: &ReportedHold, now: i64) {
        let none = ActiveHold { until: 0, refusals: 0, tried_by: None };
        let hold = self.active.entry(reported.scope.clone()).or_insert(none);
        if hold.refusals == 0 || hold.tried_by == Some(call) {
            hold.refusals += 1;
        }
        let [first, cap, reported_cap] = [self.settings.first, self.settings.cap, self.settings.reported_cap]
            .map(|wait| wait.as_ms() as i64);
        let doubled = 1_i64 << (hold.refusals - 1).min(30);
        let wait = (reported.until - now).max(0);
        // A reported wait that was capped grows towards it.
        let longer = (reported.reported_until - now).min(wait * doubled).min(wait.max(reported_cap));
        hold.until = hold.until.max(now + wait.max((first * doubled).min(cap)).max(longer));
    }
}

/// The holds that the twin of a take reads, and those that a call of this take tries.
#[derive(Default)]
pub struct Stored {
    tried: HashSet<(String, String)>,
}

impl Stored {
    /// The instant from which the holds of a lane let a call go; infinite while another tries one of them.
    pub fn open_at(&self, fields: &Fields, lane: &str, settings: &settings::Hold, now: f64) -> f64 {
        let of = |(key, [ends, refusals, in_flight]): ((String, String), [f64; 3])| {
            let is_forgotten = ends + settings.cap.as_ms() as f64 <= now;
            match refusals > 0.0 && !is_forgotten && (in_flight > 0.0 || self.tried.contains(&key)) {
                true => f64::INFINITY,
                false => ends,
            }
        };
        held(fields, lane).map(of).fold(0.0, f64::max)
    }

    /// A call of the lane goes.
    pub fn spend(&mut self, fields: &Fields, lane: &str, settings: &settings::Hold, now: f64) {
        let is_tried = |(_, [ends, refusals, _]): &(_, [f64; 3])| {
            *refusals > 0.0 && ends + settings.cap.as_ms() as f64 > now
        };
        self.tried.extend(held(fields, lane).filter(is_tried).map(|(key, _)| key));
    }
}

/// The holds of a lane, those of devices left out: until, refusals in a row, calls in flight that try it.
fn held<'a>(fields: &'a Fields, lane: &str) -> impl Iterator<Item = ((String, String), [f64; 3])> + use<'a> {
    let own = connection(lane).to_owned();
    let group = lane.split_once('.').map(|(_, group)| (own.clone(), format!("!hold@{group}")));
    let keys = [Some(("app".to_owned(), "!hold".to_owned())), Some((own, "!hold".to_owned())), group];
    keys.into_iter().flatten().filter_map(|key| {
        let mut parts = fields.get(&key)?.split(' ').map(|part| part.parse().unwrap_or(0.0));
        Some((key, [(); 3].map(|()| parts.next().unwrap_or(0.0))))
    })
}

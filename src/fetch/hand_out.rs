//! From records to one outcome a job. Pure.

use super::{Answer, Call, Target};
use crate::provider::{Missing, Resource, Unit};
use crate::words::{End, Outcome, Record};
use std::collections::HashMap;

/// Gives each job its record. What is told of other devices is kept apart. `ended`: how a call ended that did not come
/// to its last page; whoever has a record by then has it nevertheless. `is_sent`: pages were sent before, so that it
/// cannot be as though nothing was.
pub(super) fn hand_out(
    resource: &Resource,
    call: &Call,
    records: Vec<Record>,
    ended: Option<Answer>,
    is_sent: bool,
) -> Answer {
    let (end, holds, mut failed) = match ended {
        Some(answer) if records.is_empty() && !is_sent => return answer,
        Some(answer) => (answer.end, answer.holds, answer.outcomes.into_iter().collect()),
        None => (End::Good, Vec::new(), HashMap::new()),
    };
    let end = if is_sent && end == End::Unsent { End::Good } else { end };
    let mut by_id: HashMap<Option<String>, Record> =
        records.into_iter().map(|record| (record.external_id.clone(), record)).collect();
    let mut outcome = |target: &Target| {
        // Only a call for one device may leave its id out.
        let anonymous = match resource.unit {
            Unit::Device => by_id.remove(&None),
            Unit::Batch | Unit::Group | Unit::Connection => None,
        };
        match anonymous.or_else(|| by_id.remove(&Some(target.external_id.clone()))) {
            // Nothing but "not reached": no reading, and no reason to forget the last one.
            Some(record) if !record.online && record.values.is_empty() => Outcome::DeviceOffline,
            Some(record) => Outcome::Fresh(record),
            None if failed.contains_key(&target.job) => {
                failed.remove(&target.job).unwrap_or(Outcome::DeviceOffline)
            }
            None => match resource.missing {
                Missing::Gone => {
                    Outcome::Gone { reason: "the provider's answer leaves the device out".to_owned() }
                }
                Missing::Offline => Outcome::DeviceOffline,
            },
        }
    };
    let outcomes = call.targets.iter().map(|target| (target.job, outcome(target))).collect();
    // A record without values says nothing that could be kept.
    let others = by_id.into_values().filter(|r| r.external_id.is_some() && !r.values.is_empty()).collect();
    Answer { end, outcomes, holds, others }
}

/// The same outcome for all.
pub(super) fn all(call: &Call, end: End, outcome: &Outcome) -> Answer {
    let outcomes = call.targets.iter().map(|t| (t.job, outcome.clone())).collect();
    Answer { end, outcomes, holds: Vec::new(), others: Vec::new() }
}

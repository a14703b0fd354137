//! From records to one outcome a job. Pure.

use super::mapping;
use crate::fetch::jq::Program;
use crate::fetch::{Answer, Call, Target};
use crate::provider::{Missing, Resource, Unit};
use crate::words::{End, JobId, Outcome, Record};
use jaq_json::Val;
use std::collections::HashMap;

/// How a call ended before all of its pages were read.
pub(crate) struct Ended {
    pub(crate) end: End,
    pub(crate) outcome: Outcome,
}

/// The same outcome for all.
pub(crate) fn all(call: &Call, end: End, outcome: &Outcome) -> Answer {
    let outcomes = call.targets.iter().map(|t| (t.job, outcome.clone())).collect();
    Answer { end, outcomes, ..Answer::default() }
}

/// Gives each job its record. What is told of other devices is kept apart. `is_part`: only what is new was asked for.
pub(crate) fn assign_records(
    resource: &Resource,
    call: &Call,
    records: Vec<Record>,
    end: End,
    is_part: bool,
) -> Answer {
    let missing = |_: JobId| match resource.missing {
        _ if is_part => Outcome::Unchanged,
        Missing::Gone => Outcome::Gone { reason: "the provider's answer leaves the device out".to_owned() },
        Missing::Offline => Outcome::DeviceOffline,
    };
    let (outcomes, others) = split(resource, call, records, missing);
    Answer { end, outcomes, others, ..Answer::default() }
}

/// Likewise, of a call that ended before its last page: whoever has a record by then has it nevertheless.
pub(crate) fn assign_records_until(
    resource: &Resource,
    call: &Call,
    records: Vec<Record>,
    ended: Ended,
) -> Answer {
    let (outcomes, others) = split(resource, call, records, |_| ended.outcome.clone());
    Answer { end: ended.end, outcomes, others, ..Answer::default() }
}

/// The readings that an answer holds.
pub(crate) fn readings(program: &Program, answer: &Val) -> Result<Vec<Record>, String> {
    let records = mapping::records(program, answer)?;
    refuse_empty(&records).map(|()| records)
}

/// An error if a record tells neither whose it is nor any value, and not that the device is offline either: an answer
/// that is about something else, such as an error that calls itself 200, maps to just that.
fn refuse_empty(records: &[Record]) -> Result<(), String> {
    let is_empty = |record: &Record| record.external_id.is_none() && record.online && record.has_no_values();
    match records.iter().any(is_empty) {
        true => {
            Err("the answer tells nothing of the device: every value that records yields is null".to_owned())
        }
        false => Ok(()),
    }
}

type Split = (Vec<(JobId, Outcome)>, Vec<Record>);

fn split(
    resource: &Resource,
    call: &Call,
    records: Vec<Record>,
    missing: impl Fn(JobId) -> Outcome,
) -> Split {
    let mut by_id: HashMap<Option<String>, Record> = HashMap::new();
    for record in records {
        // Told twice: what has a value before what has none, then the later observation, or else what comes last.
        let weight = |record: &Record| (!record.has_no_values(), record.observed_at);
        let known = by_id.get(&record.external_id);
        if known.is_none_or(|known| weight(known) <= weight(&record)) {
            by_id.insert(record.external_id.clone(), record);
        }
    }
    let mut outcome = |target: &Target| {
        // Only a call for one device may leave its id out.
        let anonymous = match resource.unit {
            Unit::Device => by_id.remove(&None),
            Unit::Batch | Unit::Group | Unit::Connection => None,
        };
        match anonymous.or_else(|| by_id.remove(&Some(target.external_id.clone()))) {
            // The cloud knows it and has nothing of it: no reading, and no reason to forget the last one.
            Some(record) if record.has_no_values() => Outcome::DeviceOffline,
            Some(record) => Outcome::Fresh(record),
            None => missing(target.job),
        }
    };
    let outcomes = call.targets.iter().map(|target| (target.job, outcome(target))).collect();
    // A record without values says nothing that could be kept.
    let others = by_id.into_values().filter(|r| r.external_id.is_some() && !r.has_no_values()).collect();
    (outcomes, others)
}

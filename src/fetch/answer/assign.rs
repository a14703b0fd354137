//! Assigns records to jobs: one outcome per job. Pure.

use super::mapping;
use crate::fetch::jq::Program;
use crate::fetch::{Call, CallResult, Target};
use crate::provider::{Missing, Resource, Unit};
use crate::words::{End, JobId, Outcome, Record};
use jaq_json::Val;
use std::collections::HashMap;

/// How a call ended before all of its pages were read, and the outcome of the jobs without a record.
pub(crate) struct EndedEarly {
    pub(crate) end: End,
    pub(crate) outcome: Outcome,
}

/// A result with the same outcome for every job.
pub(crate) fn all(call: &Call, end: End, outcome: &Outcome) -> CallResult {
    let outcomes = call.targets.iter().map(|t| (t.job, outcome.clone())).collect();
    CallResult { end, outcomes, ..CallResult::default() }
}

/// Assigns each job its record; records of other devices are returned as unsolicited. `is_part`: the request asked for
/// changes only, so a missing record means no change.
pub(crate) fn assign_records(
    resource: &Resource,
    call: &Call,
    records: Vec<Record>,
    end: End,
    is_part: bool,
) -> CallResult {
    let missing = |_: JobId| match resource.missing {
        _ if is_part => Outcome::Unchanged,
        Missing::Gone => {
            Outcome::Gone { reason: "the provider's response does not list the device".to_owned() }
        }
        Missing::Offline => Outcome::DeviceOffline,
    };
    let (outcomes, others) = split(resource, call, records, missing);
    CallResult { end, outcomes, others, ..CallResult::default() }
}

/// Assigns the records of a call that ended before its last page: jobs without a record get the outcome of the end.
pub(crate) fn assign_records_until(
    resource: &Resource,
    call: &Call,
    records: Vec<Record>,
    ended: EndedEarly,
) -> CallResult {
    let (outcomes, others) = split(resource, call, records, |_| ended.outcome.clone());
    CallResult { end: ended.end, outcomes, others, ..CallResult::default() }
}

/// Maps a response to records.
pub(crate) fn readings(program: &Program, response: &Val) -> Result<Vec<Record>, String> {
    let records = mapping::records(program, response)?;
    refuse_empty(&records).map(|()| records)
}

/// Refuses records that have no id, no value and are not offline: a response that is about something else, such as an
/// error sent with status 200, maps to such a record.
fn refuse_empty(records: &[Record]) -> Result<(), String> {
    let is_empty = |record: &Record| record.external_id.is_none() && record.online && record.has_no_values();
    match records.iter().any(is_empty) {
        true => Err(
            "the response has no data for the device: all values that the program `records` yields are null"
                .to_owned(),
        ),
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
        // Of two records with one id: prefer one with values, then the later observation, then the last.
        let rank = |record: &Record| (!record.has_no_values(), record.observed_at);
        let known = by_id.get(&record.external_id);
        if known.is_none_or(|known| rank(known) <= rank(&record)) {
            by_id.insert(record.external_id.clone(), record);
        }
    }
    let mut outcome = |target: &Target| {
        // Only records of a call for one device may lack the id.
        let anonymous = match resource.unit {
            Unit::Device => by_id.remove(&None),
            Unit::Batch | Unit::Group | Unit::Connection => None,
        };
        match anonymous.or_else(|| by_id.remove(&Some(target.external_id.clone()))) {
            // The cloud knows the device and has no values: keep the last reading.
            Some(record) if record.has_no_values() => Outcome::DeviceOffline,
            Some(record) => Outcome::Fresh(record),
            None => missing(target.job),
        }
    };
    let outcomes = call.targets.iter().map(|target| (target.job, outcome(target))).collect();
    // A record without values has nothing to store.
    let others = by_id.into_values().filter(|r| r.external_id.is_some() && !r.has_no_values()).collect();
    (outcomes, others)
}

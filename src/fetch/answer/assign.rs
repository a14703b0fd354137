//! Assigns records to jobs: one outcome per job. Pure.

use super::elements::Element;
use crate::fetch::{Call, CallResult, Rejected, Target};
use crate::provider::{Missing, Resource, Unit};
use crate::words::{End, JobId, Outcome, Record};
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
    elements: Vec<Element>,
    end: End,
    is_part: bool,
) -> CallResult {
    let sorted = Sorted::of(resource, call, elements);
    let missing = sorted.outcome_of_missing(resource, is_part);
    sorted.assign(call, end, |_| missing.clone())
}

/// Assigns the records of a call that ended before its last page: jobs without a record get the outcome of the end.
pub(crate) fn assign_records_until(
    resource: &Resource,
    call: &Call,
    elements: Vec<Element>,
    ended: EndedEarly,
) -> CallResult {
    Sorted::of(resource, call, elements).assign(call, ended.end, |_| ended.outcome.clone())
}

/// What a response has, by device.
#[derive(Default)]
struct Sorted {
    /// Records and failures by external id; by none, of the only device of the call.
    by_id: HashMap<Option<String>, Result<Record, String>>,
    rejected: Vec<Rejected>,
    /// Why elements whose device is not known could not be read, and how many.
    unreadable: Option<(String, usize)>,
    is_empty: bool,
}

impl Sorted {
    fn of(resource: &Resource, call: &Call, elements: Vec<Element>) -> Self {
        let mut sorted = Self { is_empty: elements.is_empty(), ..Self::default() };
        // Only records of a call for one device may lack the id.
        let is_for_one = resource.unit == Unit::Device;
        for element in elements {
            match element {
                Element::Read(record, rejected) => {
                    let of = |reason| Rejected { external_id: record.external_id.clone(), reason };
                    sorted.rejected.extend(rejected.into_iter().map(of));
                    sorted.add(record.external_id.clone(), Ok(record));
                }
                Element::Unreadable(None, reason) if !is_for_one => {
                    let (_, count) = sorted.unreadable.get_or_insert((reason, 0));
                    *count += 1;
                }
                Element::Unreadable(id, reason) => sorted.add(id, Err(reason)),
            }
        }
        sorted.rename(call);
        sorted
    }

    /// Of two records with one id: prefer one that can be read, then one with values, then the later observation, then
    /// the last.
    fn add(&mut self, id: Option<String>, found: Result<Record, String>) {
        let rank = |found: &Result<Record, String>| {
            found.as_ref().ok().map(|record| (!record.has_no_values(), record.observed_at))
        };
        if self.by_id.get(&id).is_none_or(|known| rank(known) <= rank(&found)) {
            self.by_id.insert(id, found);
        }
    }

    /// Gives records whose id differs from a device's only in case or in spaces around it that device's id.
    fn rename(&mut self, call: &Call) {
        let is_known = |id: &String| self.by_id.contains_key(&Some(id.clone()));
        let wanted: HashMap<String, &String> = call
            .targets
            .iter()
            .map(|target| &target.external_id)
            .filter(|id| !is_known(id))
            .map(|id| (id.trim().to_lowercase(), id))
            .collect();
        if wanted.is_empty() {
            return;
        }
        let same =
            |id: &Option<String>| Some((id.clone(), *wanted.get(&id.as_ref()?.trim().to_lowercase())?));
        let renamed: Vec<_> = self.by_id.keys().filter_map(same).collect();
        for (id, wanted) in renamed {
            if let Some(found) = self.by_id.remove(&id) {
                let found = found.map(|record| Record { external_id: Some(wanted.clone()), ..record });
                self.by_id.insert(Some(wanted.clone()), found);
            }
        }
    }

    /// What it means for a device that it is left out.
    fn outcome_of_missing(&self, resource: &Resource, is_part: bool) -> Outcome {
        let no_data = |reason: &str| Outcome::NoData { reason: reason.to_owned() };
        if is_part {
            return Outcome::Unchanged;
        }
        if let Some((reason, count)) = &self.unreadable {
            let reason =
                format!("{count} records could not be read, and it is not among the others: {reason}");
            return Outcome::Broken { reason, excerpt: String::new() };
        }
        // Half an hour of empty lists is a fault of the provider's, not the end of all devices.
        if self.is_empty {
            return no_data("the provider's response is empty");
        }
        match (resource.unit, resource.missing) {
            (Unit::Device, _) => {
                let mut ids: Vec<_> = self.by_id.keys().flatten().map(String::as_str).collect();
                ids.sort_unstable();
                let ids: Vec<_> = ids.into_iter().take(3).collect();
                let reason = format!("the response is about another device: {}", ids.join(", "));
                Outcome::Broken { reason, excerpt: String::new() }
            }
            (_, Missing::Gone) => {
                Outcome::Gone { reason: "the provider's response does not list the device".to_owned() }
            }
            (_, Missing::Offline) => Outcome::DeviceOffline,
            (_, Missing::NoData) => no_data("the provider's response leaves the device out"),
        }
    }

    fn assign(mut self, call: &Call, end: End, missing: impl Fn(JobId) -> Outcome) -> CallResult {
        let anonymous = self.by_id.remove(&None);
        let mut outcome = |target: &Target| {
            let found = self.by_id.remove(&Some(target.external_id.clone()));
            match anonymous.clone().or(found) {
                Some(Ok(record)) if record.has_no_values() && !record.online => Outcome::DeviceOffline,
                Some(Ok(record)) if record.has_no_values() => Outcome::NoData {
                    reason: "the provider's response has no value of the device".to_owned(),
                },
                Some(Ok(record)) => Outcome::Fresh(record),
                Some(Err(reason)) => Outcome::Broken { reason, excerpt: String::new() },
                None => missing(target.job),
            }
        };
        let outcomes = call.targets.iter().map(|target| (target.job, outcome(target))).collect();
        // A record without values has nothing to store.
        let others = self.by_id.into_values().filter_map(Result::ok);
        let others =
            others.filter(|record| record.external_id.is_some() && !record.has_no_values()).collect();
        CallResult { end, outcomes, others, rejected: self.rejected, ..CallResult::default() }
    }
}

//! Two-step reads: a probe lists the devices' revisions, and only changed devices are fetched.

use super::Fetcher;
use super::answer::elements::{Mapping, RECORDS_MAX};
use super::answer::mapping::value;
use super::answer::{EndedEarly, assign_records_until, rate_limit, validate};
use super::call::{Call, CallResult, Target, Validators};
use super::page::PagedResult;
use super::trace::Trace;
use crate::provider::{Missing, Probe, Resource};
use crate::words::{End, JobId, Outcome, UnixMs};
use jaq_json::Val;
use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// One device in a probe's response.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DeviceRevision {
    pub(super) external_id: String,
    /// None: the device counts as changed every time.
    pub(super) revision: Option<String>,
    online: bool,
}

/// The revisions in a probe's response.
pub(super) fn revisions(mapping: &Mapping, response: &Val) -> Result<Vec<DeviceRevision>, String> {
    let (mut revisions, mut failure) = (Vec::new(), None);
    let ended = mapping.records.run(response, |found| {
        match value(&found)
            .ok_or_else(|| "it yields a value that is too large".to_owned())
            .and_then(device_revision)
        {
            Ok(_) if revisions.len() == RECORDS_MAX => {
                failure = Some(format!("it yields more than {RECORDS_MAX} devices"))
            }
            Ok(one) => revisions.push(one),
            Err(error) => failure = Some(error),
        }
        failure.is_none()
    });
    failure.map_or(ended, Err).map(|()| revisions).map_err(|error| format!("revisions failed: {error}"))
}

fn device_revision(yielded: Value) -> Result<DeviceRevision, String> {
    let Value::Object(mut object) = yielded else {
        return Err("it yields a value that is not an object {id, revision, online}".to_owned());
    };
    let mut text = |name: &str| match object.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(other) => Err(format!("{name} is {other}, but it must be a text or number")),
    };
    let (id, revision) = (text("id")?, text("revision")?);
    let online = match object.remove("online") {
        None | Some(Value::Null) => true,
        Some(Value::Bool(online)) => online,
        Some(other) => return Err(format!("online is {other}, which is neither true nor false")),
    };
    if let Some(key) = object.keys().next() {
        return Err(format!("it yields {key:?}: a device has id, revision and online"));
    }
    let external_id = id.ok_or("it yields a device without id")?;
    Ok(DeviceRevision { external_id, revision, online })
}

/// The devices of a call, split by a probe.
struct Split {
    /// Outcomes of the devices that need not be fetched.
    outcomes: Vec<(JobId, Outcome)>,
    /// Devices to fetch, with their current revisions.
    changed: Vec<(Target, Option<String>)>,
}

impl Fetcher {
    /// Makes a call in two steps.
    pub(super) async fn fetch_with_probe(
        &self,
        resource: &Resource,
        probe: &Probe,
        call: &Call,
        now: UnixMs,
        mut trace: Option<&mut Trace>,
    ) -> CallResult {
        let began = Instant::now();
        let Some((name, probe_call)) = probe.named_call() else {
            return self.fetch_directly(resource, call, now, trace).await;
        };
        let first = Call { resource: name.clone(), ..call.clone() };
        let PagedResult { found, ended, mut holds, bootstrap_values, .. } =
            self.fetch_pages(probe_call.get_ref(), &first, now, trace.as_deref_mut(), revisions).await;
        let result = match ended {
            Err(ended) => {
                let result = assign_records_until(resource, call, Vec::new(), ended);
                return CallResult { holds, bootstrap_values, ..result };
            }
            Ok(end) => CallResult { end, ..CallResult::default() },
        };
        let Split { mut outcomes, changed } = split(resource, call, found);
        if changed.is_empty() {
            return CallResult { outcomes, holds, bootstrap_values, ..result };
        }
        let took = began.elapsed();
        let targets = changed.iter().map(|(target, _)| target.clone()).collect();
        let rest = Call { targets, ..call.clone() };
        let second = if took > Duration::from_millis(probe.within.as_ms()) {
            let reason = "the probe took longer than probe.within; the devices were not fetched".to_owned();
            let ended = EndedEarly { end: End::Good, outcome: Outcome::Transient { reason } };
            assign_records_until(resource, &rest, Vec::new(), ended)
        } else {
            let now = now.plus_ms(i64::try_from(took.as_millis()).unwrap_or(0));
            self.fetch_directly(resource, &rest, now, trace).await
        };
        let is_fresh: HashMap<JobId, bool> = second
            .outcomes
            .iter()
            .map(|(job, outcome)| (*job, matches!(outcome, Outcome::Fresh(_))))
            .collect();
        let validator = |(target, revision): (Target, Option<String>)| {
            let is_fresh = is_fresh.get(&target.job).copied().unwrap_or(false);
            Some((target.job, validate::of_revision(resource, revision.filter(|_| is_fresh)?)))
        };
        let by_job = changed.into_iter().filter_map(validator).collect();
        outcomes.extend(second.outcomes);
        for (hold, device) in second.holds {
            rate_limit::join(&mut holds, vec![hold], device);
        }
        let bootstrap_values = bootstrap_values.into_iter().chain(second.bootstrap_values).collect();
        // The probe was sent, so the whole call does not count as unsent.
        let end = if second.end == End::Unsent { End::Good } else { second.end };
        let validators = Validators { by_job, all: None };
        let (others, rejected) = (second.others, second.rejected);
        CallResult { end, outcomes, holds, others, rejected, bootstrap_values, validators }
    }
}

/// Splits the devices of a call into unchanged and changed. A device whose revision is the one stored with its reading
/// is unchanged.
fn split(resource: &Resource, call: &Call, found: Vec<DeviceRevision>) -> Split {
    let is_empty = found.is_empty();
    let mut by_id: HashMap<String, DeviceRevision> =
        found.into_iter().map(|one| (one.external_id.clone(), one)).collect();
    let mut split = Split { outcomes: Vec::new(), changed: Vec::new() };
    for target in &call.targets {
        let outcome = match by_id.remove(&target.external_id) {
            None if is_empty => {
                Outcome::NoData { reason: "the response to the provider's probe is empty".to_owned() }
            }
            None => {
                let reason = "the response to the provider's probe does not list the device".to_owned();
                match resource.missing {
                    Missing::Gone => Outcome::Gone { reason },
                    Missing::Offline => Outcome::DeviceOffline,
                    Missing::NoData => Outcome::NoData { reason },
                }
            }
            Some(one) if !one.online => Outcome::DeviceOffline,
            Some(one) => {
                let now = one.revision.clone().map(|revision| validate::of_revision(resource, revision));
                if now.is_none() || now != target.validator {
                    split.changed.push((target.clone(), one.revision));
                    continue;
                }
                Outcome::Unchanged
            }
        };
        split.outcomes.push((target.job, outcome));
    }
    split
}

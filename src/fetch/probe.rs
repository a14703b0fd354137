//! Two-step reads: a probe tells which devices have changed, and only those are asked for.

use super::Fetcher;
use super::answer::mapping::{self, RECORDS_MAX};
use super::answer::{Ended, assign_records_until, rate_limit, validate};
use super::call::{Answer, Call, Target, Validators};
use super::client::Pages;
use super::jq::Program;
use super::trace::Trace;
use crate::provider::{Missing, Probe, Resource};
use crate::words::{End, JobId, Outcome, UnixMs};
use jaq_json::Val;
use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// What a probe told of one device.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Revised {
    pub(super) external_id: String,
    /// None: it has always changed.
    pub(super) revision: Option<String>,
    online: bool,
}

/// The revisions that a probe's answer tells.
pub(super) fn revisions(program: &Program, answer: &Val) -> Result<Vec<Revised>, String> {
    let (mut found, mut wrong) = (Vec::new(), None);
    let ended = program.run(answer, |told| {
        match mapping::value(&told).ok_or_else(|| "it is too large".to_owned()).and_then(revised) {
            Ok(_) if found.len() == RECORDS_MAX => wrong = Some(format!("there are more than {RECORDS_MAX}")),
            Ok(one) => found.push(one),
            Err(error) => wrong = Some(error),
        }
        wrong.is_none()
    });
    let failed = wrong.map_or(ended, Err);
    failed.map(|()| found).map_err(|error| format!("revisions failed: {error}"))
}

fn revised(told: Value) -> Result<Revised, String> {
    let Value::Object(mut told) = told else {
        return Err("it yields no object {id, revision, online}".to_owned());
    };
    let mut text = |name: &str| match told.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(other) => Err(format!("{name} is {other}, where a text or number must be")),
    };
    let (id, revision) = (text("id")?, text("revision")?);
    let online = match told.remove("online") {
        None | Some(Value::Null) => true,
        Some(Value::Bool(online)) => online,
        Some(other) => return Err(format!("online is {other}, which is neither true nor false")),
    };
    if let Some(key) = told.keys().next() {
        return Err(format!("it yields {key:?}: there are id, revision and online"));
    }
    let external_id = id.ok_or("it yields a device without id")?;
    Ok(Revised { external_id, revision, online })
}

/// What a probe comes to.
struct Split {
    /// Of those that need not be asked for.
    outcomes: Vec<(JobId, Outcome)>,
    /// The others, with the revisions that they have now.
    changed: Vec<(Target, Option<String>)>,
}

impl Fetcher {
    /// Makes the call in two steps.
    pub(super) async fn probed(
        &self,
        resource: &Resource,
        probe: &Probe,
        call: &Call,
        now: UnixMs,
        mut trace: Option<&mut Trace>,
    ) -> Answer {
        let began = Instant::now();
        let Some((name, look)) = probe.named_call() else {
            return self.ask(resource, call, now, trace).await;
        };
        let first = Call { resource: name.clone(), ..call.clone() };
        let Pages { found, ended, mut holds, learned, .. } =
            self.pages(look.get_ref(), &first, now, trace.as_deref_mut(), revisions).await;
        let answer = match ended {
            Err(ended) => {
                return Answer { holds, learned, ..assign_records_until(resource, call, Vec::new(), ended) };
            }
            Ok(end) => Answer { end, ..Answer::default() },
        };
        let Split { mut outcomes, changed } = split(resource, call, found);
        if changed.is_empty() {
            return Answer { outcomes, holds, learned, ..answer };
        }
        let took = began.elapsed();
        let targets = changed.iter().map(|(target, _)| target.clone()).collect();
        let rest = Call { targets, ..call.clone() };
        let second = if took > Duration::from_millis(probe.within.as_ms()) {
            let reason = "its probe took longer than probe.within: nothing else was asked for".to_owned();
            let ended = Ended { end: End::Good, outcome: Outcome::Transient { reason } };
            assign_records_until(resource, &rest, Vec::new(), ended)
        } else {
            let now = now.plus_ms(i64::try_from(took.as_millis()).unwrap_or(0));
            self.ask(resource, &rest, now, trace).await
        };
        let heard: HashMap<JobId, bool> = second
            .outcomes
            .iter()
            .map(|(job, outcome)| (*job, matches!(outcome, Outcome::Fresh(_))))
            .collect();
        let revised = |(target, revision): (Target, Option<String>)| {
            let heard = heard.get(&target.job).copied().unwrap_or(false);
            Some((target.job, validate::revised(resource, revision.filter(|_| heard)?)))
        };
        let of = changed.into_iter().filter_map(revised).collect();
        outcomes.extend(second.outcomes);
        for (hold, whose) in second.holds {
            rate_limit::join(&mut holds, vec![hold], whose);
        }
        let learned = learned.into_iter().chain(second.learned).collect();
        // The probe was sent: it cannot end as though nothing was.
        let end = if second.end == End::Unsent { End::Good } else { second.end };
        let validators = Validators { of, all: None };
        Answer { end, outcomes, holds, others: second.others, learned, validators }
    }
}

/// Who must be asked for. A revision that is known stands for the reading beside which it is kept.
fn split(resource: &Resource, call: &Call, found: Vec<Revised>) -> Split {
    let mut told: HashMap<String, Revised> =
        found.into_iter().map(|one| (one.external_id.clone(), one)).collect();
    let mut split = Split { outcomes: Vec::new(), changed: Vec::new() };
    for target in &call.targets {
        let outcome = match told.remove(&target.external_id) {
            None if resource.missing == Missing::Offline => Outcome::DeviceOffline,
            None => Outcome::Gone { reason: "the provider's probe leaves the device out".to_owned() },
            Some(one) if !one.online => Outcome::DeviceOffline,
            Some(one) => {
                let now = one.revision.clone().map(|revision| validate::revised(resource, revision));
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

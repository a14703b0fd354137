//! The call itself: rendered, sent once, judged, mapped.

use super::body::excerpt;
use super::guard::Reach;
use super::jq::Program;
use super::judge::Judge;
use super::mapping;
use super::request::{Body, RequestError, Requests, forms_of, secret, values};
use super::wire::{Reply, Silence, Wire};
use crate::provider::{
    Auth, DefinitionError, Format, LoadError, Method, Missing, Provider, Resource, RuleOutcome, Unit,
};
use crate::words::{Connection, DeviceId, End, Hold, JobId, Outcome, Record, ResourceName, UnixMs};
use reqwest::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use std::collections::HashMap;
use std::sync::Arc;

/// A secret, or its beginning, is hidden where at least so much of it is told.
const SECRET_CHARS_MIN: usize = 4;

/// A call to make.
#[derive(Debug, Clone)]
pub struct Call {
    /// Whose account.
    pub connection: Arc<Connection>,
    /// What is asked for.
    pub resource: ResourceName,
    /// For whom: one device, or several of one lane.
    pub targets: Vec<Target>,
}

/// One device of a call.
#[derive(Debug, Clone)]
pub struct Target {
    /// Whose outcome it is.
    pub job: JobId,
    /// The device.
    pub device: DeviceId,
    /// The provider's id of it.
    pub external_id: String,
    /// Its home or site, or empty.
    pub group: String,
}

/// How a call ended.
#[derive(Debug)]
pub struct Answer {
    /// How it ended, as far as quotas are concerned.
    pub end: End,
    /// One outcome a job of the call.
    pub outcomes: Vec<(JobId, Outcome)>,
    /// What was learned about calls to come; with the device for `Scope::Device`.
    pub holds: Vec<(Hold, Option<DeviceId>)>,
    /// What it told of devices that were not asked for: the records have their ids.
    pub others: Vec<Record>,
}

/// Makes the calls of one provider.
pub struct Fetcher {
    provider: Arc<Provider>,
    wire: Wire,
    requests: Requests,
    judge: Judge,
    records: HashMap<ResourceName, Program>,
}

impl Fetcher {
    /// Compiles all that the provider declares, so that nothing of it can fail for its form later.
    pub fn new(provider: Arc<Provider>, reach: Reach) -> Result<Self, LoadError> {
        let refused = |(span, message): (std::ops::Range<usize>, String)| {
            let line = 1 + provider.text.bytes().take(span.start).filter(|b| *b == b'\n').count();
            LoadError::Refused(vec![DefinitionError { file: provider.file.clone(), line, message }])
        };
        let requests = Requests::compile(&provider).map_err(refused)?;
        let judge = Judge::compile(&provider).map_err(refused)?;
        let mut records = HashMap::new();
        for (name, resource) in &provider.definition.resources {
            let text = &resource.get_ref().records;
            let program = Program::compile(text.get_ref()).map_err(|e| refused((text.span(), e)))?;
            records.insert(name.get_ref().clone(), program);
        }
        let wire = Wire::new(&provider, reach).map_err(|error| refused((0..0, error)))?;
        Ok(Self { provider, wire, requests, judge, records })
    }

    /// Makes the call. `now` is the schedule's clock, for waits. Never fails: every end is an outcome.
    pub async fn fetch(&self, call: &Call, now: UnixMs) -> Answer {
        let Some(resource) = self.provider.resource(call.resource.as_str()) else {
            let reason = format!("{} declares no resource {}", self.provider.name, call.resource);
            return all(call, End::Unsent, &Outcome::NotSent { reason });
        };
        let mut answer = match self.send(resource, call, now).await {
            Ok(reply) => self.conclude(resource, call, &reply, now),
            Err((end, outcome)) => all(call, end, &outcome),
        };
        if let Ok(secret) = secret(call) {
            hide(secret, &mut answer);
        }
        answer
    }

    /// What a reply to the call means, as it was said: secrets are not hidden in it yet.
    pub(super) fn outcome_of(&self, call: &Call, reply: &Reply, now: UnixMs) -> Option<Answer> {
        let resource = self.provider.resource(call.resource.as_str())?;
        Some(self.conclude(resource, call, reply, now))
    }

    async fn send(&self, resource: &Resource, call: &Call, now: UnixMs) -> Result<Reply, (End, Outcome)> {
        let unmakable = |error: RequestError| {
            (End::Unsent, Outcome::Broken { reason: error.to_string(), excerpt: String::new() })
        };
        let values = values(call, now, rand::random());
        let url = self.requests.url(&self.provider, resource, call, &values).map_err(unmakable)?;
        let body = self.requests.body(resource, call, &values).map_err(unmakable)?;
        let method = match resource.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
        };
        let mut request = self.wire.request(method, url);
        if let Some((text, media_type)) = body.map(Body::parts) {
            request = request.header(CONTENT_TYPE, media_type).body(text);
        }
        match &self.provider.definition.auth {
            Auth::Bearer => request = request.bearer_auth(secret(call).map_err(unmakable)?),
            Auth::Header { name } => {
                let mut value = HeaderValue::from_str(secret(call).map_err(unmakable)?).map_err(|_| {
                    let reason = "the connection's secret cannot stand in a header".to_owned();
                    (End::Unsent, Outcome::Unauthorized { reason })
                })?;
                value.set_sensitive(true);
                request = request.header(name, value);
            }
            Auth::None | Auth::Query { .. } => {}
        }
        self.wire.send(request).await.map_err(|silence| match silence {
            Silence::Unsent(reason) => (End::Unsent, Outcome::Broken { reason, excerpt: String::new() }),
            Silence::Lost(reason) => (End::Lost, Outcome::Transient { reason }),
        })
    }

    fn conclude(&self, resource: &Resource, call: &Call, reply: &Reply, now: UnixMs) -> Answer {
        let body = reply.body.bytes.as_slice();
        let answer = match (&reply.body.flaw, resource.format) {
            (Some(flaw), _) => Err(flaw.reason().to_owned()),
            (None, Format::Ndjson) if reply.status < 400 => mapping::read_lines(body),
            (None, Format::Json | Format::Ndjson) => mapping::read(body),
        };
        let verdict = self.judge.judge(reply.status, &reply.headers, answer.as_ref().ok());
        let end = if reply.status >= 400 { End::Error } else { End::Good };
        let said = || format!("HTTP {}: {}", reply.status, excerpt(body));
        let outcome = match verdict.outcome {
            RuleOutcome::Fresh => return Answer { end, ..self.map(resource, call, answer, body) },
            RuleOutcome::Throttled => {
                let reason = format!("HTTP {}", reply.status);
                let until = verdict.until(&reply.headers, answer.as_ref().ok(), now);
                let hold = Hold { scope: verdict.scope, until, reason };
                let device = call.targets.first().map(|t| t.device);
                return Answer {
                    holds: vec![(hold, device)],
                    ..all(call, End::Throttled, &Outcome::Throttled)
                };
            }
            RuleOutcome::Unchanged => Outcome::Unchanged,
            RuleOutcome::Unauthorized => Outcome::Unauthorized { reason: said() },
            RuleOutcome::DeviceOffline => Outcome::DeviceOffline,
            RuleOutcome::Gone => Outcome::Gone { reason: said() },
            RuleOutcome::Transient => Outcome::Transient { reason: said() },
            RuleOutcome::Broken => Outcome::Broken { reason: unexpected(reply), excerpt: excerpt(body) },
        };
        all(call, end, &outcome)
    }

    fn map(
        &self,
        resource: &Resource,
        call: &Call,
        answer: Result<jaq_json::Val, String>,
        body: &[u8],
    ) -> Answer {
        let program = self.records.get(&call.resource);
        let records = answer.and_then(|answer| {
            program.map_or_else(|| Err("no mapping".to_owned()), |p| mapping::records(p, answer))
        });
        match records {
            Ok(records) => hand_out(resource, call, records),
            Err(reason) => {
                // It may quote the whole answer, and each job of the call gets a copy.
                let reason = reason.chars().take(1_000).collect();
                all(call, End::Good, &Outcome::Broken { reason, excerpt: excerpt(body) })
            }
        }
    }
}

/// Gives each job its record. What is told of other devices is kept apart.
fn hand_out(resource: &Resource, call: &Call, records: Vec<Record>) -> Answer {
    let mut by_id: HashMap<Option<String>, Record> = HashMap::new();
    for record in records {
        // Told twice: the later observation counts, or else what comes last.
        let known = by_id.get(&record.external_id);
        if known.is_none_or(|known| known.observed_at <= record.observed_at) {
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
            // Nothing but "not reached": no reading, and no reason to forget the last one.
            Some(record) if !record.online && record.values.is_empty() => Outcome::DeviceOffline,
            Some(record) => Outcome::Fresh(record),
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
    Answer { end: End::Good, outcomes, holds: Vec::new(), others }
}

/// Takes the secret out of all that is told: a cloud may say it back, and logs and tables keep what they are told.
fn hide(secret: &str, answer: &mut Answer) {
    // A shorter one is not to be told from other text.
    if secret.chars().count() < SECRET_CHARS_MIN {
        return;
    }
    let forms = forms_of(secret);
    for (_, outcome) in &mut answer.outcomes {
        match outcome {
            Outcome::Fresh(_) | Outcome::Unchanged | Outcome::Throttled | Outcome::DeviceOffline => (),
            Outcome::Unauthorized { reason }
            | Outcome::Gone { reason }
            | Outcome::Transient { reason }
            | Outcome::NotSent { reason } => hide_in(reason, &forms),
            Outcome::Broken { reason, excerpt } => {
                hide_in(reason, &forms);
                hide_in(excerpt, &forms);
            }
        }
    }
    for (hold, _) in &mut answer.holds {
        hide_in(&mut hold.reason, &forms);
    }
}

fn hide_in(text: &mut String, forms: &[String]) {
    for form in forms {
        *text = text.replace(form, "***");
    }
    // Texts are cut, so a form's beginning may stand at the end.
    let begins = |form: &String| {
        let cuts = (1..form.len()).rev().filter_map(|n| form.get(..n));
        let long = cuts.take_while(|begin| begin.chars().count() >= SECRET_CHARS_MIN);
        long.map(str::to_owned).find(|begin| text.ends_with(begin.as_str()))
    };
    if let Some(begin) = forms.iter().filter_map(begins).max_by_key(String::len) {
        text.truncate(text.len() - begin.len());
        text.push_str("***");
    }
}

fn unexpected(reply: &Reply) -> String {
    let status = reply.status;
    if !(300..=399).contains(&status) {
        return format!("unexpected HTTP {status}");
    }
    let to = reply.headers.get(LOCATION).and_then(|to| reply.url.join(to.to_str().ok()?).ok());
    // Origin and path only: a query or a user's name may be a credential.
    let place = to.map_or_else(
        || "nowhere".to_owned(),
        |to| format!("to {}{}", to.origin().ascii_serialization(), to.path()),
    );
    format!("HTTP {status} redirects {place}, which is not followed: correct base_url or path")
}

fn all(call: &Call, end: End, outcome: &Outcome) -> Answer {
    let outcomes = call.targets.iter().map(|t| (t.job, outcome.clone())).collect();
    Answer { end, outcomes, holds: Vec::new(), others: Vec::new() }
}

//! The call itself: rendered, sent once, judged, mapped.

use super::body::excerpt;
use super::credential::Credentials;
use super::guard::Reach;
use super::hand_out::{all, hand_out, hand_out_until, refuse_empty};
use super::hide::{hide, hide_in};
use super::in_flight::InFlight;
use super::jq::Program;
use super::judge::{Judge, unexpected};
use super::login::{Login, With};
use super::mapping;
use super::paging::{Page, Pager};
use super::rate_limit;
use super::request::{Body, RequestError, Requests, values};
use super::trace::Trace;
use super::wire::{Reply, Script, Silence, Wire};
use crate::provider::{Format, LoadError, Method, Provider, Resource, RuleOutcome};
use crate::words::{
    Connection, DeviceId, End, Granted, Hold, JobId, NoToken, Outcome, Record, ResourceName, Scope, Secrets,
    UnixMs,
};
use jaq_json::Val;
use reqwest::Request;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::time::Instant;

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
    /// Sent with every call, unless it says otherwise itself.
    headers: HeaderMap,
    requests: Requests,
    judge: Judge,
    records: HashMap<ResourceName, Program>,
    pagers: HashMap<ResourceName, Pager>,
    in_flight: InFlight,
    login: Option<Login>,
    /// The operator's own, which travel with every call that asks for them.
    operator: Secrets,
}

/// A page that was understood.
struct Read {
    /// All of it, where that leads to the next.
    json: Option<Val>,
    records: Vec<Record>,
    end: End,
}

impl Fetcher {
    /// Compiles all that the provider declares, so that nothing of it can fail for its form later. What is wrong is
    /// told all at once. `operator`: the operator's own secrets for the provider.
    pub fn new(provider: Arc<Provider>, reach: Reach, operator: Secrets) -> Result<Self, LoadError> {
        let wire = Wire::new(&provider, reach).map_err(|error| provider.refused(vec![(0..0, error)]))?;
        Self::over(provider, wire, operator)
    }

    /// Finds out whether all that the provider declares compiles.
    pub fn check(provider: Arc<Provider>) -> Result<(), LoadError> {
        Self::scripted(provider, Script::default(), Secrets::default()).map(drop)
    }

    /// Likewise, with a script in the place of the network.
    pub(super) fn scripted(
        provider: Arc<Provider>,
        script: Script,
        operator: Secrets,
    ) -> Result<Self, LoadError> {
        Self::over(provider, Wire::Script(Mutex::new(script)), operator)
    }

    fn over(provider: Arc<Provider>, wire: Wire, operator: Secrets) -> Result<Self, LoadError> {
        let mut wrong = Vec::new();
        let requests = Requests::compile(&provider).map_err(|found| wrong.extend(found)).ok();
        let login =
            provider.definition.auth.get_ref().login.as_ref().map(|login| Login::compile(login.get_ref()));
        let login = login.transpose().map_err(|found| wrong.extend(found)).ok().flatten();
        let judge = Judge::compile(&provider).map_err(|found| wrong.extend(found)).ok();
        let (mut records, mut pagers) = (HashMap::new(), HashMap::new());
        let credentials = provider.definition.auth.get_ref().query_names();
        for (name, resource) in &provider.definition.resources {
            let text = &resource.get_ref().records;
            match Program::compile(text.get_ref()) {
                Ok(program) => drop(records.insert(name.get_ref().clone(), program)),
                Err(error) => wrong.push((text.span(), error)),
            }
            match resource.get_ref().pages.as_ref().map(|pages| Pager::compile(pages.get_ref(), &credentials))
            {
                Some(Ok(pager)) => drop(pagers.insert(name.get_ref().clone(), pager)),
                Some(Err(found)) => wrong.extend(found),
                None => {}
            }
        }
        let headers = headers(&provider)
            .map_err(|error| wrong.push((provider.definition.http.base_url.span(), error)))
            .unwrap_or_default();
        match (requests, judge) {
            (Some(requests), Some(judge)) if wrong.is_empty() => Ok(Self {
                provider,
                wire,
                headers,
                requests,
                judge,
                records,
                pagers,
                in_flight: InFlight::default(),
                login,
                operator,
            }),
            _ => Err(provider.refused(wrong)),
        }
    }

    /// What a script was asked.
    pub(super) fn asked(&self) -> Vec<Request> {
        self.wire.asked()
    }

    /// Makes the call. `now` is the schedule's clock, for waits. Never fails: every end is an outcome.
    pub async fn fetch(&self, call: &Call, now: UnixMs) -> Answer {
        self.run(call, now, None).await
    }

    /// Likewise, and tells what it looked like from outside.
    pub async fn fetch_traced(&self, call: &Call, now: UnixMs) -> (Answer, Trace) {
        let mut trace = Trace::default();
        let answer = self.run(call, now, Some(&mut trace)).await;
        let forms = self.credentials(call).forms();
        trace.texts().into_iter().for_each(|text| hide_in(text, &forms));
        (answer, trace)
    }

    /// Asks for a connection's next token.
    pub async fn token(&self, connection: &Connection, now: UnixMs) -> Result<Granted, NoToken> {
        let Some(login) = &self.login else {
            let reason = format!("{} has no way to ask for a token", self.provider.name);
            return Err(NoToken::Refused { reason });
        };
        let with = With {
            provider: &self.provider,
            connection,
            operator: &self.operator,
            headers: &self.headers,
            requests: &self.requests,
            now,
        };
        login.ask(&self.wire, &with).await
    }

    fn credentials<'a>(&'a self, call: &'a Call) -> Credentials<'a> {
        Credentials::of(&self.provider, call, &self.operator)
    }

    async fn run(&self, call: &Call, now: UnixMs, mut trace: Option<&mut Trace>) -> Answer {
        let Some(resource) = self.provider.resource(call.resource.as_str()) else {
            let reason = format!("{} declares no resource {}", self.provider.name, call.resource);
            return all(call, End::Unsent, &Outcome::NotSent { reason });
        };
        let flight = self.in_flight.enter(call);
        let device = call.targets.first().map(|target| target.device);
        let pager = self.pagers.get(&call.resource);
        let mut page = pager.map_or_else(Page::default, Pager::first);
        let latest = pager.map(|pager| Instant::now() + pager.within());
        let (mut records, mut holds, mut end) = (Vec::new(), Vec::new(), End::Good);
        let mut now = now;
        let ended = loop {
            let reply = match self.send(resource, call, now, &page, trace.as_deref_mut()).await {
                Ok(reply) => reply,
                Err((end, outcome)) => break Some(all(call, end, &outcome)),
            };
            // What an answer tells counts from when it came.
            now = now.plus_ms(i64::try_from(reply.took.as_millis()).unwrap_or(0));
            let told = self.told(resource, call, &reply.headers, |scope| flight.others(scope), now);
            rate_limit::join(&mut holds, told, device);
            let json = match self.conclude(resource, call, &reply, now, trace.as_deref_mut()) {
                Ok(read) => {
                    records.extend(read.records);
                    end = read.end;
                    read.json
                }
                Err(answer) => break Some(answer),
            };
            let next = pager.zip(json).map_or(Ok(None), |(pager, json)| pager.after(&page, &json, &reply));
            match next {
                Ok(None) => break None,
                Ok(Some(_)) if latest.is_some_and(|latest| Instant::now() > latest) => {
                    let reason = "its pages take longer than pages.within: the rest was not asked for";
                    break Some(all(call, End::Good, &Outcome::Transient { reason: reason.to_owned() }));
                }
                Ok(Some(next)) => page = next,
                Err(reason) => {
                    let excerpt = excerpt(&reply.body.bytes);
                    break Some(all(call, End::Good, &Outcome::Broken { reason, excerpt }));
                }
            }
        };
        let mut answer = match ended {
            None => hand_out(resource, call, records, end),
            Some(answer) => hand_out_until(resource, call, records, answer, page.index > 0),
        };
        rate_limit::join(&mut answer.holds, holds.into_iter().map(|(hold, _)| hold).collect(), device);
        hide(&self.credentials(call).forms(), &mut answer);
        answer
    }

    /// The holds that headers ask for, with so many other calls on their way in a scope.
    fn told(
        &self,
        resource: &Resource,
        call: &Call,
        headers: &HeaderMap,
        others: impl Fn(Scope) -> u32,
        now: UnixMs,
    ) -> Vec<Hold> {
        let asked = ((&call.resource, resource), call.targets.len());
        rate_limit::holds(&self.provider, asked, headers, others, now)
    }

    /// What a reply to the call means, if it is the only page.
    pub(super) fn outcome_of(&self, call: &Call, reply: &Reply, now: UnixMs) -> Option<Answer> {
        let resource = self.provider.resource(call.resource.as_str())?;
        let read = self.conclude(resource, call, reply, now, None);
        let mut answer =
            read.map_or_else(|answer| answer, |read| hand_out(resource, call, read.records, read.end));
        let told = self.told(resource, call, &reply.headers, |_| 0, now);
        rate_limit::join(&mut answer.holds, told, call.targets.first().map(|target| target.device));
        hide(&self.credentials(call).forms(), &mut answer);
        Some(answer)
    }

    async fn send(
        &self,
        resource: &Resource,
        call: &Call,
        now: UnixMs,
        page: &Page,
        trace: Option<&mut Trace>,
    ) -> Result<Reply, (End, Outcome)> {
        let request = self.prepare(resource, call, now, page).map_err(|outcome| (End::Unsent, outcome))?;
        let silent = |silence| match silence {
            Silence::Unsent(reason) => (End::Unsent, Outcome::Broken { reason, excerpt: String::new() }),
            Silence::Lost(reason) => (End::Lost, Outcome::Transient { reason }),
        };
        let Some(trace) = trace else { return self.wire.carry(request).await.map_err(silent) };
        trace.note_request(&request);
        let reply = self.wire.carry(request).await.map_err(silent)?;
        trace.note_answer(&reply);
        Ok(reply)
    }

    /// The whole request; or why it cannot be made.
    fn prepare(
        &self,
        resource: &Resource,
        call: &Call,
        now: UnixMs,
        page: &Page,
    ) -> Result<Request, Outcome> {
        let unmakable =
            |error: RequestError| Outcome::Broken { reason: error.to_string(), excerpt: String::new() };
        let values = values(&self.provider, call, now, rand::random(), page);
        let credentials = self.credentials(call);
        let url = self.requests.url(resource, call, &credentials, &values).map_err(unmakable)?;
        let url = match self.pagers.get(&call.resource) {
            Some(pager) => pager.url(&url, page),
            None => url,
        };
        let body = self.requests.body(resource, call, &values).map_err(unmakable)?;
        let method = match resource.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
        };
        let mut request = Request::new(method, url);
        *request.headers_mut() = self.headers.clone();
        if let Some((text, media_type)) = body.map(Body::parts) {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
            *request.body_mut() = Some(text.into());
        }
        credentials.sign_in(request.headers_mut())?;
        Ok(request)
    }

    fn conclude(
        &self,
        resource: &Resource,
        call: &Call,
        reply: &Reply,
        now: UnixMs,
        trace: Option<&mut Trace>,
    ) -> Result<Read, Answer> {
        let body = reply.body.bytes.as_slice();
        let answer = match (&reply.body.flaw, resource.format) {
            (Some(flaw), _) => Err(flaw.reason().to_owned()),
            (None, Format::Ndjson) if reply.status < 400 => mapping::read_lines(body),
            (None, Format::Json | Format::Ndjson) => mapping::read(body),
        };
        let verdict = self.judge.judge(reply.status, &reply.headers, answer.as_ref().ok());
        if let Some(trace) = trace {
            trace.note_rule(verdict.place().map(|place| self.provider.line_at(place)));
        }
        let end = if reply.status >= 400 { End::Error } else { End::Good };
        let said = || format!("HTTP {}: {}", reply.status, excerpt(body));
        let outcome = match verdict.outcome {
            RuleOutcome::Fresh => return self.map(call, answer, end, body),
            RuleOutcome::Throttled => {
                let reason = format!("HTTP {}", reply.status);
                let until = verdict.until(&reply.headers, answer.as_ref().ok(), now);
                let hold = Hold { scope: verdict.scope, until, reason };
                let device = call.targets.first().map(|t| t.device);
                return Err(Answer {
                    holds: vec![(hold, device)],
                    ..all(call, End::Throttled, &Outcome::Throttled)
                });
            }
            RuleOutcome::Unchanged => Outcome::Unchanged,
            RuleOutcome::Unauthorized => Outcome::Unauthorized { reason: said() },
            RuleOutcome::DeviceOffline => Outcome::DeviceOffline,
            RuleOutcome::Gone => Outcome::Gone { reason: said() },
            RuleOutcome::Transient => Outcome::Transient { reason: said() },
            RuleOutcome::Broken => Outcome::Broken { reason: unexpected(reply), excerpt: excerpt(body) },
        };
        Err(all(call, end, &outcome))
    }

    fn map(&self, call: &Call, answer: Result<Val, String>, end: End, body: &[u8]) -> Result<Read, Answer> {
        let program = self.records.get(&call.resource).ok_or_else(|| "no mapping".to_owned());
        let read = answer.and_then(|answer| {
            let records = mapping::records(program?, &answer)?;
            refuse_empty(&records)?;
            let json = self.pagers.contains_key(&call.resource).then_some(answer);
            Ok(Read { json, records, end })
        });
        read.map_err(|reason| {
            // It may quote the whole answer, and each job of the call gets a copy.
            let reason = reason.chars().take(1_000).collect();
            all(call, end, &Outcome::Broken { reason, excerpt: excerpt(body) })
        })
    }
}

/// What every call says of itself.
fn headers(provider: &Provider) -> Result<HeaderMap, String> {
    let us = HeaderValue::from_static(concat!("paceline/", env!("CARGO_PKG_VERSION")));
    let mut headers = HeaderMap::from_iter([(USER_AGENT, us), (ACCEPT, HeaderValue::from_static("*/*"))]);
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    for (name, value) in &provider.definition.http.headers {
        let name = name.get_ref();
        let name = name.parse::<HeaderName>().map_err(|e| format!("header {name:?}: {e}"))?;
        headers.insert(name, value.parse().map_err(|e| format!("header value {value:?}: {e}"))?);
    }
    Ok(headers)
}

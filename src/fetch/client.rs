//! Makes calls: rendered, sent once, judged, mapped.

use super::answer::elements::{Element, Mapping};
use super::answer::{
    EndedEarly, Judge, Page, Pager, all, assign_records, assign_records_until, describe_unexpected, mapping,
    rate_limit, silent_marked, text, validate,
};
use super::call::{Call, CallResult, Validators};
use super::jq::{OffRuntime, Program};
use super::page::{FailedPage, MappedPage, PagedResult, Reader};
use super::request::{Preparer, redact, redact_text};
use super::token::Tokens;
use super::trace::Trace;
use super::wire::{InFlight, NoResponse, Reach, Response, ScriptedResponses, Wire, excerpt};
use crate::provider::{Format, LoadError, Provider, Resource, RuleOutcome};
use crate::words::{End, Hold, Outcome, ResourceName, Scope, Secrets, UnixMs};
use jaq_json::Val;
use reqwest::Request;
use reqwest::header::HeaderMap;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// On a response of this size, parsing and direct programs take about 0.25 ms together.
const LIGHT_BYTES: usize = 8 << 10;

/// Makes the calls of one provider.
pub struct Fetcher {
    pub(super) provider: Arc<Provider>,
    pub(super) wire: Wire,
    pub(super) preparer: Preparer,
    judge: Judge,
    pub(super) mappings: HashMap<ResourceName, Mapping>,
    /// The programs that read change tokens.
    change_token_programs: HashMap<ResourceName, Program>,
    pub(super) pagers: HashMap<ResourceName, Pager>,
    in_flight: InFlight,
    pub(super) off_runtime: OffRuntime,
    /// Whether all programs that read responses run directly.
    is_direct: bool,
    pub(super) tokens: Tokens,
    pub(super) token_timeout: Duration,
}

impl Fetcher {
    /// Compiles everything that the definition declares, so that no call can fail on a malformed program or template.
    /// Returns all errors together. `operator` are the operator's secrets for the provider.
    pub fn new(provider: Arc<Provider>, reach: Reach, operator: Secrets) -> Result<Self, LoadError> {
        let wire = Wire::new(&provider, reach).map_err(|error| provider.refused(vec![(0..0, error)]))?;
        Self::compile(provider, wire, operator)
    }

    /// A fetcher that receives scripted responses instead of using the network.
    pub(super) fn scripted(
        provider: Arc<Provider>,
        script: ScriptedResponses,
        operator: Secrets,
    ) -> Result<Self, LoadError> {
        Self::compile(provider, Wire::Scripted(Mutex::new(script)), operator)
    }

    fn compile(provider: Arc<Provider>, wire: Wire, operator: Secrets) -> Result<Self, LoadError> {
        let mut errors = Vec::new();
        let preparer = Preparer::compile(provider.clone(), operator);
        let preparer = preparer.map_err(|found| errors.extend(found)).ok();
        let tokens = Tokens::compile(&provider).map_err(|found| errors.extend(found)).ok();
        let judge = Judge::compile(&provider).map_err(|found| errors.extend(found)).ok();
        let (mut mappings, mut pagers, mut change_token_programs) =
            (HashMap::new(), HashMap::new(), HashMap::new());
        let credentials = provider.definition.auth.get_ref().query_names();
        for (name, call) in provider.definition.calls() {
            match Mapping::compile(call.get_ref()) {
                Ok(mapping) => drop(mappings.insert(name.clone(), mapping)),
                Err(found) => errors.extend(found),
            }
            if let Some(text) = &call.get_ref().since {
                match Program::read(text) {
                    Ok(program) => drop(change_token_programs.insert(name.clone(), program)),
                    Err(error) => errors.push(error),
                }
            }
            match call.get_ref().pages.as_ref().map(|pages| Pager::compile(pages.get_ref(), &credentials)) {
                Some(Ok(pager)) => drop(pagers.insert(name.clone(), pager)),
                Some(Err(found)) => errors.extend(found),
                None => {}
            }
        }
        match (preparer, judge, tokens) {
            (Some(preparer), Some(judge), Some(tokens)) if errors.is_empty() => Ok(Self {
                token_timeout: Duration::from_millis(provider.definition.http.timeout.as_ms()),
                off_runtime: OffRuntime::default(),
                is_direct: is_direct(&judge, &mappings, &change_token_programs, &pagers),
                provider,
                wire,
                preparer,
                judge,
                mappings,
                change_token_programs,
                pagers,
                in_flight: InFlight::default(),
                tokens,
            }),
            _ => Err(provider.refused(errors)),
        }
    }

    /// Removes and returns the requests that a script received.
    pub(super) fn take_requests(&self) -> Vec<Request> {
        self.wire.take_requests()
    }

    /// Makes the call. `now` is the schedule's clock, for waits. Never fails: every failure is an outcome.
    pub async fn fetch(&self, call: &Call, now: UnixMs) -> CallResult {
        self.run(call, now, None).await
    }

    /// Makes the call, and returns its HTTP exchanges too.
    pub async fn fetch_traced(&self, call: &Call, now: UnixMs) -> (CallResult, Trace) {
        let mut trace = Trace::default();
        let result = self.run(call, now, Some(&mut trace)).await;
        let secrets = self.preparer.credentials(call).secret_forms();
        trace.texts().into_iter().for_each(|text| redact_text(text, &secrets));
        (result, trace)
    }

    async fn run(&self, call: &Call, now: UnixMs, trace: Option<&mut Trace>) -> CallResult {
        let Some(resource) = self.provider.resource(call.resource.as_str()) else {
            let reason = format!("{} declares no resource {}", self.provider.name, call.resource);
            return all(call, End::Unsent, &Outcome::NotSent { reason });
        };
        let scope = match self.id_scope(&call.connection) {
            Ok(scope) => scope,
            Err(broken) => return all(call, End::Unsent, &broken),
        };
        let stripped = scope.as_ref().map(|scope| scope.strip(call));
        let sent = stripped.as_ref().unwrap_or(call);
        let mut result = match &resource.probe {
            Some(probe) => self.fetch_with_probe(resource, probe, sent, now, trace).await,
            None => self.fetch_directly(resource, sent, now, trace).await,
        };
        if let Some(scope) = scope {
            scope.restore(&mut result);
        }
        redact(&self.preparer.credentials(call).secret_forms(), &mut result);
        result.bootstrap_values = self.usable_values(&call.connection, result.bootstrap_values);
        result
    }

    /// Makes a call without a probe.
    pub(super) async fn fetch_directly(
        &self,
        resource: &Resource,
        call: &Call,
        now: UnixMs,
        trace: Option<&mut Trace>,
    ) -> CallResult {
        let pages = self.fetch_pages(resource, call, now, trace, Mapping::read).await;
        let PagedResult { found, ended, holds, bootstrap_values, validator, is_part } = pages;
        let found = silent_marked(resource, found, now);
        let is_complete = ended.is_ok() && found.iter().all(|element| matches!(element, Element::Read(..)));
        let result = match ended {
            Ok(end) => assign_records(resource, call, found, end, is_part),
            Err(ended) => assign_records_until(resource, call, found, ended),
        };
        // A validator of an incomplete result would hide the missing records from the next call.
        let validators = Validators { all: validator.filter(|_| is_complete), ..Validators::default() };
        CallResult { holds, bootstrap_values, validators, ..result }
    }

    /// Fetches page after page, up to the last one or the limits of the definition.
    pub(super) async fn fetch_pages<T>(
        &self,
        resource: &Resource,
        call: &Call,
        mut now: UnixMs,
        mut trace: Option<&mut Trace>,
        reader: Reader<T>,
    ) -> PagedResult<T> {
        let in_flight = self.in_flight.enter(call);
        let device = call.targets.first().map(|target| target.device);
        let pager = self.pagers.get(&call.resource);
        let mut page = pager.map_or_else(Page::default, Pager::first);
        let deadline = pager.map(|pager| Instant::now() + pager.within());
        let (mut found, mut holds, mut bootstrap_values) = (Vec::new(), Vec::new(), BTreeMap::new());
        let (change_token, mut validator) = (validate::change_token(resource, call, now), None);
        let ended = loop {
            let sent = self.send(resource, call, now, (&page, change_token.as_ref()), trace.as_deref_mut());
            let response = match sent.await {
                Ok(response) => response,
                // Earlier pages were sent, so the whole call does not count as unsent.
                Err(ended) if page.index > 0 && ended.end == End::Unsent => {
                    break Err(EndedEarly { end: End::Good, ..ended });
                }
                Err(ended) => break Err(ended),
            };
            // Waits in a response count from its arrival.
            now = now.plus_ms(i64::try_from(response.took.as_millis()).unwrap_or(0));
            let reported =
                self.holds_in(resource, call, &response.headers, |s| in_flight.other_calls(s), now);
            rate_limit::join(&mut holds, reported, device);
            let is_light = self.is_direct && response.body.bytes.len() <= LIGHT_BYTES;
            let evaluated = self.off_runtime.run(is_light, || {
                let mut mapped =
                    self.evaluate(resource, call, &response, now, trace.as_deref_mut(), reader)?;
                let next = pager.zip(mapped.json.take());
                let next = next.map_or(Ok(None), |(pager, json)| pager.after(&page, &json, &response));
                Ok::<_, Box<FailedPage>>((mapped, next))
            });
            let (mapped, next) = match evaluated.await {
                Ok(both) => both,
                Err(failed) => {
                    rate_limit::join(&mut holds, Vec::from_iter(failed.hold), device);
                    bootstrap_values.extend(failed.bootstrap_values);
                    break Err(failed.ended);
                }
            };
            if page.index == 0 {
                // Of the first page: changes made while later pages are fetched are then fetched again.
                let (sent, names) = (change_token.as_ref(), self.preparer.credential_names());
                let head = (&response.url, &response.headers);
                validator = validate::from_response(resource, head, &names, mapped.change_token, sent, now);
            }
            found.extend(mapped.found);
            let outcome = match next {
                Ok(None) => break Ok(mapped.end),
                Ok(Some(_)) if deadline.is_some_and(|deadline| Instant::now() > deadline) => {
                    let reason = "the pages took longer than pages.within; the rest was not fetched";
                    Outcome::Transient { reason: reason.to_owned() }
                }
                Ok(Some(next)) => {
                    page = next;
                    continue;
                }
                Err(reason) => Outcome::Broken { reason, excerpt: excerpt(&response.body.bytes) },
            };
            break Err(EndedEarly { end: End::Good, outcome });
        };
        PagedResult { found, ended, holds, bootstrap_values, validator, is_part: change_token.is_some() }
    }

    /// The holds that follow from rate-limit headers, given the number of other calls in flight within a scope.
    fn holds_in(
        &self,
        resource: &Resource,
        call: &Call,
        headers: &HeaderMap,
        other_calls: impl Fn(Scope) -> u32,
        now: UnixMs,
    ) -> Vec<Hold> {
        let sent = ((&call.resource, resource), call.targets.len());
        let inputs = self.provider.quota_inputs(&call.connection.params, call.connection.devices);
        rate_limit::holds(&self.provider, sent, &inputs, headers, other_calls, now)
    }

    /// The result of a call for a response of one page.
    pub(super) fn result_of(&self, call: &Call, response: &Response, now: UnixMs) -> Option<CallResult> {
        let resource = self.provider.resource(call.resource.as_str())?;
        let device = call.targets.first().map(|target| target.device);
        let mut holds = Vec::new();
        let mut result = match self.evaluate(resource, call, response, now, None, Mapping::read) {
            Ok(MappedPage { found, end, .. }) => {
                assign_records(resource, call, silent_marked(resource, found, now), end, false)
            }
            Err(failed) => {
                rate_limit::join(&mut holds, Vec::from_iter(failed.hold), device);
                let result = assign_records_until(resource, call, Vec::new(), failed.ended);
                CallResult { bootstrap_values: failed.bootstrap_values, ..result }
            }
        };
        rate_limit::join(&mut holds, self.holds_in(resource, call, &response.headers, |_| 0, now), device);
        result.holds = holds;
        redact(&self.preparer.credentials(call).secret_forms(), &mut result);
        result.bootstrap_values = self.usable_values(&call.connection, result.bootstrap_values);
        Some(result)
    }

    async fn send(
        &self,
        resource: &Resource,
        call: &Call,
        now: UnixMs,
        (page, change_token): (&Page, Option<&validate::ChangeToken>),
        trace: Option<&mut Trace>,
    ) -> Result<Response, EndedEarly> {
        let unsent = |outcome| EndedEarly { end: End::Unsent, outcome };
        let pager = self.pagers.get(&call.resource);
        let request =
            self.preparer.prepare(resource, call, now, (pager, page), change_token).map_err(unsent)?;
        let no_response = |error| match error {
            NoResponse::Unsent(reason) => unsent(Outcome::Broken { reason, excerpt: String::new() }),
            NoResponse::Lost(reason) => EndedEarly { end: End::Lost, outcome: Outcome::Transient { reason } },
        };
        let Some(trace) = trace else { return self.wire.send(request).await.map_err(no_response) };
        trace.add_request(&request);
        let response = self.wire.send(request).await.map_err(no_response)?;
        trace.add_response(&response);
        Ok(response)
    }

    /// Judges and maps a page; an error if it ended the call.
    fn evaluate<T>(
        &self,
        resource: &Resource,
        call: &Call,
        response: &Response,
        now: UnixMs,
        trace: Option<&mut Trace>,
        reader: Reader<T>,
    ) -> Result<MappedPage<T>, Box<FailedPage>> {
        let body = &*text::clean(&response.body.bytes, &response.headers);
        let is_good = response.status < 400;
        let json = match (&response.body.error, resource.format) {
            (Some(error), _) => Err(error.reason().to_owned()),
            // Answered, and nothing to read.
            (None, _) if is_good && body.trim_ascii().is_empty() => Ok(Val::Null),
            (None, Format::Ndjson) if is_good => mapping::parse_lines(body),
            (None, Format::Csv) if is_good => mapping::parse_csv(body),
            (None, Format::Text) => Ok(mapping::parse_text(body)),
            (None, _) => mapping::parse(body),
        };
        let verdict = self.judge.judge(response.status, &response.headers, json.as_ref().ok());
        if let Some(trace) = trace {
            trace.add_rule(verdict.rule_offset().map(|offset| self.provider.line_at(offset)));
        }
        let end = if response.status >= 400 { End::Error } else { End::Good };
        let bootstrap_values = verdict.bootstrap_values(json.as_ref().ok());
        let summary = || format!("HTTP {}: {}", response.status, excerpt(body));
        let outcome = match verdict.outcome {
            RuleOutcome::Fresh => match self.map_page(call, json, reader, end) {
                Ok(mapped) => return Ok(mapped),
                Err(reason) => Outcome::Broken { reason, excerpt: excerpt(body) },
            },
            RuleOutcome::Throttled => {
                let longest_ms = self.provider.longest_window_ms(verdict.scope);
                let hold = verdict.hold(response, json.as_ref().ok(), longest_ms, now);
                let ended = EndedEarly { end: End::Throttled, outcome: Outcome::Throttled };
                return Err(Box::new(FailedPage { ended, hold: Some(hold), bootstrap_values }));
            }
            // A 304 to a request without a validator confirms nothing.
            RuleOutcome::Unchanged
                if response.status == 304 && !self.is_conditional(resource, call, response) =>
            {
                let reason = "HTTP 304 to a request that was not conditional".to_owned();
                Outcome::Broken { reason, excerpt: String::new() }
            }
            RuleOutcome::Unchanged => Outcome::Unchanged,
            RuleOutcome::Unauthorized => Outcome::Unauthorized { reason: summary() },
            RuleOutcome::DeviceOffline => Outcome::DeviceOffline,
            RuleOutcome::NoData => Outcome::NoData { reason: summary() },
            RuleOutcome::Gone => Outcome::Gone { reason: summary() },
            RuleOutcome::Transient => Outcome::Transient { reason: summary() },
            RuleOutcome::Broken => {
                Outcome::Broken { reason: describe_unexpected(response), excerpt: excerpt(body) }
            }
        };
        Err(Box::new(FailedPage { ended: EndedEarly { end, outcome }, hold: None, bootstrap_values }))
    }

    /// Whether the request of this response had a validator, to which the provider may answer that nothing has changed.
    fn is_conditional(&self, resource: &Resource, call: &Call, response: &Response) -> bool {
        let names = self.preparer.credential_names();
        validate::change_token(resource, call, UnixMs(0)).is_some()
            || validate::is_conditional(resource, call, &response.url, &names)
    }

    /// Maps the JSON of a good response.
    fn map_page<T>(
        &self,
        call: &Call,
        json: Result<Val, String>,
        reader: Reader<T>,
        end: End,
    ) -> Result<MappedPage<T>, String> {
        let name = &call.resource;
        let mapped = || {
            let (json, mapping) = (json?, self.mappings.get(name).ok_or("no mapping for this resource")?);
            let found = reader(mapping, &json)?;
            let token =
                self.change_token_programs.get(name).map(|program| program.first(&json, mapping::value));
            let token = token.transpose().map_err(|error| format!("since failed: {error}"))?;
            let json = self.pagers.contains_key(name).then_some(json);
            Ok(MappedPage { json, found, change_token: token.flatten().flatten(), end })
        };
        // The text may quote the whole response, and each job of the call gets a copy.
        mapped().map_err(|reason: String| reason.chars().take(1_000).collect())
    }
}

/// Whether all of these programs run directly.
fn is_direct(
    judge: &Judge,
    mappings: &HashMap<ResourceName, Mapping>,
    change_token_programs: &HashMap<ResourceName, Program>,
    pagers: &HashMap<ResourceName, Pager>,
) -> bool {
    let paging = pagers.values().flat_map(Pager::programs);
    let programs = mappings.values().flat_map(Mapping::programs).chain(change_token_programs.values());
    programs.chain(paging).chain(judge.programs()).all(Program::is_direct)
}

//! The call itself: rendered, sent once, judged, mapped.

use super::answer::{
    Ended, Judge, Page, Pager, all, assign_records, assign_records_until, mapping, rate_limit, readings,
    unexpected, validate,
};
use super::call::{Answer, Call, Validators};
use super::jq::{OffRuntime, Program};
use super::request::{Preparer, hide, hide_in};
use super::token::Tokens;
use super::trace::Trace;
use super::wire::{InFlight, Reach, Reply, Script, Silence, Wire, excerpt};
use crate::provider::{Format, LoadError, Provider, Resource, RuleOutcome};
use crate::words::{DeviceId, End, Hold, Outcome, ResourceName, Scope, Secrets, UnixMs, Validator};
use jaq_json::Val;
use reqwest::Request;
use reqwest::header::HeaderMap;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use tokio::time::Instant;
use toml::Spanned;

/// Plain programs on an answer of so many bytes take about a quarter of a millisecond, the parsing included.
const LIGHT_BYTES: usize = 8 << 10;

/// Makes the calls of one provider.
pub struct Fetcher {
    pub(super) provider: Arc<Provider>,
    pub(super) wire: Wire,
    pub(super) preparer: Preparer,
    judge: Judge,
    pub(super) programs: HashMap<ResourceName, Program>,
    /// What reads change tokens.
    tokens_of: HashMap<ResourceName, Program>,
    pub(super) pagers: HashMap<ResourceName, Pager>,
    in_flight: InFlight,
    pub(super) off_runtime: OffRuntime,
    /// Whether all programs that read answers are of the plain kind.
    is_plain: bool,
    pub(super) tokens: Tokens,
}

/// A page that was understood.
struct Read<T> {
    /// All of it, where that leads to the next.
    json: Option<Val>,
    found: Vec<T>,
    /// The change token that it tells.
    token: Option<Value>,
    end: End,
}

/// What all pages of a call came to.
pub(super) struct Pages<T> {
    pub(super) found: Vec<T>,
    /// How it ended, or else how it ended early.
    pub(super) ended: Result<End, Ended>,
    pub(super) holds: Vec<(Hold, Option<DeviceId>)>,
    /// Bootstrap values that it corrected.
    pub(super) learned: BTreeMap<String, String>,
    /// What it told of the state it was in.
    pub(super) validator: Option<Validator>,
    /// Whether only what is new was asked for.
    pub(super) is_part: bool,
}

/// A page that is no good one: how the call ended by it, the hold that it asks for, and what it corrects.
struct Refused {
    ended: Ended,
    hold: Option<Hold>,
    learned: BTreeMap<String, String>,
}

/// What a page is read into.
pub(super) type Reader<T> = fn(&Program, &Val) -> Result<Vec<T>, String>;

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
        let preparer = Preparer::compile(provider.clone(), operator);
        let preparer = preparer.map_err(|found| wrong.extend(found)).ok();
        let tokens = Tokens::compile(&provider).map_err(|found| wrong.extend(found)).ok();
        let judge = Judge::compile(&provider).map_err(|found| wrong.extend(found)).ok();
        let (mut programs, mut pagers, mut tokens_of) = (HashMap::new(), HashMap::new(), HashMap::new());
        let credentials = provider.definition.auth.get_ref().query_names();
        for (name, call) in provider.definition.calls() {
            let mut compile =
                |text: &Spanned<String>, into: &mut HashMap<_, _>| match Program::compile(text.get_ref()) {
                    Ok(program) => drop(into.insert(name.clone(), program)),
                    Err(error) => wrong.push((text.span(), error)),
                };
            compile(&call.get_ref().records, &mut programs);
            call.get_ref().since.iter().for_each(|text| compile(text, &mut tokens_of));
            match call.get_ref().pages.as_ref().map(|pages| Pager::compile(pages.get_ref(), &credentials)) {
                Some(Ok(pager)) => drop(pagers.insert(name.clone(), pager)),
                Some(Err(found)) => wrong.extend(found),
                None => {}
            }
        }
        match (preparer, judge, tokens) {
            (Some(preparer), Some(judge), Some(tokens)) if wrong.is_empty() => Ok(Self {
                off_runtime: OffRuntime::default(),
                is_plain: is_plain(&judge, &programs, &tokens_of, &pagers),
                provider,
                wire,
                preparer,
                judge,
                programs,
                tokens_of,
                pagers,
                in_flight: InFlight::default(),
                tokens,
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
        let forms = self.preparer.credentials(call).forms();
        trace.texts().into_iter().for_each(|text| hide_in(text, &forms));
        (answer, trace)
    }

    async fn run(&self, call: &Call, now: UnixMs, trace: Option<&mut Trace>) -> Answer {
        let Some(resource) = self.provider.resource(call.resource.as_str()) else {
            let reason = format!("{} declares no resource {}", self.provider.name, call.resource);
            return all(call, End::Unsent, &Outcome::NotSent { reason });
        };
        let mut answer = match &resource.probe {
            Some(probe) => self.probed(resource, probe, call, now, trace).await,
            None => self.ask(resource, call, now, trace).await,
        };
        hide(&self.preparer.credentials(call).forms(), &mut answer);
        answer.learned = self.checked(&call.connection, answer.learned);
        answer
    }

    /// Asks for all of the call.
    pub(super) async fn ask(
        &self,
        resource: &Resource,
        call: &Call,
        now: UnixMs,
        trace: Option<&mut Trace>,
    ) -> Answer {
        let pages = self.pages(resource, call, now, trace, readings).await;
        let Pages { found, ended, holds, learned, validator, is_part } = pages;
        let whole = ended.is_ok();
        let answer = match ended {
            Ok(end) => assign_records(resource, call, found, end, is_part),
            Err(ended) => assign_records_until(resource, call, found, ended),
        };
        // Half an answer vouches for nothing.
        let validators = Validators { all: validator.filter(|_| whole), ..Validators::default() };
        Answer { holds, learned, validators, ..answer }
    }

    /// Asks for page after page, as far as they lead and may be sent.
    pub(super) async fn pages<T>(
        &self,
        resource: &Resource,
        call: &Call,
        mut now: UnixMs,
        mut trace: Option<&mut Trace>,
        reader: Reader<T>,
    ) -> Pages<T> {
        let flight = self.in_flight.enter(call);
        let device = call.targets.first().map(|target| target.device);
        let pager = self.pagers.get(&call.resource);
        let mut page = pager.map_or_else(Page::default, Pager::first);
        let latest = pager.map(|pager| Instant::now() + pager.within());
        let (mut found, mut holds, mut learned) = (Vec::new(), Vec::new(), BTreeMap::new());
        let (since, mut validator) = (validate::since(resource, call, now), None);
        let ended = loop {
            let reply =
                match self.send(resource, call, now, (&page, since.as_ref()), trace.as_deref_mut()).await {
                    Ok(reply) => reply,
                    // Pages were sent before: it cannot end as though nothing was.
                    Err(ended) if page.index > 0 && ended.end == End::Unsent => {
                        break Err(Ended { end: End::Good, ..ended });
                    }
                    Err(ended) => break Err(ended),
                };
            // What an answer tells counts from when it came.
            now = now.plus_ms(i64::try_from(reply.took.as_millis()).unwrap_or(0));
            let told = self.told(resource, call, &reply.headers, |scope| flight.others(scope), now);
            rate_limit::join(&mut holds, told, device);
            let is_light = self.is_plain && reply.body.bytes.len() <= LIGHT_BYTES;
            let concluded = self.off_runtime.run(is_light, || {
                let mut read = self.conclude(resource, call, &reply, now, trace.as_deref_mut(), reader)?;
                let next = pager.zip(read.json.take());
                let next = next.map_or(Ok(None), |(pager, json)| pager.after(&page, &json, &reply));
                Ok::<_, Box<Refused>>((read, next))
            });
            let (read, next) = match concluded.await {
                Ok(both) => both,
                Err(refused) => {
                    rate_limit::join(&mut holds, Vec::from_iter(refused.hold), device);
                    learned.extend(refused.learned);
                    break Err(refused.ended);
                }
            };
            if page.index == 0 {
                // What changes while further pages are on their way is asked for again.
                let (asked, names) = (since.as_ref(), self.preparer.credential_names());
                validator =
                    validate::told(resource, (&reply.url, &reply.headers), &names, read.token, asked, now);
            }
            found.extend(read.found);
            let outcome = match next {
                Ok(None) => break Ok(read.end),
                Ok(Some(_)) if latest.is_some_and(|latest| Instant::now() > latest) => {
                    let reason = "its pages take longer than pages.within: the rest was not asked for";
                    Outcome::Transient { reason: reason.to_owned() }
                }
                Ok(Some(next)) => {
                    page = next;
                    continue;
                }
                Err(reason) => Outcome::Broken { reason, excerpt: excerpt(&reply.body.bytes) },
            };
            break Err(Ended { end: End::Good, outcome });
        };
        Pages { found, ended, holds, learned, validator, is_part: since.is_some() }
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
        let terms = self.provider.quota_inputs(&call.connection.params, call.connection.devices);
        rate_limit::holds(&self.provider, asked, &terms, headers, others, now)
    }

    /// What a reply to the call means, if it is the only page.
    pub(super) fn outcome_of(&self, call: &Call, reply: &Reply, now: UnixMs) -> Option<Answer> {
        let resource = self.provider.resource(call.resource.as_str())?;
        let device = call.targets.first().map(|target| target.device);
        let mut holds = Vec::new();
        let mut answer = match self.conclude(resource, call, reply, now, None, readings) {
            Ok(read) => assign_records(resource, call, read.found, read.end, false),
            Err(refused) => {
                rate_limit::join(&mut holds, Vec::from_iter(refused.hold), device);
                let answer = assign_records_until(resource, call, Vec::new(), refused.ended);
                Answer { learned: refused.learned, ..answer }
            }
        };
        rate_limit::join(&mut holds, self.told(resource, call, &reply.headers, |_| 0, now), device);
        answer.holds = holds;
        hide(&self.preparer.credentials(call).forms(), &mut answer);
        answer.learned = self.checked(&call.connection, answer.learned);
        Some(answer)
    }

    async fn send(
        &self,
        resource: &Resource,
        call: &Call,
        now: UnixMs,
        (page, since): (&Page, Option<&validate::Since>),
        trace: Option<&mut Trace>,
    ) -> Result<Reply, Ended> {
        let unsent = |outcome| Ended { end: End::Unsent, outcome };
        let pager = self.pagers.get(&call.resource);
        let request = self.preparer.prepare(resource, call, now, (pager, page), since).map_err(unsent)?;
        let silent = |silence| match silence {
            Silence::Unsent(reason) => unsent(Outcome::Broken { reason, excerpt: String::new() }),
            Silence::Lost(reason) => Ended { end: End::Lost, outcome: Outcome::Transient { reason } },
        };
        let Some(trace) = trace else { return self.wire.carry(request).await.map_err(silent) };
        trace.note_request(&request);
        let reply = self.wire.carry(request).await.map_err(silent)?;
        trace.note_answer(&reply);
        Ok(reply)
    }

    /// What a page says; or how the call ended by it.
    fn conclude<T>(
        &self,
        resource: &Resource,
        call: &Call,
        reply: &Reply,
        now: UnixMs,
        trace: Option<&mut Trace>,
        reader: Reader<T>,
    ) -> Result<Read<T>, Box<Refused>> {
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
        let learned = verdict.learned(answer.as_ref().ok());
        let said = || format!("HTTP {}: {}", reply.status, excerpt(body));
        let outcome = match verdict.outcome {
            RuleOutcome::Fresh => match self.read(call, answer, reader, end) {
                Ok(read) => return Ok(read),
                Err(reason) => Outcome::Broken { reason, excerpt: excerpt(body) },
            },
            RuleOutcome::Throttled => {
                let reason = format!("HTTP {}", reply.status);
                let until = verdict.until(&reply.headers, answer.as_ref().ok(), now);
                let hold = Hold { scope: verdict.scope, until, reason };
                let ended = Ended { end: End::Throttled, outcome: Outcome::Throttled };
                return Err(Box::new(Refused { ended, hold: Some(hold), learned }));
            }
            RuleOutcome::Unchanged => Outcome::Unchanged,
            RuleOutcome::Unauthorized => Outcome::Unauthorized { reason: said() },
            RuleOutcome::DeviceOffline => Outcome::DeviceOffline,
            RuleOutcome::Gone => Outcome::Gone { reason: said() },
            RuleOutcome::Transient => Outcome::Transient { reason: said() },
            RuleOutcome::Broken => Outcome::Broken { reason: unexpected(reply), excerpt: excerpt(body) },
        };
        Err(Box::new(Refused { ended: Ended { end, outcome }, hold: None, learned }))
    }

    /// What a good answer holds.
    fn read<T>(
        &self,
        call: &Call,
        answer: Result<Val, String>,
        reader: Reader<T>,
        end: End,
    ) -> Result<Read<T>, String> {
        let name = &call.resource;
        let read = || {
            let (answer, program) = (answer?, self.programs.get(name).ok_or("no mapping")?);
            let found = reader(program, &answer)?;
            let token = self.tokens_of.get(name).map(|program| program.first(&answer, mapping::value));
            let token = token.transpose().map_err(|error| format!("since failed: {error}"))?;
            let json = self.pagers.contains_key(name).then_some(answer);
            Ok(Read { json, found, token: token.flatten().flatten(), end })
        };
        // It may quote the whole answer, and each job of the call gets a copy.
        read().map_err(|reason: String| reason.chars().take(1_000).collect())
    }
}

/// Whether all of these programs are of the plain kind.
fn is_plain(
    judge: &Judge,
    programs: &HashMap<ResourceName, Program>,
    tokens_of: &HashMap<ResourceName, Program>,
    pagers: &HashMap<ResourceName, Pager>,
) -> bool {
    let of_pages = pagers.values().flat_map(Pager::programs);
    let mut all = programs.values().chain(tokens_of.values()).chain(of_pages).chain(judge.programs());
    all.all(Program::is_direct)
}

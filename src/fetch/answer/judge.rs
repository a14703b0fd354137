//! What an answer means: the provider's rules in order, then what its status says to anybody.

use super::{mapping, wait};
use crate::fetch::jq::Program;
use crate::fetch::wire::Reply;
use crate::provider::{Provider, Rule, RuleOutcome, Wait};
use crate::words::{Scope, UnixMs};
use jaq_json::Val;
use reqwest::header::{HeaderMap, LOCATION, RETRY_AFTER};
use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;

/// A provider's rules, compiled.
pub(crate) struct Judge(Vec<CompiledRule>);

struct CompiledRule {
    rule: Rule,
    /// Where it begins in the file.
    place: usize,
    body: Option<Program>,
    wait: Option<Program>,
    learn: Vec<(String, Program)>,
}

/// What an answer means, before anything is mapped.
pub(crate) struct Verdict<'a> {
    pub(crate) outcome: RuleOutcome,
    pub(crate) scope: Scope,
    rule: Option<&'a CompiledRule>,
}

impl Verdict<'_> {
    /// Where the rule that matched begins in the file; none: the status alone decided.
    pub(crate) fn place(&self) -> Option<usize> {
        self.rule.map(|rule| rule.place)
    }

    /// The bootstrap values that it corrects.
    pub(crate) fn learned(&self, answer: Option<&Val>) -> BTreeMap<String, String> {
        let found = |(name, program): &(String, Program)| {
            let value = program.first(answer?, mapping::text).ok()??;
            Some((name.clone(), value.filter(|text| !text.is_empty())?))
        };
        self.rule.iter().flat_map(|rule| rule.learn.iter().filter_map(found)).collect()
    }

    /// When a refusal ends, as far as the answer tells. `now` is the schedule's clock.
    pub(crate) fn until(&self, headers: &HeaderMap, answer: Option<&Val>, now: UnixMs) -> UnixMs {
        let in_body = self.rule.and_then(|rule| rule.wait.as_ref()?.first(answer?, mapping::text).ok()??);
        match self.rule.and_then(|rule| rule.rule.wait.as_ref()) {
            Some(wait) => wait::until(headers, wait, in_body, now),
            None => wait::until(headers, &Wait::default(), None, now),
        }
    }
}

impl Judge {
    /// Compiles every rule; the errors say which, with their places in the file.
    pub(crate) fn compile(provider: &Provider) -> Result<Self, Vec<(Range<usize>, String)>> {
        let mut wrong = Vec::new();
        let mut program = |text: Option<&Spanned<String>>| {
            let text = text?;
            Program::compile(text.get_ref()).map_err(|error| wrong.push((text.span(), error))).ok()
        };
        let compile = |rule: &Spanned<Rule>| {
            let (place, rule) = (rule.span().start, rule.get_ref().clone());
            let body = program(rule.body.as_ref());
            let wait = program(rule.wait.as_ref().and_then(|wait| wait.body.as_ref()));
            let learn =
                rule.learn.iter().filter_map(|(name, text)| Some((name.clone(), program(Some(text))?)));
            let learn = learn.collect();
            CompiledRule { rule, place, body, wait, learn }
        };
        let rules = provider.definition.rules.iter().map(compile).collect();
        if wrong.is_empty() { Ok(Self(rules)) } else { Err(wrong) }
    }

    /// Every program of the rules.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &Program> {
        self.0.iter().flat_map(|rule| {
            rule.body.iter().chain(&rule.wait).chain(rule.learn.iter().map(|(_, program)| program))
        })
    }

    /// Judges an answer by its status, its headers, and its JSON if it has any.
    pub(crate) fn judge(&self, status: u16, headers: &HeaderMap, answer: Option<&Val>) -> Verdict<'_> {
        let fits = |c: &&CompiledRule| {
            c.rule.status.as_ref().is_none_or(|statuses| statuses.contains(&status))
                && c.rule.header.iter().all(|(name, value)| says(headers, name, value))
                && c.body.as_ref().is_none_or(|program| answer.is_some_and(|a| program.holds(a)))
        };
        let found = self.0.iter().find(fits);
        Verdict {
            outcome: found
                .map_or_else(|| by_status(status, headers.contains_key(RETRY_AFTER)), |c| c.rule.outcome),
            scope: found.and_then(|c| c.rule.scope).unwrap_or(Scope::Connection),
            rule: found,
        }
    }
}

/// Whether one of the headers of this name has this value. Names have no case (RFC 9110, 5.1).
fn says(headers: &HeaderMap, name: &str, value: &str) -> bool {
    headers.get_all(name).iter().any(|v| v.to_str().is_ok_and(|v| v.trim().eq_ignore_ascii_case(value)))
}

/// RFC 9110's meaning of a status. 503 that says how long throttles, as Miele's does; without, it is a failure.
fn by_status(status: u16, says_wait: bool) -> RuleOutcome {
    match status {
        200..=299 => RuleOutcome::Fresh,
        304 => RuleOutcome::Unchanged,
        401 | 403 => RuleOutcome::Unauthorized,
        404 | 410 => RuleOutcome::Gone,
        429 => RuleOutcome::Throttled,
        503 if says_wait => RuleOutcome::Throttled,
        408 | 425 | 500..=599 => RuleOutcome::Transient,
        _ => RuleOutcome::Broken,
    }
}

/// What came where nothing like it was expected.
pub(crate) fn unexpected(reply: &Reply) -> String {
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

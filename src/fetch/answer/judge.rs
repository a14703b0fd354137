//! Decides what a response means: the provider's rules in order, else its HTTP status.

use super::mapping;
use super::wait::{self, AskedWait};
use crate::fetch::jq::Program;
use crate::fetch::wire::Response;
use crate::provider::{Provider, Rule, RuleOutcome, Wait};
use crate::words::{Hold, Refusal, Scope, UnixMs};
use jaq_json::Val;
use reqwest::header::{HeaderMap, LOCATION, RETRY_AFTER};
use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;

/// A provider's rules, compiled.
pub(crate) struct Judge(Vec<CompiledRule>);

struct CompiledRule {
    rule: Rule,
    /// Byte offset in the file.
    offset: usize,
    body: Option<Program>,
    wait: Option<Program>,
    learn: Vec<(String, Program)>,
}

/// What a response means, before it is mapped.
pub(crate) struct Verdict<'a> {
    pub(crate) outcome: RuleOutcome,
    pub(crate) scope: Scope,
    rule: Option<&'a CompiledRule>,
}

impl Verdict<'_> {
    /// Offset in the file of the rule that matched; none if only the status decided.
    pub(crate) fn rule_offset(&self) -> Option<usize> {
        self.rule.map(|rule| rule.offset)
    }

    /// The bootstrap values that the response corrects.
    pub(crate) fn bootstrap_values(&self, response: Option<&Val>) -> BTreeMap<String, String> {
        let found = |(name, program): &(String, Program)| {
            let value = program.first(response?, mapping::text).ok()??;
            Some((name.clone(), value.filter(|text| !text.is_empty())?))
        };
        self.rule.iter().flat_map(|rule| rule.learn.iter().filter_map(found)).collect()
    }

    /// The hold that a throttled response asks for. `longest_ms`: the longest window of the limits in its scope; `now`
    /// is the schedule's clock.
    pub(crate) fn hold(&self, response: &Response, json: Option<&Val>, longest_ms: i64, now: UnixMs) -> Hold {
        let in_body = self.rule.and_then(|rule| rule.wait.as_ref()?.first(json?, mapping::text).ok()??);
        let none = Wait::default();
        let rule = self.rule.and_then(|rule| rule.rule.wait.as_ref()).unwrap_or(&none);
        let AskedWait { until, reported_until } =
            wait::asked(&response.headers, rule, in_body, longest_ms, now);
        let mut reason = format!("HTTP {}", response.status);
        if let Some(reported) = reported_until.filter(|reported| *reported > until) {
            reason +=
                &format!(", asked to wait until {}", reported.to_datetime().format("%Y-%m-%d %H:%M UTC"));
        }
        Hold { scope: self.scope, until, reason, refusal: Some(Refusal { reported_until }) }
    }
}

impl Judge {
    /// Compiles every rule. Errors have their position in the file.
    pub(crate) fn compile(provider: &Provider) -> Result<Self, Vec<(Range<usize>, String)>> {
        let mut errors = Vec::new();
        let mut program = |text: Option<&Spanned<String>>| {
            let text = text?;
            Program::read(text).map_err(|error| errors.push(error)).ok()
        };
        let compile = |rule: &Spanned<Rule>| {
            let (offset, rule) = (rule.span().start, rule.get_ref().clone());
            let body = program(rule.body.as_ref());
            let wait = program(rule.wait.as_ref().and_then(|wait| wait.body.as_ref()));
            let learn =
                rule.learn.iter().filter_map(|(name, text)| Some((name.clone(), program(Some(text))?)));
            let learn = learn.collect();
            CompiledRule { rule, offset, body, wait, learn }
        };
        let rules = provider.definition.rules.iter().map(compile).collect();
        if errors.is_empty() { Ok(Self(rules)) } else { Err(errors) }
    }

    /// Every program of the rules.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &Program> {
        self.0.iter().flat_map(|rule| {
            rule.body.iter().chain(&rule.wait).chain(rule.learn.iter().map(|(_, program)| program))
        })
    }

    /// Judges a response by its status, its headers, and its JSON if it has any.
    pub(crate) fn judge(&self, status: u16, headers: &HeaderMap, response: Option<&Val>) -> Verdict<'_> {
        let matches = |c: &&CompiledRule| {
            c.rule.status.as_ref().is_none_or(|statuses| statuses.contains(&status))
                && c.rule.header.iter().all(|(name, value)| has_header_value(headers, name, value))
                && c.body.as_ref().is_none_or(|program| response.is_some_and(|json| program.holds(json)))
        };
        let found = self.0.iter().find(matches);
        Verdict {
            outcome: found
                .map_or_else(|| by_status(status, headers.contains_key(RETRY_AFTER)), |c| c.rule.outcome),
            scope: found.and_then(|c| c.rule.scope).unwrap_or(Scope::Connection),
            rule: found,
        }
    }
}

/// Whether one of the headers of this name has this value. Names are case-insensitive (RFC 9110, 5.1).
fn has_header_value(headers: &HeaderMap, name: &str, value: &str) -> bool {
    headers.get_all(name).iter().any(|v| v.to_str().is_ok_and(|v| v.trim().eq_ignore_ascii_case(value)))
}

/// The meaning of a status by RFC 9110. 503 with `Retry-After` is throttling, as Miele uses it; without, a failure.
fn by_status(status: u16, has_retry_after: bool) -> RuleOutcome {
    match status {
        200..=299 => RuleOutcome::Fresh,
        304 => RuleOutcome::Unchanged,
        401 | 403 => RuleOutcome::Unauthorized,
        404 | 410 => RuleOutcome::Gone,
        429 => RuleOutcome::Throttled,
        503 if has_retry_after => RuleOutcome::Throttled,
        408 | 425 | 500..=599 => RuleOutcome::Transient,
        _ => RuleOutcome::Broken,
    }
}

/// Describes an unexpected response for people.
pub(crate) fn describe_unexpected(response: &Response) -> String {
    let status = response.status;
    if !(300..=399).contains(&status) {
        return format!("unexpected HTTP {status}");
    }
    let to = response.headers.get(LOCATION).and_then(|to| response.url.join(to.to_str().ok()?).ok());
    // Origin and path only: the query or the user may be a credential.
    let target = to.map_or_else(
        || "without a valid Location".to_owned(),
        |to| format!("to {}{}", to.origin().ascii_serialization(), to.path()),
    );
    format!(
        "HTTP {status} redirects {target}; redirects are not followed: correct base_url or path in the definition"
    )
}

//! What an answer means: the provider's rules in order, then what its status says to anybody.

use super::mapping::Program;
use crate::provider::{Provider, Rule, RuleOutcome, Wait};
use crate::words::Scope;
use jaq_json::Val;
use std::ops::Range;

/// A provider's rules, compiled.
pub(super) struct Judge(Vec<CompiledRule>);

struct CompiledRule {
    rule: Rule,
    body: Option<Program>,
}

/// What an answer means, before anything is mapped.
pub(super) struct Verdict<'a> {
    pub(super) outcome: RuleOutcome,
    pub(super) scope: Scope,
    pub(super) wait: Option<&'a Wait>,
}

impl Judge {
    /// Compiles every rule; the error says which, with its place in the file.
    pub(super) fn compile(provider: &Provider) -> Result<Self, (Range<usize>, String)> {
        let compile = |rule: &Rule| {
            let body = rule.body.as_ref();
            let program =
                body.map(|b| Program::compile(b.get_ref()).map_err(|e| (b.span(), e))).transpose()?;
            Ok(CompiledRule { rule: rule.clone(), body: program })
        };
        provider
            .definition
            .rules
            .iter()
            .map(|rule| compile(rule.get_ref()))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Judges an answer by its status, whether it says how long to wait, and its JSON if it has any.
    pub(super) fn judge(&self, status: u16, says_wait: bool, answer: Option<&Val>) -> Verdict<'_> {
        let fits = |c: &&CompiledRule| {
            c.rule.status.as_ref().is_none_or(|statuses| statuses.contains(&status))
                && c.body.as_ref().is_none_or(|program| answer.is_some_and(|a| program.holds(a)))
        };
        match self.0.iter().find(fits) {
            Some(CompiledRule { rule, .. }) => Verdict {
                outcome: rule.outcome,
                scope: rule.scope.unwrap_or(Scope::Connection),
                wait: rule.wait.as_ref(),
            },
            None => Verdict { outcome: by_status(status, says_wait), scope: Scope::Connection, wait: None },
        }
    }
}

/// RFC 9110's meaning of a status. 503 that says how long is a refusal for now, as Miele's is; without, a failure.
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

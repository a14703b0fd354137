//! Cases of tokens: what is asked for one, what the cloud answers, and what comes of it.

use super::cases::{self, Asked, Difference, NOW, Said};
use super::compare::{self, Differences, or_none};
use super::wire::Script;
use super::{Fetcher, hide};
use crate::provider::{Fixtures, Provider};
use crate::words::{Granted, Interval, NoToken};
use secrecy::ExposeSecret;
use serde::Deserialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// One case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenCase {
    /// What it shows.
    pub(super) name: String,
    /// Of the connection.
    #[serde(default)]
    params: BTreeMap<String, String>,
    /// What the request must be.
    #[serde(default)]
    request: Option<Asked>,
    /// What the cloud answers.
    answer: Said,
    /// What must come of it.
    expect: Expected,
}

/// What must come of it; what is not named may be anything.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    /// `granted`, `refused` or `later`.
    outcome: String,
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    refresh_token: Option<String>,
    #[serde(default)]
    lifetime: Option<Interval>,
}

impl TokenCase {
    pub(super) async fn run(
        &self,
        provider: &Arc<Provider>,
        fixtures: &Fixtures,
    ) -> Result<Vec<Difference>, Difference> {
        let error = |what: &str, got: String| Difference {
            what: what.to_owned(),
            expected: "a case that can run".to_owned(),
            got,
        };
        let answer = self.answer.reply(fixtures, NOW).map_err(|why| error("answer", why))?;
        let script = Script { answers: VecDeque::from([answer]), ..Script::default() };
        let operator = cases::secrets(provider.definition.auth.get_ref().operators());
        let fetcher = Fetcher::scripted(provider.clone(), script, operator)
            .map_err(|refused| error("definition", refused.to_string()))?;
        let answer = fetcher.token(&cases::connection(provider, &self.params), NOW).await;
        let expected = std::iter::once(self.request.as_ref());
        let mut differences = compare::these_requests(expected, &fetcher.asked());
        differences.extend(self.compare(&answer));
        Ok(differences)
    }

    fn compare(&self, answer: &Result<Granted, NoToken>) -> Vec<Difference> {
        let (mut differences, expect) = (Differences(Vec::new()), &self.expect);
        let (word, told) = match answer {
            Ok(_) => ("granted", String::new()),
            Err(NoToken::Refused { reason }) => ("refused", reason.clone()),
            Err(NoToken::Later { reason, .. }) => ("later", reason.clone()),
        };
        if word != expect.outcome {
            differences.note("outcome", &expect.outcome, [word, &told].join(": ").trim_end_matches(": "));
            return differences.0;
        }
        if let Ok(granted) = answer {
            let refresh = granted.refresh.as_ref().map(ExposeSecret::expose_secret);
            for (what, expected, got) in [
                ("token", &expect.token, Some(granted.access.expose_secret())),
                ("refresh_token", &expect.refresh_token, refresh),
            ] {
                if let Some(expected) = expected {
                    differences.note(what, expected, or_none(got));
                }
            }
            if let Some(expected) = expect.lifetime {
                differences.note("lifetime", expected.as_ms(), or_none(granted.lifetime_ms));
            }
        }
        let is_told = hide::forms_of(cases::SECRET).iter().any(|form| told.contains(form.as_str()));
        differences.note("secret told", false, is_told);
        differences.0
    }
}

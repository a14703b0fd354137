//! Cases of tokens: what is asked for one, what the cloud answers, and what comes of it.

use super::case::{Asked, Difference, Said, unfit};
use super::compare::{self, Differences, or_none};
use super::fixtures::{self, NOW, SECRET};
use crate::fetch::Fetcher;
use crate::fetch::request::forms_of;
use crate::fetch::wire::Script;
use crate::provider::{Fixtures, Provider};
use crate::words::{Granted, Interval, NoToken, UnixMs};
use reqwest::Request;
use secrecy::ExposeSecret;
use serde::Deserialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// One case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenCase {
    /// What it shows.
    pub name: String,
    /// Of the connection.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// What the request must be.
    #[serde(default)]
    pub request: Option<Asked>,
    /// What the cloud answers.
    pub answer: Said,
    /// What must come of it.
    pub expect: TokenExpected,
}

/// What must come of it; what is not named may be anything.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenExpected {
    /// `granted`, `refused` or `later`.
    pub outcome: String,
    /// The token.
    #[serde(default)]
    pub token: Option<String>,
    /// What brings the next one.
    #[serde(default)]
    pub refresh_token: Option<String>,
    /// How long the token lives.
    #[serde(default)]
    pub lifetime: Option<Interval>,
}

impl TokenCase {
    pub(crate) async fn run(
        &self,
        provider: &Arc<Provider>,
        fixtures: &Fixtures,
    ) -> Result<Vec<Difference>, Difference> {
        let (sent, answer) = self.play(provider, fixtures, NOW).await?;
        let expected = std::iter::once(self.request.as_ref());
        let mut differences = compare::these_requests(expected, &sent);
        differences.extend(self.compare_token(&answer));
        Ok(differences)
    }

    /// The request of it, if it were this instant.
    pub async fn asks(
        &self,
        provider: &Arc<Provider>,
        fixtures: &Fixtures,
        now: UnixMs,
    ) -> Result<Vec<Request>, Difference> {
        self.play(provider, fixtures, now).await.map(|(sent, _)| sent)
    }

    async fn play(
        &self,
        provider: &Arc<Provider>,
        fixtures: &Fixtures,
        now: UnixMs,
    ) -> Result<(Vec<Request>, Result<Granted, NoToken>), Difference> {
        let answer = self.answer.reply(fixtures, now).map_err(|why| unfit("answer", why))?;
        let script = Script { answers: VecDeque::from([answer]), ..Script::default() };
        let operator = fixtures::secrets(provider.definition.auth.get_ref().operators());
        let fetcher = Fetcher::scripted(provider.clone(), script, operator)
            .map_err(|refused| unfit("definition", refused.to_string()))?;
        let answer = fetcher.token(&fixtures::connection(provider, &self.params), now).await;
        Ok((fetcher.asked(), answer))
    }

    /// What did not come to what it should.
    pub fn compare_token(&self, answer: &Result<Granted, NoToken>) -> Vec<Difference> {
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
        let is_told = forms_of(SECRET).iter().any(|form| told.contains(form.as_str()));
        differences.note("secret told", false, is_told);
        differences.0
    }
}

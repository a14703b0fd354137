//! Cases of token requests: the request, the cloud's response, and the result.

use super::case::{CaseResponse, Difference, ExpectedRequest, invalid_case};
use super::compare::{self, Differences, or_none};
use super::fixtures::{self, NOW, SECRET};
use crate::fetch::Fetcher;
use crate::fetch::request::secret_forms;
use crate::fetch::wire::ScriptedResponses;
use crate::provider::{Fixtures, Provider};
use crate::words::{Granted, Interval, NoToken, UnixMs};
use reqwest::Request;
use secrecy::ExposeSecret;
use serde::Deserialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A case of a token request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenCase {
    /// What the case shows.
    pub name: String,
    /// The connection's params.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// The expected request.
    #[serde(default)]
    pub request: Option<ExpectedRequest>,
    /// The cloud's response.
    pub answer: CaseResponse,
    /// The expected result.
    pub expect: TokenExpected,
}

/// The expected result; absent parts may be anything.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenExpected {
    /// `granted`, `refused` or `later`.
    pub outcome: String,
    /// The access token.
    #[serde(default)]
    pub token: Option<String>,
    /// The refresh token.
    #[serde(default)]
    pub refresh_token: Option<String>,
    /// Lifetime of the token.
    #[serde(default)]
    pub lifetime: Option<Interval>,
}

impl TokenCase {
    pub(crate) async fn run(
        &self,
        provider: &Arc<Provider>,
        fixtures: &Fixtures,
    ) -> Result<Vec<Difference>, Difference> {
        let (sent, result) = self.execute(provider, fixtures, NOW).await?;
        let expected = std::iter::once(self.request.as_ref());
        let mut differences = compare::compare_requests(expected, &sent);
        differences.extend(self.compare_token(&result));
        Ok(differences)
    }

    /// The request that the case makes at an instant.
    pub async fn requests_at(
        &self,
        provider: &Arc<Provider>,
        fixtures: &Fixtures,
        now: UnixMs,
    ) -> Result<Vec<Request>, Difference> {
        self.execute(provider, fixtures, now).await.map(|(sent, _)| sent)
    }

    async fn execute(
        &self,
        provider: &Arc<Provider>,
        fixtures: &Fixtures,
        now: UnixMs,
    ) -> Result<(Vec<Request>, Result<Granted, NoToken>), Difference> {
        let response =
            self.answer.response(fixtures, now).map_err(|reason| invalid_case("answer", reason))?;
        let script =
            ScriptedResponses { responses: VecDeque::from([response]), ..ScriptedResponses::default() };
        let operator = fixtures::secrets(provider.definition.auth.get_ref().operators());
        let fetcher = Fetcher::scripted(provider.clone(), script, operator)
            .map_err(|refused| invalid_case("definition", refused.to_string()))?;
        let result = fetcher.token(&fixtures::connection(provider, &self.params), now).await;
        Ok((fetcher.take_requests(), result))
    }

    /// Compares the result of the request.
    pub fn compare_token(&self, result: &Result<Granted, NoToken>) -> Vec<Difference> {
        let (mut differences, expect) = (Differences(Vec::new()), &self.expect);
        let (outcome, reason) = match result {
            Ok(_) => ("granted", String::new()),
            Err(NoToken::Refused { reason }) => ("refused", reason.clone()),
            Err(NoToken::Later { reason, .. }) => ("later", reason.clone()),
        };
        if outcome != expect.outcome {
            differences.note(
                "outcome",
                &expect.outcome,
                [outcome, &reason].join(": ").trim_end_matches(": "),
            );
            return differences.0;
        }
        if let Ok(granted) = result {
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
        let has_secret = secret_forms(SECRET).iter().any(|form| reason.contains(form.as_str()));
        differences.note("secret shown", false, has_secret);
        differences.0
    }
}

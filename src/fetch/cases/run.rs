//! Runs the cases of a definition: a call is made, the cloud's responses are scripted, and requests and result are
//! compared. Everything but the network is what a real call uses.

use super::case::{Case, Difference, ExpectedValidators, invalid_case};
use super::compare::compare_requests;
use super::fixtures::{NOW, connection, secrets};
use super::token_cases::TokenCase;
use crate::fetch::answer::Page;
use crate::fetch::answer::validate::request_hash;
use crate::fetch::wire::ScriptedResponses;
use crate::fetch::{Call, Fetcher, Target};
use crate::provider::{BOOTSTRAP, DISCOVERY, DefinitionError, Fixtures, Provider, line_of, read_document};
use crate::words::{Connection, DeviceId, JobId, Outcome, UnixMs, Validator};
use reqwest::Request;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use toml::Spanned;

/// A file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cases {
    /// Cases of calls; independent of each other.
    #[serde(rename = "case")]
    pub cases: Vec<Spanned<Case>>,
    /// Cases of token requests.
    #[serde(default, rename = "token")]
    pub tokens: Vec<Spanned<TokenCase>>,
}

/// The result of a case.
#[derive(Debug, Clone, Serialize)]
pub struct CaseResult {
    /// Name of the case.
    pub name: String,
    /// The file of cases.
    pub file: String,
    /// Line in the file, from 1.
    pub line: usize,
    /// Whether there is no difference.
    pub ok: bool,
    /// All differences.
    pub differences: Vec<Difference>,
}

/// Reads the cases of a provider; none if it has none. An error if their file is invalid.
pub fn cases(provider: &Provider) -> Result<Option<(Fixtures, Cases)>, Vec<DefinitionError>> {
    let Some((fixtures, file, text)) = read_cases(provider)? else { return Ok(None) };
    Ok(Some((fixtures, read_document(&file, &text)?)))
}

/// The fixtures of a provider, the name of its file of cases for errors, and the file's text.
fn read_cases(provider: &Provider) -> Result<Option<(Fixtures, String, String)>, Vec<DefinitionError>> {
    let Some(fixtures) = Fixtures::of(provider) else { return Ok(None) };
    let unreadable = |message: String| {
        let file = Fixtures::place(provider).display().to_string();
        vec![DefinitionError { file, line: 1, message }]
    };
    let (file, text) = fixtures.cases().map_err(unreadable)?;
    Ok(Some((fixtures, file, text)))
}

/// Runs all cases of a provider; none if it has none. An error if their file is invalid.
pub async fn run_cases(provider: &Arc<Provider>) -> Result<Option<Vec<CaseResult>>, Vec<DefinitionError>> {
    let Some((fixtures, file, text)) = read_cases(provider)? else { return Ok(None) };
    let Cases { cases, tokens } = read_document(&file, &text)?;
    let mut results = Vec::with_capacity(cases.len() + tokens.len());
    for case in &cases {
        let line = line_of(&text, case.span().start);
        let case = case.get_ref();
        let differences = case.run(provider, &fixtures).await.unwrap_or_else(|error| vec![error]);
        let (name, ok) = (case.name.clone(), differences.is_empty());
        results.push(CaseResult { name, file: file.clone(), line, ok, differences });
    }
    for case in &tokens {
        let line = line_of(&text, case.span().start);
        let case = case.get_ref();
        let differences = case.run(provider, &fixtures).await.unwrap_or_else(|error| vec![error]);
        let (name, ok) = (case.name.clone(), differences.is_empty());
        results.push(CaseResult { name, file: file.clone(), line, ok, differences });
    }
    Ok(Some(results))
}

impl Case {
    async fn run(
        &self,
        provider: &Arc<Provider>,
        fixtures: &Fixtures,
    ) -> Result<Vec<Difference>, Difference> {
        let now = self.now();
        let (sent, found) = self.execute(provider, fixtures, now).await?;
        let mut differences = compare_requests(self.requests(), &sent);
        differences.extend(found);
        Ok(differences)
    }

    /// The time of the call.
    pub fn now(&self) -> UnixMs {
        self.at.map_or(NOW, |at| UnixMs(at.timestamp_millis()))
    }

    /// The requests that the case makes at an instant.
    pub async fn requests_at(
        &self,
        provider: &Arc<Provider>,
        fixtures: &Fixtures,
        now: UnixMs,
    ) -> Result<Vec<Request>, Difference> {
        self.execute(provider, fixtures, now).await.map(|(sent, _)| sent)
    }

    /// Makes the call; returns the requests and the differences of the result.
    async fn execute(
        &self,
        provider: &Arc<Provider>,
        fixtures: &Fixtures,
        now: UnixMs,
    ) -> Result<(Vec<Request>, Vec<Difference>), Difference> {
        let (is_listing, is_bootstrap) = (self.resource == *DISCOVERY, self.resource == *BOOTSTRAP);
        match provider.find_resource(self.resource.as_str()) {
            _ if is_listing && provider.definition.discovery.is_some() => {}
            _ if is_bootstrap && provider.definition.bootstrap.is_some() => {}
            Err(unknown) => return Err(invalid_case("resource", unknown.to_string())),
            Ok(_) if self.devices.is_empty() => {
                return Err(invalid_case("devices", "it names no device".to_owned()));
            }
            Ok(_) => {}
        }
        let responses =
            self.responses().map(|response| response.response(fixtures, now)).collect::<Result<_, _>>();
        let responses = responses.map_err(|reason| invalid_case("answer", reason))?;
        let auth = provider.definition.auth.get_ref();
        let script = ScriptedResponses { responses, ..ScriptedResponses::default() };
        let fetcher = Fetcher::scripted(provider.clone(), script, secrets(auth.operators()))
            .map_err(|refused| invalid_case("definition", refused.to_string()))?;
        let mut call = self.call(provider);
        let validator = self
            .stored_validator(&fetcher, &call, now)
            .map_err(|outcome| invalid_case("seen", outcome.detail()))?;
        call.targets.iter_mut().for_each(|target| target.validator = validator.clone());
        let found = match call.connection.clone() {
            connection if is_listing => self.compare_listing(&fetcher.list(connection, now, None).await, now),
            connection if is_bootstrap => {
                self.compare_bootstrapped(&fetcher.bootstrap(connection, now).await, now)
            }
            _ => self.compare_result(&fetcher.fetch(&call, now).await, now),
        };
        Ok((fetcher.take_requests(), found))
    }

    /// The validator stored with each device's last reading, as of an instant.
    pub fn validator(&self, provider: &Arc<Provider>, at: UnixMs) -> Option<Validator> {
        let operators = secrets(provider.definition.auth.get_ref().operators());
        let fetcher = Fetcher::scripted(provider.clone(), ScriptedResponses::default(), operators).ok()?;
        self.stored_validator(&fetcher, &self.call(provider), at).ok()?
    }

    fn stored_validator(
        &self,
        fetcher: &Fetcher,
        call: &Call,
        now: UnixMs,
    ) -> Result<Option<Validator>, Outcome> {
        let Some(seen) = &self.seen else { return Ok(None) };
        let ExpectedValidators { etag, last_modified, since, revision } = seen.clone();
        let reported = Validator { etag, last_modified, since, revision, ..Validator::default() };
        validator_of(fetcher, call, reported, now).map(Some)
    }

    fn call(&self, provider: &Provider) -> Call {
        let target = |(n, external_id): (i64, &String)| Target {
            job: JobId(n),
            device: DeviceId(n),
            external_id: external_id.clone(),
            group: self.group.clone(),
            validator: None,
        };
        Call {
            connection: Arc::new(Connection {
                bootstrap: self.bootstrap.clone(),
                ..connection(provider, &self.params)
            }),
            resource: self.resource.clone(),
            targets: (1..).zip(&self.devices).map(target).collect(),
        }
    }
}

/// The validator to store for a response to the call that reported this one.
fn validator_of(
    fetcher: &Fetcher,
    call: &Call,
    reported: Validator,
    now: UnixMs,
) -> Result<Validator, Outcome> {
    let Some(resource) = fetcher.provider.resource(call.resource.as_str()) else {
        return Err(Outcome::NotSent { reason: "only a case of a resource may have `seen`".to_owned() });
    };
    let pager = fetcher.pagers.get(&call.resource);
    let scope = fetcher.id_scope(&call.connection)?;
    let call = &scope.map_or_else(|| call.clone(), |scope| scope.strip(call));
    let request = fetcher.preparer.prepare(resource, call, now, (pager, &Page::default()), None)?;
    let names = fetcher.preparer.credential_names();
    let of = request_hash(resource, resource.conditional.then_some((request.url(), names.as_slice())));
    Ok(Validator { of, whole_at: reported.since.is_some().then_some(now), ..reported })
}

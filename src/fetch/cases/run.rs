//! Cases of a definition: "asked for this, the cloud answers that, and it comes to this". They run through all of a
//! call but the network.

use super::case::{Case, Difference, Seen, unfit};
use super::compare::these_requests;
use super::fixtures::{NOW, connection, secrets};
use super::token_cases::TokenCase;
use crate::fetch::answer::Page;
use crate::fetch::answer::validate::question;
use crate::fetch::wire::Script;
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
    /// Each on its own.
    #[serde(rename = "case")]
    pub cases: Vec<Spanned<Case>>,
    /// Of tokens: what is asked, and what comes of it.
    #[serde(default, rename = "token")]
    pub tokens: Vec<Spanned<TokenCase>>,
}

/// How a case went.
#[derive(Debug, Clone, Serialize)]
pub struct Ran {
    /// The case.
    pub name: String,
    /// The file of it.
    pub file: String,
    /// Where it begins there, from 1.
    pub line: usize,
    /// Whether all was as expected.
    pub ok: bool,
    /// What was not.
    pub differences: Vec<Difference>,
}

/// The cases of a provider as they are written; none if it has none. An error: the file of them is wrong.
pub fn cases(provider: &Provider) -> Result<Option<(Fixtures, Cases)>, Vec<DefinitionError>> {
    let Some((fixtures, file, text)) = written(provider)? else { return Ok(None) };
    Ok(Some((fixtures, read_document(&file, &text)?)))
}

/// Where they are, their file as it is named in errors, and its text.
fn written(provider: &Provider) -> Result<Option<(Fixtures, String, String)>, Vec<DefinitionError>> {
    let Some(fixtures) = Fixtures::of(provider) else { return Ok(None) };
    let unreadable = |message: String| {
        let file = Fixtures::place(provider).display().to_string();
        vec![DefinitionError { file, line: 1, message }]
    };
    let (file, text) = fixtures.cases().map_err(unreadable)?;
    Ok(Some((fixtures, file, text)))
}

/// Runs all cases of a provider; none if it has none. An error: the file of cases itself is wrong.
pub async fn run_cases(provider: &Arc<Provider>) -> Result<Option<Vec<Ran>>, Vec<DefinitionError>> {
    let Some((fixtures, file, text)) = written(provider)? else { return Ok(None) };
    let Cases { cases, tokens } = read_document(&file, &text)?;
    let mut ran = Vec::with_capacity(cases.len() + tokens.len());
    for case in &cases {
        let line = line_of(&text, case.span().start);
        let case = case.get_ref();
        let differences = case.run(provider, &fixtures).await.unwrap_or_else(|error| vec![error]);
        let (name, ok) = (case.name.clone(), differences.is_empty());
        ran.push(Ran { name, file: file.clone(), line, ok, differences });
    }
    for case in &tokens {
        let line = line_of(&text, case.span().start);
        let case = case.get_ref();
        let differences = case.run(provider, &fixtures).await.unwrap_or_else(|error| vec![error]);
        let (name, ok) = (case.name.clone(), differences.is_empty());
        ran.push(Ran { name, file: file.clone(), line, ok, differences });
    }
    Ok(Some(ran))
}

impl Case {
    async fn run(
        &self,
        provider: &Arc<Provider>,
        fixtures: &Fixtures,
    ) -> Result<Vec<Difference>, Difference> {
        let now = self.now();
        let (sent, found) = self.play(provider, fixtures, now).await?;
        let mut differences = these_requests(self.requests(), &sent);
        differences.extend(found);
        Ok(differences)
    }

    /// When it is.
    pub fn now(&self) -> UnixMs {
        self.at.map_or(NOW, |at| UnixMs(at.timestamp_millis()))
    }

    /// The requests of it, if it were this instant.
    pub async fn asks(
        &self,
        provider: &Arc<Provider>,
        fixtures: &Fixtures,
        now: UnixMs,
    ) -> Result<Vec<Request>, Difference> {
        self.play(provider, fixtures, now).await.map(|(sent, _)| sent)
    }

    /// The requests, and what does not come to what it should.
    async fn play(
        &self,
        provider: &Arc<Provider>,
        fixtures: &Fixtures,
        now: UnixMs,
    ) -> Result<(Vec<Request>, Vec<Difference>), Difference> {
        let (is_listing, is_bootstrap) = (self.resource == *DISCOVERY, self.resource == *BOOTSTRAP);
        match provider.find_resource(self.resource.as_str()) {
            _ if is_listing && provider.definition.discovery.is_some() => {}
            _ if is_bootstrap && provider.definition.bootstrap.is_some() => {}
            Err(unknown) => return Err(unfit("resource", unknown.to_string())),
            Ok(_) if self.devices.is_empty() => return Err(unfit("devices", "none is named".to_owned())),
            Ok(_) => {}
        }
        let answers = self.answers().map(|said| said.reply(fixtures, now)).collect::<Result<_, _>>();
        let answers = answers.map_err(|why| unfit("answer", why))?;
        let auth = provider.definition.auth.get_ref();
        let script = Script { answers, ..Script::default() };
        let fetcher = Fetcher::scripted(provider.clone(), script, secrets(auth.operators()))
            .map_err(|refused| unfit("definition", refused.to_string()))?;
        let mut call = self.call(provider);
        let known = self.known(&fetcher, &call, now).map_err(|outcome| unfit("seen", outcome.detail()))?;
        call.targets.iter_mut().for_each(|target| target.validator = known.clone());
        let found = match call.connection.clone() {
            connection if is_listing => self.compare_listing(&fetcher.list(connection, now, None).await, now),
            connection if is_bootstrap => {
                self.compare_bootstrapped(&fetcher.bootstrap(connection, now).await, now)
            }
            _ => self.compare_answer(&fetcher.fetch(&call, now).await, now),
        };
        Ok((fetcher.asked(), found))
    }

    /// What stands beside the last reading of each of its devices, of an answer of this instant.
    pub fn validator(&self, provider: &Arc<Provider>, at: UnixMs) -> Option<Validator> {
        let operators = secrets(provider.definition.auth.get_ref().operators());
        let fetcher = Fetcher::scripted(provider.clone(), Script::default(), operators).ok()?;
        self.known(&fetcher, &self.call(provider), at).ok()?
    }

    fn known(&self, fetcher: &Fetcher, call: &Call, now: UnixMs) -> Result<Option<Validator>, Outcome> {
        let Some(seen) = &self.seen else { return Ok(None) };
        let Seen { etag, last_modified, since, revision } = seen.clone();
        let told = Validator { etag, last_modified, since, revision, ..Validator::default() };
        validator_of(fetcher, call, told, now).map(Some)
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

/// What is kept of an answer to the call that told this.
fn validator_of(fetcher: &Fetcher, call: &Call, told: Validator, now: UnixMs) -> Result<Validator, Outcome> {
    let Some(resource) = fetcher.provider.resource(call.resource.as_str()) else {
        return Err(Outcome::NotSent { reason: "only resources have seen anything".to_owned() });
    };
    let pager = fetcher.pagers.get(&call.resource);
    let request = fetcher.preparer.prepare(resource, call, now, (pager, &Page::default()), None)?;
    let names = fetcher.preparer.credential_names();
    let of = question(resource, resource.conditional.then_some((request.url(), names.as_slice())));
    Ok(Validator { of, whole_at: told.since.is_some().then_some(now), ..told })
}

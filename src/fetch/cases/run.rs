//! Cases of a definition: "asked for this, the cloud answers that, and it comes to this". They run through all of a
//! call but the network.

use super::compare::these_requests;
use super::fixtures::{NOW, connection, secrets};
use super::token_cases::TokenCase;
use crate::fetch::wire::Script;
use crate::fetch::{Call, Fetcher, Target};
use crate::provider::{BOOTSTRAP, DISCOVERY, DefinitionError, Fixtures, Provider, line_of, read_document};
use crate::words::{Connection, DeviceId, Interval, JobId, Outcome, ResourceName, Scope, UnixMs, Validator};
use chrono::{DateTime, Utc};
use reqwest::Request;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
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

/// One case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// What is asked for; `discovery` is the listing of devices, `bootstrap` what calls need to know first.
    pub resource: ResourceName,
    /// Of the connection.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// What was learned of its account before.
    #[serde(default)]
    pub bootstrap: BTreeMap<String, String>,
    /// External ids of the devices in the call; none for the listing and for bootstrap values.
    #[serde(default)]
    pub devices: Vec<String>,
    /// Their group.
    #[serde(default)]
    pub group: String,
    /// What the last answer told of the state of each of them.
    #[serde(default)]
    pub seen: Option<Seen>,
    /// When; the first of January 2026, 00:00 UTC, when absent.
    #[serde(default)]
    pub at: Option<DateTime<Utc>>,
    /// What the request must be.
    #[serde(default)]
    pub request: Option<Asked>,
    /// What the cloud answers.
    pub answer: Said,
    /// Further pages, or what follows a probe: what each request must be, and what is answered.
    #[serde(default)]
    pub then: Vec<Next>,
    /// What must come of it.
    pub expect: Expected,
}

/// What an answer tells by which the next call asks only for what is new.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// HTTP's entity tag.
    #[serde(default)]
    pub etag: Option<String>,
    /// HTTP's time of the last modification.
    #[serde(default)]
    pub last_modified: Option<String>,
    /// A change token.
    #[serde(default)]
    pub since: Option<Value>,
    /// A device's revision.
    #[serde(default)]
    pub revision: Option<String>,
}

/// A further page, or what follows a probe.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Next {
    /// What the request must be.
    #[serde(default)]
    pub request: Option<Asked>,
    /// What the cloud answers.
    pub answer: Said,
}

/// What a request must be; what is not named may be anything.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// `GET` or `POST`.
    #[serde(default)]
    pub method: Option<String>,
    /// Scheme, host and port, such as `https://api.example.com`.
    #[serde(default)]
    pub origin: Option<String>,
    /// Not encoded any further than it is sent.
    #[serde(default)]
    pub path: Option<String>,
    /// Some of it, decoded.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Some of them.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Some keys of the body.
    #[serde(default)]
    pub json: Option<Map<String, Value>>,
    /// Likewise, of a form.
    #[serde(default)]
    pub form: BTreeMap<String, String>,
}

/// What the cloud answers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// The status.
    pub status: u16,
    /// Headers beside `Date` and `Content-Type`, or in their place.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body, beside the file of cases.
    #[serde(default)]
    pub file: Option<String>,
    /// The body itself.
    #[serde(default)]
    pub body: Option<String>,
}

/// What must come of it, for the first device; what is not named may be anything, but for holds: a case without one
/// means that there is none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Its word; `listed` for a list.
    pub outcome: String,
    /// Whether the device is reached.
    #[serde(default)]
    pub online: Option<bool>,
    /// All values of the record.
    #[serde(default)]
    pub values: Option<Map<String, Value>>,
    /// By the source's clock.
    #[serde(default)]
    pub observed_at: Option<DateTime<Utc>>,
    /// How far the hold reaches.
    #[serde(default)]
    pub scope: Option<Scope>,
    /// How long it lasts.
    #[serde(default)]
    pub wait: Option<Interval>,
    /// What is kept of it for the next call.
    #[serde(default)]
    pub seen: Option<Seen>,
    /// Bootstrap values that are learned: all of them. The outcome of asking for them is `learned`.
    #[serde(default)]
    pub bootstrap: Option<BTreeMap<String, String>>,
    /// Of the listing: all of it, in the order of ids. Its outcome is `listed`.
    #[serde(default)]
    pub devices: Option<Vec<ExpectedDevice>>,
}

/// A device of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedDevice {
    /// The provider's id of it.
    pub id: String,
    /// What it is called there; empty for nothing.
    #[serde(default)]
    pub name: String,
    /// Its home or site; empty for none.
    #[serde(default)]
    pub group: String,
    /// What kind of device it is; empty where that is not told.
    #[serde(default)]
    pub model: String,
    /// What can be fetched of it; none: what a device gets by default.
    #[serde(default)]
    pub resources: Option<Vec<ResourceName>>,
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

/// One thing that is not as a case expects it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What: `request.path`, `values.temperature_c`.
    pub what: String,
    /// What the case says.
    pub expected: String,
    /// What it was.
    pub got: String,
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
        fetcher.seen(call, told, now).map(Some)
    }

    /// What the cloud answers, page after page.
    pub fn answers(&self) -> impl Iterator<Item = &Said> {
        std::iter::once(&self.answer).chain(self.then.iter().map(|next| &next.answer))
    }

    /// What each request must be, in their order.
    pub fn requests(&self) -> impl Iterator<Item = Option<&Asked>> + Clone {
        std::iter::once(self.request.as_ref()).chain(self.then.iter().map(|next| next.request.as_ref()))
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

/// What keeps a case from running.
pub(crate) fn unfit(what: &str, got: String) -> Difference {
    Difference { what: what.to_owned(), expected: "a case that can run".to_owned(), got }
}

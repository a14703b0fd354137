//! Cases of a definition: "asked for this, the cloud answers that, and it comes to this". They run through all of a
//! call but the network.

use super::body::Body;
use super::token_cases::TokenCase;
use super::wire::{Reply, Script};
use super::{Call, Fetcher, Target, compare, mapping};
use crate::provider::{BOOTSTRAP, DISCOVERY, DefinitionError, Fixtures, Provider, line_of, read_document};
use crate::words::{
    Connection, ConnectionId, DeviceId, Interval, JobId, ResourceName, Scope, Secrets, TenantId, Token,
    UnixMs,
};
use chrono::{DateTime, Utc};
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use toml::Spanned;

/// The secret of every case: with signs that must be escaped wherever it stands. Cases write `{secret}`, or
/// `{secret.NAME}` and `{operator.NAME}` where it has another name.
pub(super) const SECRET: &str = "s3cret/with \"signs\"";

/// What a secret of this name is in a case.
pub(super) fn secret(name: &str) -> String {
    if name == Secrets::ONLY { SECRET.to_owned() } else { format!("{SECRET}/{name}") }
}

/// Thu, 01 Jan 2026 00:00:00 GMT: the time of every case, unless it says `at`.
pub(super) const NOW: UnixMs = UnixMs(1_767_225_600_000);

/// A file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cases {
    /// Each on its own.
    #[serde(rename = "case")]
    cases: Vec<Spanned<Case>>,
    /// Of tokens: what is asked, and what comes of it.
    #[serde(default, rename = "token")]
    tokens: Vec<Spanned<TokenCase>>,
}

/// One case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    /// What it shows.
    name: String,
    /// What is asked for; `discovery` is the listing of devices, `bootstrap` what calls need to know first.
    resource: ResourceName,
    /// Of the connection.
    #[serde(default)]
    params: BTreeMap<String, String>,
    /// What was learned of its account before.
    #[serde(default)]
    bootstrap: BTreeMap<String, String>,
    /// External ids of the devices in the call; none for the listing and for bootstrap values.
    #[serde(default)]
    devices: Vec<String>,
    /// Their group.
    #[serde(default)]
    group: String,
    /// When; the first of January 2026, 00:00 UTC, when absent.
    #[serde(default)]
    at: Option<DateTime<Utc>>,
    /// What the request must be.
    #[serde(default)]
    request: Option<Asked>,
    /// What the cloud answers.
    answer: Said,
    /// Further pages: what each request must be, and what is answered.
    #[serde(default)]
    then: Vec<Next>,
    /// What must come of it.
    pub(super) expect: Expected,
}

/// A further page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Next {
    #[serde(default)]
    request: Option<Asked>,
    answer: Said,
}

/// What a request must be; what is not named may be anything.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(default)]
    pub(super) method: Option<String>,
    /// Scheme, host and port, such as `https://api.example.com`.
    #[serde(default)]
    pub(super) origin: Option<String>,
    #[serde(default)]
    pub(super) path: Option<String>,
    #[serde(default)]
    pub(super) query: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) json: Option<Map<String, Value>>,
    #[serde(default)]
    pub(super) form: BTreeMap<String, String>,
}

/// What the cloud answers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Said {
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// The body, beside the file of cases.
    #[serde(default)]
    file: Option<String>,
    /// The body itself.
    #[serde(default)]
    body: Option<String>,
}

/// What must come of it, for the first device; what is not named may be anything, but for holds: a case without one
/// means that there is none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expected {
    pub(super) outcome: String,
    #[serde(default)]
    pub(super) online: Option<bool>,
    #[serde(default)]
    pub(super) values: Option<Map<String, Value>>,
    #[serde(default)]
    pub(super) observed_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub(super) scope: Option<Scope>,
    #[serde(default)]
    pub(super) wait: Option<Interval>,
    /// Bootstrap values that are learned: all of them. The outcome of asking for them is `learned`.
    #[serde(default)]
    pub(super) bootstrap: Option<BTreeMap<String, String>>,
    /// Of the listing: all of it, in the order of ids. Its outcome is `listed`.
    #[serde(default)]
    pub(super) devices: Option<Vec<ExpectedDevice>>,
}

/// A device of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectedDevice {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) group: String,
    #[serde(default)]
    pub(super) model: String,
    #[serde(default)]
    pub(super) resources: Option<Vec<ResourceName>>,
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

/// Runs all cases of a provider; none if it has none. An error: the file of cases itself is wrong.
pub async fn run_cases(provider: &Arc<Provider>) -> Result<Option<Vec<Ran>>, Vec<DefinitionError>> {
    let Some(fixtures) = Fixtures::of(provider) else { return Ok(None) };
    let unreadable = |message: String| {
        let file = Fixtures::place(provider).display().to_string();
        vec![DefinitionError { file, line: 1, message }]
    };
    let (file, text) = fixtures.cases().map_err(unreadable)?;
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
        let error = |what: &str, got: String| Difference {
            what: what.to_owned(),
            expected: "a case that can run".to_owned(),
            got,
        };
        let (is_listing, is_bootstrap) = (self.resource == *DISCOVERY, self.resource == *BOOTSTRAP);
        match provider.find_resource(self.resource.as_str()) {
            _ if is_listing && provider.definition.discovery.is_some() => {}
            _ if is_bootstrap && provider.definition.bootstrap.is_some() => {}
            Err(unknown) => return Err(error("resource", unknown.to_string())),
            Ok(_) if self.devices.is_empty() => return Err(error("devices", "none is named".to_owned())),
            Ok(_) => {}
        }
        let now = self.at.map_or(NOW, |at| UnixMs(at.timestamp_millis()));
        let said = std::iter::once(&self.answer).chain(self.then.iter().map(|next| &next.answer));
        let answers = said.map(|said| said.reply(fixtures, now)).collect::<Result<_, _>>();
        let answers = answers.map_err(|why| error("answer", why))?;
        let auth = provider.definition.auth.get_ref();
        let script = Script { answers, ..Script::default() };
        let fetcher = Fetcher::scripted(provider.clone(), script, secrets(auth.operators()))
            .map_err(|refused| error("definition", refused.to_string()))?;
        let call = self.call(provider);
        let found = match call.connection.clone() {
            connection if is_listing => {
                compare::listing(self, &fetcher.list(connection, now, None).await, now)
            }
            connection if is_bootstrap => {
                compare::bootstrapped(self, fetcher.bootstrap(connection, now).await, now)
            }
            _ => compare::answer(self, &fetcher.fetch(&call, now).await, now),
        };
        let mut differences = compare::requests(self, &fetcher.asked());
        differences.extend(found);
        Ok(differences)
    }

    /// What each request must be, in their order.
    pub(super) fn requests(&self) -> impl Iterator<Item = Option<&Asked>> + Clone {
        std::iter::once(self.request.as_ref()).chain(self.then.iter().map(|next| next.request.as_ref()))
    }

    fn call(&self, provider: &Provider) -> Call {
        let target = |(n, external_id): (i64, &String)| Target {
            job: JobId(n),
            device: DeviceId(n),
            external_id: external_id.clone(),
            group: self.group.clone(),
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

/// An account that has all that the definition asks for.
pub(super) fn connection(provider: &Provider, params: &BTreeMap<String, String>) -> Connection {
    let auth = provider.definition.auth.get_ref();
    let token = |name: &str| SecretString::from(secret(name));
    Connection {
        id: ConnectionId(1),
        tenant: TenantId(1),
        provider: provider.name.clone(),
        params: params.clone(),
        bootstrap: BTreeMap::new(),
        bootstrap_at: None,
        secrets: secrets(auth.secrets()),
        token: auth.has_tokens().then(|| Token {
            access: token("token"),
            refresh: Some(token("refresh_token")),
            generation: 1,
            renew_at: None,
            expires_at: None,
        }),
    }
}

pub(super) fn secrets<'a>(names: impl IntoIterator<Item = &'a str>) -> Secrets {
    names.into_iter().map(|name| (name.to_owned(), secret(name).into())).collect()
}

impl Said {
    /// The answer of a cloud whose clock is right, unless its headers say otherwise.
    pub(super) fn reply(&self, fixtures: &Fixtures, now: UnixMs) -> Result<Reply, String> {
        let body = match (&self.file, &self.body) {
            (Some(_), Some(_)) => return Err("it has a file and a body: leave one out".to_owned()),
            (Some(file), None) => fixtures.read(file)?,
            (None, body) => body.clone().unwrap_or_default().into_bytes(),
        };
        let media_type = match mapping::read(&body) {
            Ok(_) => "application/json",
            Err(_) => "text/plain",
        };
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media_type))]);
        let date = UNIX_EPOCH + Duration::from_millis(now.0.unsigned_abs());
        headers.extend(httpdate::fmt_http_date(date).parse().ok().map(|date| (DATE, date)));
        for (name, value) in &self.headers {
            let named = name.parse::<HeaderName>().map_err(|error| format!("header {name:?}: {error}"))?;
            let value = value.parse().map_err(|error| format!("header {name:?}: {error}"))?;
            headers.insert(named, value);
        }
        // The request's own takes its place.
        let url = Url::parse("http://localhost/").map_err(|error| error.to_string())?;
        Ok(Reply {
            url,
            status: self.status,
            headers,
            body: Body { bytes: body, flaw: None },
            took: Duration::ZERO,
        })
    }
}

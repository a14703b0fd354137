//! What every case starts with: its time, its account and its secrets.

use super::case::CaseResponse;
use crate::fetch::answer::mapping;
use crate::fetch::wire::{Body, Response};
use crate::provider::{Fixtures, Provider};
use crate::words::{Connection, ConnectionId, ConnectionState, Secrets, TenantId, Token, UnixMs};
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

/// The secret of every case, with characters that must be escaped in JSON and URLs. Cases write `{secret}`, or
/// `{secret.NAME}` and `{operator.NAME}` for named secrets.
pub const SECRET: &str = "s3cret/with \"signs\"";

/// The value of a named secret in a case.
pub fn secret(name: &str) -> String {
    if name == Secrets::ONLY { SECRET.to_owned() } else { format!("{SECRET}/{name}") }
}

/// Thu, 01 Jan 2026 00:00:00 GMT: the time of a case without `at`.
pub const NOW: UnixMs = UnixMs(1_767_225_600_000);

/// A connection with every secret and token that the definition requires.
pub(crate) fn connection(provider: &Provider, params: &BTreeMap<String, String>) -> Connection {
    let auth = provider.definition.auth.get_ref();
    let token = |name: &str| SecretString::from(secret(name));
    Connection {
        id: ConnectionId(1),
        tenant: TenantId(1),
        provider: provider.name.clone(),
        params: params.clone(),
        devices: 0,
        bootstrap: BTreeMap::new(),
        bootstrap_of: None,
        secrets_version: 1,
        state: ConnectionState::Active,
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

/// Secrets with these names.
pub fn secrets<'a>(names: impl IntoIterator<Item = &'a str>) -> Secrets {
    names.into_iter().map(|name| (name.to_owned(), secret(name).into())).collect()
}

impl CaseResponse {
    /// Status, headers and body. `Date` is `now`, unless the case sets the header.
    pub fn parts(&self, fixtures: &Fixtures, now: UnixMs) -> Result<(u16, HeaderMap, Vec<u8>), String> {
        let body = match (&self.file, &self.body) {
            (Some(_), Some(_)) => return Err("it has both `file` and `body`: remove one".to_owned()),
            (Some(file), None) => fixtures.read(file)?,
            (None, body) => body.clone().unwrap_or_default().into_bytes(),
        };
        let media_type = match mapping::parse(&body) {
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
        Ok((self.status, headers, body))
    }

    pub(crate) fn response(&self, fixtures: &Fixtures, now: UnixMs) -> Result<Response, String> {
        let (status, headers, bytes) = self.parts(fixtures, now)?;
        // Replaced by the URL of the request.
        let url = Url::parse("http://localhost/").map_err(|error| error.to_string())?;
        Ok(Response { url, status, headers, body: Body { bytes, error: None }, took: Duration::ZERO })
    }
}

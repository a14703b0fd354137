//! Reads token responses (RFC 6749), and normalises those that deviate from it.

use crate::fetch::answer::{mapping, text, wait};
use crate::fetch::jq::Program;
use crate::fetch::wire::{Response, excerpt};
use crate::words::{End, NoToken, UnixMs};
use oauth2::HttpResponse;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Map, Value};

/// A temporary failure: the response says nothing final about the token.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct TokenFailure {
    pub(crate) reason: String,
    pub(crate) wait_ms: Option<i64>,
    pub(crate) end: End,
}

impl From<TokenFailure> for NoToken {
    fn from(TokenFailure { reason, wait_ms, end }: TokenFailure) -> Self {
        Self::Later { reason, wait_ms, end }
    }
}

/// The text fields that are used. Others are dropped, since they may have any type: Netatmo's `scope` is a list.
const FIELDS: [&str; 9] = [
    "access_token",
    "refresh_token",
    "error",
    "error_description",
    "device_code",
    "user_code",
    "verification_uri",
    "verification_uri_complete",
    "verification_url",
];

/// How a request that returned no token ended, for quotas.
pub(crate) fn end_of(status: u16) -> End {
    if status == 429 { End::Throttled } else { End::Error }
}

/// Describes a response for people. Successful ones are not quoted: they may contain a token anywhere.
pub(crate) fn describe(response: &Response) -> String {
    let body = &response.body.bytes;
    match response.status {
        400.. => format!("HTTP {}: {}", response.status, excerpt(body)),
        status => format!("HTTP {status}: {}", shape_of(body)),
    }
}

/// The length of a body, and the names of its fields.
pub(crate) fn shape_of(body: &[u8]) -> String {
    let fields = serde_json::from_slice::<Map<String, Value>>(body).unwrap_or_default();
    let names: Vec<_> =
        fields.keys().take(10).map(|name| name.chars().take(30).collect::<String>()).collect();
    match names.is_empty() {
        true => format!("{} bytes, not a JSON object", body.len()),
        false => format!("{} bytes with the fields {}", body.len(), names.join(", ")),
    }
}

/// The response reduced to the fields that are used; an error if it is a temporary failure. `program` is the
/// definition's `auth.oauth2.answer`.
pub(crate) fn normalise(
    response: &Response,
    program: Option<&Program>,
    now: UnixMs,
) -> Result<HttpResponse, TokenFailure> {
    let described = || describe(response);
    let wait_ms = wait::retry_after_ms(&response.headers, now);
    let failure = |reason| TokenFailure { reason, wait_ms, end: end_of(response.status) };
    if matches!(response.status, 408 | 429 | 500..) {
        return Err(failure(described()));
    }
    let body = text::clean(&response.body.bytes, &response.headers);
    let json = mapping::parse(&body).map_err(|_| failure(described()))?;
    let json = match program {
        Some(program) => {
            let first = program
                .first(&json, mapping::value)
                .map_err(|error| failure(format!("auth.oauth2.answer failed: {error}")))?;
            first.flatten()
        }
        None => mapping::value(&json),
    };
    let Some(Value::Object(all)) = json else { return Err(failure(described())) };
    let fields = used_fields(all);
    let is_error = fields.contains_key("error");
    let status = if is_error { 400 } else { response.status };
    if !is_error && !(200..300).contains(&status) {
        return Err(failure(described()));
    }
    let body = serde_json::to_vec(&fields).unwrap_or_default();
    let built = http::Response::builder().status(if is_error { 400 } else { 200 });
    built.header(CONTENT_TYPE, "application/json").body(body).map_err(|error| failure(error.to_string()))
}

fn used_fields(all: Map<String, Value>) -> Map<String, Value> {
    let mut fields = Map::new();
    for (name, value) in all {
        let number = || value.as_u64().or_else(|| value.as_str()?.trim().parse().ok());
        match name.as_str() {
            "expires_in" | "interval" => drop(number().map(|n| fields.insert(name, n.into()))),
            known if FIELDS.contains(&known) && value.is_string() => drop(fields.insert(name, value)),
            _ => {}
        }
    }
    if fields.contains_key("access_token") {
        // The library requires it. How calls send the token is up to the definition.
        fields.insert("token_type".to_owned(), "bearer".into());
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn successful_response_is_described_without_its_values() {
        let shape = shape_of(br#"{"accessToken": "canary", "ttl": 5}"#);
        assert_eq!(shape, "35 bytes with the fields accessToken, ttl");
        assert_eq!(shape_of(b"access_token=canary&expires_in=5"), "32 bytes, not a JSON object");
        assert_eq!(shape_of(br#"["canary"]"#), "10 bytes, not a JSON object");
    }
}

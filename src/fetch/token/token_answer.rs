//! What a cloud answers to a request for a token, as RFC 6749 has it: odd answers are put right here.

use crate::fetch::answer::{mapping, wait};
use crate::fetch::jq::Program;
use crate::fetch::wire::{Reply, excerpt};
use crate::words::{End, NoToken, UnixMs};
use oauth2::HttpResponse;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Map, Value};

/// There is no answer that would mean anything for good.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Trouble {
    pub(crate) reason: String,
    pub(crate) wait_ms: Option<i64>,
    pub(crate) end: End,
}

impl From<Trouble> for NoToken {
    fn from(Trouble { reason, wait_ms, end }: Trouble) -> Self {
        Self::Later { reason, wait_ms, end }
    }
}

/// The fields that anybody needs. What else there is may be of any type: Netatmo's `scope` is a list.
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

/// How a request that brought no token ended, as far as quotas are concerned.
pub(crate) fn end_of(status: u16) -> End {
    if status == 429 { End::Throttled } else { End::Error }
}

/// What people are told of an answer. One that is no error is not quoted: a token in it may be anywhere.
pub(crate) fn said(reply: &Reply) -> String {
    let body = &reply.body.bytes;
    match reply.status {
        400.. => format!("HTTP {}: {}", reply.status, excerpt(body)),
        status => format!("HTTP {status}: {}", shape_of(body)),
    }
}

/// How long a body is, and the names of its fields.
pub(crate) fn shape_of(body: &[u8]) -> String {
    let fields = serde_json::from_slice::<Map<String, Value>>(body).unwrap_or_default();
    let names: Vec<_> =
        fields.keys().take(10).map(|name| name.chars().take(30).collect::<String>()).collect();
    match names.is_empty() {
        true => format!("{} bytes, no JSON object", body.len()),
        false => format!("{} bytes with the fields {}", body.len(), names.join(", ")),
    }
}

/// The answer with the fields that mean something; trouble, if it says that it will say more later.
pub(crate) fn understood(reply: &Reply, odd: Option<&Program>, now: UnixMs) -> Result<HttpResponse, Trouble> {
    let said = || said(reply);
    let wait_ms = wait::retry_after_ms(&reply.headers, now);
    let trouble = |reason| Trouble { reason, wait_ms, end: end_of(reply.status) };
    if matches!(reply.status, 408 | 429 | 500..) {
        return Err(trouble(said()));
    }
    let answer = mapping::read(&reply.body.bytes).map_err(|_| trouble(said()))?;
    let answer = match odd {
        Some(program) => {
            let first = program
                .first(&answer, mapping::value)
                .map_err(|error| trouble(format!("auth.oauth2.answer failed: {error}")))?;
            first.flatten()
        }
        None => mapping::value(&answer),
    };
    let Some(Value::Object(all)) = answer else { return Err(trouble(said())) };
    let plain = plain(all);
    let fails = plain.contains_key("error");
    let status = if fails { 400 } else { reply.status };
    if !fails && !(200..300).contains(&status) {
        return Err(trouble(said()));
    }
    let body = serde_json::to_vec(&plain).unwrap_or_default();
    let built = http::Response::builder().status(if fails { 400 } else { 200 });
    built.header(CONTENT_TYPE, "application/json").body(body).map_err(|error| trouble(error.to_string()))
}

fn plain(all: Map<String, Value>) -> Map<String, Value> {
    let mut plain = Map::new();
    for (name, value) in all {
        let number = || value.as_u64().or_else(|| value.as_str()?.trim().parse().ok());
        match name.as_str() {
            "expires_in" | "interval" => drop(number().map(|n| plain.insert(name, n.into()))),
            known if FIELDS.contains(&known) && value.is_string() => drop(plain.insert(name, value)),
            _ => {}
        }
    }
    if plain.contains_key("access_token") {
        // How calls carry it, the definition says.
        plain.insert("token_type".to_owned(), "bearer".into());
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_no_error_is_told_by_its_shape() {
        let told = shape_of(br#"{"accessToken": "canary", "ttl": 5}"#);
        assert_eq!(told, "35 bytes with the fields accessToken, ttl");
        assert_eq!(shape_of(b"access_token=canary&expires_in=5"), "32 bytes, no JSON object");
        assert_eq!(shape_of(br#"["canary"]"#), "10 bytes, no JSON object");
    }
}

//! The HTTP exchanges of a call, for people to read. Secrets are redacted as in a call's result.

use super::wire::Response;
use reqwest::Request;
use reqwest::header::{HeaderMap, SET_COOKIE};
use serde::Serialize;

/// Longer bodies are cut.
const BODY_CHARS_MAX: usize = 2_000;

/// The exchanges of one call, page by page; empty if no request could be made.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Trace {
    /// In the order sent.
    pub exchanges: Vec<Exchange>,
}

/// A request and its response.
#[derive(Debug, Clone, Serialize)]
pub struct Exchange {
    /// The request.
    pub request: SentRequest,
    /// None if no response arrived.
    #[serde(rename = "answer")]
    pub response: Option<ReceivedResponse>,
    /// Line in the definition of the rule that matched the response; none if only its status decided.
    pub rule: Option<usize>,
}

/// A request as it was sent.
#[derive(Debug, Clone, Serialize)]
pub struct SentRequest {
    /// `GET` or `POST`.
    pub method: String,
    /// The whole URL.
    pub url: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The first characters of the body; empty if there is none.
    pub body: String,
}

/// A response as it was received.
#[derive(Debug, Clone, Serialize)]
pub struct ReceivedResponse {
    /// The HTTP status.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The first characters of the body.
    pub body: String,
    /// Length of the whole body, after decompression.
    pub body_bytes: usize,
}

impl Trace {
    /// Adds an exchange with this request.
    pub(super) fn add_request(&mut self, request: &Request) {
        let request = SentRequest {
            method: request.method().to_string(),
            url: request.url().to_string(),
            headers: visible_headers(request.headers()),
            body: body_start(request.body().and_then(|body| body.as_bytes()).unwrap_or_default()),
        };
        self.exchanges.push(Exchange { request, response: None, rule: None });
    }

    /// Adds the response to the last exchange.
    pub(super) fn add_response(&mut self, response: &Response) {
        let Some(exchange) = self.exchanges.last_mut() else { return };
        exchange.response = Some(ReceivedResponse {
            status: response.status,
            headers: visible_headers(&response.headers),
            body: body_start(&response.body.bytes),
            body_bytes: response.body.bytes.len(),
        });
    }

    /// Adds the response to a token request to the last exchange. `shown` replaces a body that may contain a token;
    /// cookies may be one.
    pub(super) fn add_token_response(&mut self, response: &Response, shown: Option<String>) {
        self.add_response(response);
        let Some(added) = self.exchanges.last_mut().and_then(|exchange| exchange.response.as_mut()) else {
            return;
        };
        added.body = shown.unwrap_or_else(|| std::mem::take(&mut added.body));
        let cookies = added.headers.iter_mut().filter(|(name, _)| name == SET_COOKIE.as_str());
        cookies.for_each(|(_, value)| "***".clone_into(value));
    }

    /// Adds the line of the matching rule to the last exchange.
    pub(super) fn add_rule(&mut self, line: Option<usize>) {
        if let Some(exchange) = self.exchanges.last_mut() {
            exchange.rule = line;
        }
    }

    /// Every text that may contain a secret.
    pub(super) fn texts(&mut self) -> Vec<&mut String> {
        let mut all = Vec::new();
        for Exchange { request, response, .. } in &mut self.exchanges {
            all.extend([&mut request.url, &mut request.body]);
            all.extend(request.headers.iter_mut().map(|(_, value)| value));
            if let Some(response) = response {
                all.push(&mut response.body);
                all.extend(response.headers.iter_mut().map(|(_, value)| value));
            }
        }
        all
    }
}

fn visible_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let value = |value: &reqwest::header::HeaderValue| match value.is_sensitive() {
        true => "***".to_owned(),
        false => String::from_utf8_lossy(value.as_bytes()).into_owned(),
    };
    headers.iter().map(|(name, text)| (name.to_string(), value(text))).collect()
}

fn body_start(body: &[u8]) -> String {
    // A character has at most four bytes.
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * BODY_CHARS_MAX)]);
    let printable = |c: char| if c.is_control() && c != '\n' { ' ' } else { c };
    text.chars().take(BODY_CHARS_MAX).map(printable).collect()
}

//! What a call looked like from outside, for people: secrets are taken out of it as they are out of an answer.

use super::wire::Reply;
use reqwest::Request;
use reqwest::header::HeaderMap;
use serde::Serialize;

/// So much of a body is shown.
const BODY_CHARS_MAX: usize = 2_000;

/// One call, page by page; empty if no request could be made.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Trace {
    /// Each request, and what came of it.
    pub exchanges: Vec<Exchange>,
}

/// A request, and what came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Exchange {
    /// What was sent.
    pub request: Sent,
    /// What came back; none if nothing did.
    pub answer: Option<Came>,
    /// The line in the definition of the rule that judged the answer; none: its status alone did.
    pub rule: Option<usize>,
}

/// A request.
#[derive(Debug, Clone, Serialize)]
pub struct Sent {
    /// `GET` or `POST`.
    pub method: String,
    /// All of it.
    pub url: String,
    /// Name and value.
    pub headers: Vec<(String, String)>,
    /// The beginning of its body; empty for none.
    pub body: String,
}

/// An answer.
#[derive(Debug, Clone, Serialize)]
pub struct Came {
    /// Its status.
    pub status: u16,
    /// Name and value.
    pub headers: Vec<(String, String)>,
    /// The beginning of its body.
    pub body: String,
    /// How long it is, after decompression.
    pub body_bytes: usize,
}

impl Trace {
    /// Notes what goes out.
    pub(super) fn note_request(&mut self, request: &Request) {
        let request = Sent {
            method: request.method().to_string(),
            url: request.url().to_string(),
            headers: shown(request.headers()),
            body: beginning(request.body().and_then(|body| body.as_bytes()).unwrap_or_default()),
        };
        self.exchanges.push(Exchange { request, answer: None, rule: None });
    }

    /// Notes what came back.
    pub(super) fn note_answer(&mut self, reply: &Reply) {
        let Some(exchange) = self.exchanges.last_mut() else { return };
        exchange.answer = Some(Came {
            status: reply.status,
            headers: shown(&reply.headers),
            body: beginning(&reply.body.bytes),
            body_bytes: reply.body.bytes.len(),
        });
    }

    /// Notes the rule that judged it.
    pub(super) fn note_rule(&mut self, line: Option<usize>) {
        if let Some(exchange) = self.exchanges.last_mut() {
            exchange.rule = line;
        }
    }

    /// Every text in which a secret may stand.
    pub(super) fn texts(&mut self) -> Vec<&mut String> {
        let mut all = Vec::new();
        for Exchange { request, answer, .. } in &mut self.exchanges {
            all.extend([&mut request.url, &mut request.body]);
            all.extend(request.headers.iter_mut().map(|(_, value)| value));
            if let Some(came) = answer {
                all.push(&mut came.body);
                all.extend(came.headers.iter_mut().map(|(_, value)| value));
            }
        }
        all
    }
}

fn shown(headers: &HeaderMap) -> Vec<(String, String)> {
    let value = |value: &reqwest::header::HeaderValue| match value.is_sensitive() {
        true => "***".to_owned(),
        false => String::from_utf8_lossy(value.as_bytes()).into_owned(),
    };
    headers.iter().map(|(name, text)| (name.to_string(), value(text))).collect()
}

fn beginning(body: &[u8]) -> String {
    // A character has at most four bytes.
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * BODY_CHARS_MAX)]);
    let fit = |c: char| if c.is_control() && c != '\n' { ' ' } else { c };
    text.chars().take(BODY_CHARS_MAX).map(fit).collect()
}

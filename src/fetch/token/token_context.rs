//! The input of a token request, and the redaction of its errors.

use super::token_response::shape_of;
use crate::fetch::jq::OffRuntime;
use crate::fetch::request::{Preparer, RenderContext, redact_text, secret_forms};
use crate::fetch::trace::Trace;
use crate::fetch::wire::{NoResponse, Response, Wire};
use crate::words::{Granted, NoToken};
use reqwest::Request;
use secrecy::{ExposeSecret, SecretString};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The input of a token request.
pub(crate) struct TokenContext<'a> {
    pub(crate) render: RenderContext<'a>,
    pub(crate) preparer: &'a Preparer,
    /// Where responses are read.
    pub(crate) off_runtime: &'a OffRuntime,
    /// How long a request may take, body included.
    pub(crate) timeout: Duration,
    /// What only this request sends: the callback's code and its proof.
    pub(crate) sent: Vec<&'a SecretString>,
    /// Where the HTTP exchanges are shown, if people want to see them.
    pub(crate) trace: Option<&'a Mutex<Trace>>,
}

impl TokenContext<'_> {
    /// The secrets of the account and of the operator in every form, and those of a new token.
    fn secret_forms(&self, granted: Option<&Granted>) -> Vec<String> {
        let connection = self.render.connection;
        let token = connection.token.iter().flat_map(|token| [Some(&token.access), token.refresh.as_ref()]);
        let new = granted.iter().flat_map(|new| [Some(&new.access), new.refresh.as_ref()]);
        let secrets = connection.secrets.iter().chain(self.render.operator.iter()).map(|(_, secret)| secret);
        let all = secrets.chain(token.chain(new).flatten()).chain(self.sent.iter().copied());
        let mut forms: Vec<_> =
            all.flat_map(|secret: &SecretString| secret_forms(secret.expose_secret())).collect();
        // Longest first: one may contain another.
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms
    }

    /// Removes secrets from the trace.
    pub(crate) fn redact_trace(&self, granted: Option<&Granted>) {
        let Some(trace) = self.trace else { return };
        let forms = self.secret_forms(granted);
        let mut trace = trace.lock().unwrap_or_else(PoisonError::into_inner);
        trace.texts().into_iter().for_each(|text| redact_text(text, &forms));
    }
}

/// Sends a token request, and shows the exchange.
pub(crate) async fn send(
    wire: &Wire,
    request: Request,
    trace: Option<&Mutex<Trace>>,
) -> Result<Response, NoResponse> {
    let Some(trace) = trace else { return wire.send(request).await };
    let lock = || trace.lock().unwrap_or_else(PoisonError::into_inner);
    lock().add_request(&request);
    let response = wire.send(request).await?;
    // A good response may contain a token anywhere.
    let shown = (response.status < 400).then(|| shape_of(&response.body.bytes));
    lock().add_token_response(&response, shown);
    Ok(response)
}

/// Redacts an error's text: a cloud may repeat what it was sent.
pub(crate) fn redacted(error: NoToken, context: &TokenContext<'_>) -> NoToken {
    let forms = context.secret_forms(None);
    let redact = |mut reason: String| {
        redact_text(&mut reason, &forms);
        reason.chars().take(500).collect()
    };
    match error {
        NoToken::Refused { reason } => NoToken::Refused { reason: redact(reason) },
        NoToken::Later { reason, wait_ms, end } => NoToken::Later { reason: redact(reason), wait_ms, end },
    }
}

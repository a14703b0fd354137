//! The input of a token request, and the redaction of its errors.

use crate::fetch::jq::OffRuntime;
use crate::fetch::request::{Preparer, RenderContext, redact_text, secret_forms};
use crate::words::NoToken;
use secrecy::ExposeSecret;
use std::time::Duration;

/// The input of a token request.
pub(crate) struct TokenContext<'a> {
    pub(crate) render: RenderContext<'a>,
    pub(crate) preparer: &'a Preparer,
    /// Where responses are read.
    pub(crate) off_runtime: &'a OffRuntime,
    /// How long a request may take, body included.
    pub(crate) timeout: Duration,
}

/// Redacts an error's text: a cloud may repeat what it was sent.
pub(crate) fn redacted(error: NoToken, context: &TokenContext<'_>) -> NoToken {
    let token = context
        .render
        .connection
        .token
        .iter()
        .flat_map(|token| [Some(&token.access), token.refresh.as_ref()]);
    let secrets = context
        .render
        .connection
        .secrets
        .iter()
        .chain(context.render.operator.iter())
        .map(|(_, secret)| secret);
    let all = secrets.chain(token.flatten());
    let mut forms: Vec<_> = all.flat_map(|secret| secret_forms(secret.expose_secret())).collect();
    // Longest first: one may contain another.
    forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
    let redact = |mut reason: String| {
        redact_text(&mut reason, &forms);
        reason.chars().take(500).collect()
    };
    match error {
        NoToken::Refused { reason } => NoToken::Refused { reason: redact(reason) },
        NoToken::Later { reason, wait_ms, end } => NoToken::Later { reason: redact(reason), wait_ms, end },
    }
}

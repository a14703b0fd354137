//! What a token is asked for with, and what is told when there is none.

use crate::fetch::jq::OffRuntime;
use crate::fetch::request::{Preparer, RenderContext, forms_of, hide_in};
use crate::words::NoToken;
use secrecy::ExposeSecret;

/// What a token is asked for with.
pub(crate) struct With<'a> {
    pub(crate) context: RenderContext<'a>,
    pub(crate) preparer: &'a Preparer,
    /// Where responses are read.
    pub(crate) off_runtime: &'a OffRuntime,
}

/// A cloud may say back what it was told.
pub(crate) fn hidden(error: NoToken, with: &With<'_>) -> NoToken {
    let token =
        with.context.connection.token.iter().flat_map(|token| [Some(&token.access), token.refresh.as_ref()]);
    let secrets =
        with.context.connection.secrets.iter().chain(with.context.operator.iter()).map(|(_, secret)| secret);
    let all = secrets.chain(token.flatten());
    let mut forms: Vec<_> = all.flat_map(|secret| forms_of(secret.expose_secret())).collect();
    // One may be part of another.
    forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
    let hide = |mut reason: String| {
        hide_in(&mut reason, &forms);
        reason.chars().take(500).collect()
    };
    match error {
        NoToken::Refused { reason } => NoToken::Refused { reason: hide(reason) },
        NoToken::Later { reason, wait_ms, end } => NoToken::Later { reason: hide(reason), wait_ms, end },
    }
}

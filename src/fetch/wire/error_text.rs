//! The text of a request's transport error.

use std::error::Error;

/// The error and its causes, without the URL: it may contain a key.
pub(crate) fn error_text(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut reason = match error.is_timeout() {
        true => "no response within the timeout".to_owned(),
        false => error.to_string(),
    };
    let mut source = error.source();
    while let Some(cause) = source {
        reason = format!("{reason}: {cause}");
        source = cause.source();
    }
    reason
}

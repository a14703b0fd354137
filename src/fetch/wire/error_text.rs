//! What is told of a request that brought nothing.

use std::error::Error;

/// An error's text without the URL: a key may stand in it.
pub(crate) fn told(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut reason = match error.is_timeout() {
        true => "no answer in time".to_owned(),
        false => error.to_string(),
    };
    let mut source = error.source();
    while let Some(cause) = source {
        reason = format!("{reason}: {cause}");
        source = cause.source();
    }
    reason
}

//! Logs go to stderr: stdout is for answers.

use crate::settings::{Log, LogFormat};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts logging. The first call counts; a filter that cannot be parsed becomes `info`, with a warning.
pub fn init(log: &Log) {
    let filter = EnvFilter::try_new(&log.filter);
    let unreadable = filter.is_err();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(std::io::stderr);
    let initialised = match log.format {
        LogFormat::Json => builder.json().try_init(),
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init(),
    };
    if unreadable && initialised.is_ok() {
        tracing::warn!(filter = %log.filter, "log.filter cannot be parsed; using info");
    }
}

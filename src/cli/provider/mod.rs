//! `paceline provider list | check | new`

mod check;
mod list;
mod new;

use super::{CliError, Global};
use crate::settings::Settings;
use std::path::Path;

/// What to do with provider definitions.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the providers that connections can be added for
    #[command(after_help = "\
Examples:
  paceline provider list
  paceline provider list --json | jq -r '.providers[].name'")]
    List,
    /// Check definitions, and run their cases
    Check(check::Args),
    /// Begin a definition of one's own
    New(new::Args),
}

/// Does it. Neither Postgres nor Redis is asked.
pub(super) async fn run(global: &Global, command: Command) -> Result<(), CliError> {
    match command {
        Command::List => list::run(global),
        Command::Check(args) => check::run(global, args).await,
        Command::New(args) => new::run(global, args),
    }
}

/// The operator's directory, if one is configured.
fn dir(settings: &Settings) -> Option<&Path> {
    let dir = settings.providers.dir.as_path();
    (!dir.as_os_str().is_empty()).then_some(dir)
}

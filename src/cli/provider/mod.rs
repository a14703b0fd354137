//! `paceline provider list | check | try | new`

mod check;
mod list;
mod new;
mod try_call;

use super::{CliError, Global, context};

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
    /// Make one real call and show it step by step
    Try(try_call::Args),
    /// Begin a definition of one's own
    New(new::Args),
}

/// Does it. Only a call that is tried needs Postgres and Redis.
pub(super) async fn run(global: &Global, command: Command) -> Result<(), CliError> {
    match command {
        Command::List => list::run(global),
        Command::Check(args) => check::run(global, args).await,
        Command::Try(args) => {
            context::briefly(global, async |context| try_call::run(context, args).await).await
        }
        Command::New(args) => new::run(global, args),
    }
}

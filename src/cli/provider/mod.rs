//! `paceline provider list | show | check | try | new`

mod check;
mod list;
mod new;
mod show;
mod trial;

use super::{CliError, Global, context};

/// What to do with provider definitions.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the available providers
    #[command(after_help = "\
Examples:
  paceline provider list
  paceline provider list --json | jq -r '.providers[].name'")]
    List,
    /// Show a provider's resources, and the values of their readings
    Show(show::Args),
    /// Check definitions, and run their cases
    Check(check::Args),
    /// Make one real call, and show it step by step
    Try(trial::Args),
    /// Create a definition of your own from a skeleton
    New(new::Args),
}

/// Runs the subcommand. Only `try` needs Postgres and Redis.
pub(super) async fn run(global: &Global, command: Command) -> Result<(), CliError> {
    match command {
        Command::List => list::run(global),
        Command::Show(args) => show::run(global, &args),
        Command::Check(args) => check::run(global, args).await,
        Command::Try(args) => {
            context::run_with_context(global, async |context| trial::run(context, args).await).await
        }
        Command::New(args) => new::run(global, args),
    }
}

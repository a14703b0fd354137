//! The command line: one file per subcommand. Each parses its arguments, calls another module and prints the result;
//! decisions are made elsewhere.
//!
//! Results go to stdout, as text or (with `--json`) as JSON; progress, logs and errors go to stderr.
//! Exit codes: 0 done; 1 refused, or a check failed; 2 could not start (arguments, settings, servers, files).

mod admin;
mod confirm;
mod connection;
pub mod context;
mod device;
mod error;
mod output;
mod process;
mod provider;
mod schedule;
mod sealing_key;
mod servers;
mod stop;
mod table;
mod webhook;

pub use context::Context;
pub use error::CliError;
pub use output::Output;

use admin::{check, key, rotate, sql_reader, tenant};
use clap::error::ErrorKind;
use process::{cloud, demo, migrate, serve};
use schedule::{hold, lag, plan, refresh, set, why};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// Keeps device data from metered third-party clouds fresh, without ever breaking a rate limit.
#[derive(Debug, clap::Parser)]
#[command(name = "paceline", version, after_help = EXAMPLES)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// The subcommand.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  paceline demo
  paceline serve
  paceline key create --tenant acme --role user
  paceline connection add --tenant acme --provider signalk --label boat \\
      --param base_url=http://10.0.0.5:3000
  paceline device import --tenant acme --connection boat --file devices.csv
  paceline lag
  paceline why 7
  paceline plan
  paceline provider check

Settings come from --config FILE and from environment variables (PACELINE__DATABASE__URL=…), which take \
precedence. Without a configured Postgres or Redis, private servers are started under .paceline/.

Results go to stdout, everything else to stderr. `paceline COMMAND --help` explains each command.

Exit codes:
  0  done
  1  refused, failed, or a check found problems
  2  could not start: arguments, settings, servers or files";

/// Options of every command.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Global {
    /// Settings file in TOML; overrides the defaults (`config/default.toml` lists every key)
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub config: Option<PathBuf>,
    /// Print the result, notes and errors as JSON
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
}

/// The subcommands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Run Paceline: serve the HTTP API, call providers, do housekeeping
    Serve(serve::Args),
    /// Run everything on this machine against a simulated device cloud
    Demo(demo::Args),
    /// Compare the schedule in Redis with Postgres, and repair it
    Check(check::Args),
    /// Simulate a device cloud, for the demo and for tests
    #[command(hide = true)]
    Cloud(cloud::Args),
    /// Migrate the database schema to this version
    Migrate(migrate::Args),
    /// Create, list and revoke API keys
    #[command(subcommand)]
    Key(key::Command),
    /// Create, list and drop logins of Postgres that read a tenant's history
    #[command(subcommand)]
    SqlReader(sql_reader::Command),
    /// List tenants, and set their share of contended quotas
    #[command(subcommand)]
    Tenant(tenant::Command),
    /// Add, authorize and list connections: accounts at providers
    #[command(subcommand)]
    Connection(connection::Command),
    /// Add, import and list devices
    #[command(subcommand)]
    Device(device::Command),
    /// List webhooks, and enable them again
    #[command(subcommand)]
    Webhook(webhook::Command),
    /// List, check, try and create provider definitions
    #[command(subcommand)]
    Provider(provider::Command),
    /// Rotate the key that seals credentials
    #[command(subcommand)]
    Secret(rotate::Command),
    /// Set how often a device is fetched, and its priority
    Set(set::Args),
    /// Fetch a device now, as soon as its quotas allow
    Refresh(refresh::Args),
    /// Show how fresh readings are, and which are late
    Lag(lag::Args),
    /// Explain where a device's jobs are, and what they wait for
    Why(why::Args),
    /// List what providers hold back, and lift it
    #[command(subcommand)]
    Hold(hold::Command),
    /// Forecast how often each job will run, and which quota limits it
    Plan(plan::Args),
}

/// Runs a command. Returns the exit code.
pub async fn run(cli: Cli) -> ExitCode {
    let output = Output { json: cli.global.json };
    match dispatch(&cli.global, cli.command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output.fail(&error),
    }
}

async fn dispatch(global: &Global, command: Command) -> Result<(), CliError> {
    use context::run_with_context;
    match command {
        Command::Serve(args) => serve::run(global, args).await,
        Command::Demo(args) => demo::run(global, args).await,
        Command::Check(args) => {
            run_with_context(global, async |context| check::run(context, args).await).await
        }
        Command::Cloud(args) => cloud::run(args).await,
        Command::Migrate(args) => migrate::run(global, args).await,
        Command::Key(command) => {
            run_with_context(global, async |context| key::run(context, command).await).await
        }
        Command::SqlReader(command) => {
            run_with_context(global, async |context| sql_reader::run(context, command).await).await
        }
        Command::Tenant(command) => {
            run_with_context(global, async |context| tenant::run(context, command).await).await
        }
        Command::Connection(command) => {
            run_with_context(global, async |context| connection::run(context, command).await).await
        }
        Command::Device(command) => {
            run_with_context(global, async |context| device::run(context, command).await).await
        }
        Command::Webhook(command) => {
            run_with_context(global, async |context| webhook::run(context, command).await).await
        }
        Command::Secret(command) => {
            run_with_context(global, async |context| rotate::run(context, command).await).await
        }
        Command::Provider(command) => provider::run(global, command).await,
        Command::Set(args) => run_with_context(global, async |context| set::run(context, args).await).await,
        Command::Refresh(args) => {
            run_with_context(global, async |context| refresh::run(context, args).await).await
        }
        Command::Lag(args) => run_with_context(global, async |context| lag::run(context, args).await).await,
        Command::Why(args) => run_with_context(global, async |context| why::run(context, args).await).await,
        Command::Hold(command) => {
            run_with_context(global, async |context| hold::run(context, command).await).await
        }
        Command::Plan(args) => run_with_context(global, async |context| plan::run(context, args).await).await,
    }
}

/// Prints what clap returned instead of a command: help and version to stdout, an error to stderr.
pub fn print_parse_error(error: &clap::Error, args: impl IntoIterator<Item = OsString>) -> ExitCode {
    use ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    let is_help =
        matches!(error.kind(), DisplayHelp | DisplayVersion | DisplayHelpOnMissingArgumentOrSubcommand);
    if is_help {
        // A closed pipe (`… | head`) is no error.
        let _ = error.print();
        return ExitCode::from(error.exit_code() as u8);
    }
    let json = args.into_iter().any(|arg| arg == "--json");
    Output { json }.fail(&CliError::cannot_start(on_one_line(&error.to_string())))
}

/// Prints why the process cannot start, before its arguments are read.
pub fn print_cannot_start(error: &std::io::Error) -> ExitCode {
    let json = std::env::args_os().any(|arg| arg == "--json");
    Output { json }.fail(&CliError::cannot_start(format!("cannot start its threads: {error}")))
}

/// clap's message and tips, without its headings, usage and line breaks.
fn on_one_line(text: &str) -> String {
    let message =
        text.split("\n\nUsage:").next().unwrap_or(text).replace("error: ", "").replace("\n\n  tip: ", "; ");
    let words: Vec<_> =
        message.split("For more information").next().unwrap_or(&message).split_whitespace().collect();
    format!("{}; see --help", words.join(" "))
}

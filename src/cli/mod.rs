//! The command line: one file per subcommand, each of which parses, calls and prints. It decides nothing.
//!
//! Answers go to stdout, for people or (with `--json`) for programs; progress, logs and errors go to stderr.
//! Exit codes: 0 done; 1 refused, or a check failed; 2 could not start (arguments, settings, servers, files).

mod authorize;
mod check;
mod cloud;
mod connection;
pub mod context;
mod demo;
mod device;
mod error;
mod key;
mod lag;
mod migrate;
mod output;
mod plan;
mod provider;
mod refresh;
mod rotate;
mod sealing_key;
mod secret;
mod serve;
mod servers;
mod set;
mod stop;
mod table;
mod tenant;
mod why;

pub use context::Context;
pub use error::CliError;
pub use output::Output;

use clap::error::ErrorKind;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// Keeps the data of devices that live in metered third-party clouds fresh, without ever breaking a rate limit.
#[derive(Debug, clap::Parser)]
#[command(name = "paceline", version, after_help = EXAMPLES)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  paceline demo
  paceline serve
  paceline key create --tenant acme --role user
  paceline connection add --tenant acme --provider signalk --label boat --param base_url=http://10.0.0.5:3000
  paceline device import --tenant acme --connection boat --file devices.csv
  paceline lag
  paceline why 7
  paceline plan
  paceline provider check

Settings come from --config and the environment (PACELINE__DATABASE__URL=…); with no servers configured,
private ones are started under .paceline/. Each command has a --help of its own.";

/// What holds for every command.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Global {
    /// Settings over the defaults (TOML; `config/default.toml` lists every key)
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Answer in JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,
}

/// The subcommands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Run: answer HTTP, pull from the providers, keep house
    Serve(serve::Args),
    /// See all of it at work, against a simulated device cloud
    Demo(demo::Args),
    /// Compare the schedule in Redis with the truth in Postgres
    Check(check::Args),
    /// Simulate a device cloud, for the demo and for tests
    #[command(hide = true)]
    Cloud(cloud::Args),
    /// Bring the database's schema up to this version
    Migrate(migrate::Args),
    /// Make, list and revoke API keys
    #[command(subcommand)]
    Key(key::Command),
    /// List tenants, and say how they weigh where they contend
    #[command(subcommand)]
    Tenant(tenant::Command),
    /// Add and list connections: accounts at providers
    #[command(subcommand)]
    Connection(connection::Command),
    /// Add, import and list devices
    #[command(subcommand)]
    Device(device::Command),
    /// List, check, try and begin provider definitions
    #[command(subcommand)]
    Provider(provider::Command),
    /// Change the key that seals credentials
    #[command(subcommand)]
    Secret(rotate::Command),
    /// Say how often a device is fetched and how much it matters
    Set(set::Args),
    /// Fetch a device now, as soon as the quotas let it
    Refresh(refresh::Args),
    /// Show what is late, and how late
    Lag(lag::Args),
    /// Say where a device's jobs are, and what they wait for
    Why(why::Args),
    /// Tell how often every device will be fetched, and which quota keeps it from more
    Plan(plan::Args),
}

/// Runs a command to its end.
pub async fn run(cli: Cli) -> ExitCode {
    let output = Output { json: cli.global.json };
    match dispatch(&cli.global, cli.command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output.fail(&error),
    }
}

async fn dispatch(global: &Global, command: Command) -> Result<(), CliError> {
    use context::briefly;
    match command {
        Command::Serve(args) => serve::run(global, args).await,
        Command::Demo(args) => demo::run(global, args).await,
        Command::Check(args) => briefly(global, async |context| check::run(context, args).await).await,
        Command::Cloud(args) => cloud::run(args).await,
        Command::Migrate(args) => migrate::run(global, args).await,
        Command::Key(command) => briefly(global, async |context| key::run(context, command).await).await,
        Command::Tenant(command) => {
            briefly(global, async |context| tenant::run(context, command).await).await
        }
        Command::Connection(command) => {
            briefly(global, async |context| connection::run(context, command).await).await
        }
        Command::Device(command) => {
            briefly(global, async |context| device::run(context, command).await).await
        }
        Command::Secret(command) => {
            briefly(global, async |context| rotate::run(context, command).await).await
        }
        Command::Provider(command) => provider::run(global, command).await,
        Command::Set(args) => briefly(global, async |context| set::run(context, args).await).await,
        Command::Refresh(args) => briefly(global, async |context| refresh::run(context, args).await).await,
        Command::Lag(args) => briefly(global, async |context| lag::run(context, args).await).await,
        Command::Why(args) => briefly(global, async |context| why::run(context, args).await).await,
        Command::Plan(args) => briefly(global, async |context| plan::run(context, args).await).await,
    }
}

/// Answers arguments that are no command: help and version to stdout, a mistake to stderr.
pub fn misread(error: &clap::Error, args: impl IntoIterator<Item = OsString>) -> ExitCode {
    use ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    let is_help =
        matches!(error.kind(), DisplayHelp | DisplayVersion | DisplayHelpOnMissingArgumentOrSubcommand);
    if is_help {
        // A reader that went away has what it wanted.
        let _ = error.print();
        return ExitCode::from(error.exit_code() as u8);
    }
    let json = args.into_iter().any(|arg| arg == "--json");
    Output { json }.fail(&CliError::cannot_start(in_a_sentence(&error.to_string())))
}

/// clap's message and tips, without its headings, its usage and its line breaks.
fn in_a_sentence(text: &str) -> String {
    let said =
        text.split("\n\nUsage:").next().unwrap_or(text).replace("error: ", "").replace("\n\n  tip: ", "; ");
    let words: Vec<_> =
        said.split("For more information").next().unwrap_or(&said).split_whitespace().collect();
    format!("{}; --help shows what is expected", words.join(" "))
}

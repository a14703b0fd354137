//! `paceline demo`: everything on this machine, against a simulated cloud.

use crate::cli::stop::stop_on_signal;
use crate::cli::{CliError, Global};
use crate::demo::{DemoOptions, run as run_demo};
use std::time::Duration;

/// Runs private servers, a simulated device cloud with strict quotas, a fleet of devices and the API.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Number of devices
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    devices: u32,
    /// Address of the API; port 0 picks a free port
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDR")]
    listen: String,
    /// How long to run; without it, until stopped
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    run_for: Option<Duration>,
}

const EXAMPLES: &str = "\
Examples:
  paceline demo
  paceline demo --devices 1000 --for 1m
  paceline demo --for 30s --json

Prints the addresses to open, then one line per second, and a summary at the end. Exit code 0 if the cloud refused \
nothing, no call failed and at least 99 % of the jobs whose device is online are fresh; 1 otherwise.";

pub(crate) async fn run(global: &Global, args: Args) -> Result<(), CliError> {
    let settings = crate::cli::context::load_for_short_command(global)?;
    let options =
        DemoOptions { devices: args.devices, listen: args.listen, run_for: args.run_for, json: global.json };
    match run_demo(settings, &options, stop_on_signal()).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(CliError::refused("the demo failed; see the summary")),
        Err(error) => Err(CliError::cannot_start(error)),
    }
}

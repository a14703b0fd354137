//! `paceline demo`: all of it on this machine, against a simulated cloud.

use super::stop::stop_on_signal;
use super::{CliError, Global};
use crate::demo::{DemoOptions, run as run_demo};
use std::time::Duration;

/// Runs private servers, a simulated device cloud with a strict quota, a fleet of devices and the API.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// How many devices
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    devices: u32,
    /// Where the API listens; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDR")]
    listen: String,
    /// How long to run; until stopped, if not said
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    run_for: Option<Duration>,
}

const EXAMPLES: &str = "\
Examples:
  paceline demo
  paceline demo --devices 1000 --for 1m
  paceline demo --for 30s --json

It prints where to look and a line a second. It ends with exit code 0 only if all went well: nothing refused by the
cloud, no error, and at least 99 % of the devices fresh.";

pub(super) async fn run(global: &Global, args: Args) -> Result<(), CliError> {
    let settings = super::context::load_brief(global)?;
    let options =
        DemoOptions { devices: args.devices, listen: args.listen, run_for: args.run_for, json: global.json };
    match run_demo(settings, &options, stop_on_signal()).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(CliError::refused("not all went well; the summary says what")),
        Err(error) => Err(CliError::cannot_start(error)),
    }
}

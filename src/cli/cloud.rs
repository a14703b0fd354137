//! `paceline cloud` (hidden): the simulated cloud as a process of its own, for the demo.

use super::CliError;
use crate::cloud::{self, CloudSettings};
use std::net::SocketAddr;

/// Simulates a device cloud with a strict quota.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where it listens; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Decides everything
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many accounts
    #[arg(long, default_value_t = 3)]
    accounts: u32,
    /// Devices of each account
    #[arg(long, default_value_t = 40)]
    devices_per_account: u32,
    /// End when standard input closes
    #[arg(long)]
    exit_with_stdin: bool,
}

pub(super) async fn run(args: Args) -> Result<(), CliError> {
    let settings = CloudSettings {
        listen: args.listen,
        seed: args.seed,
        accounts: args.accounts,
        devices_per_account: args.devices_per_account,
        exit_with_stdin: args.exit_with_stdin,
        ..CloudSettings::default()
    };
    let ready = |address| println!("{}", serde_json::json!({ "listening": address }));
    cloud::serve(settings, ready).await.map_err(CliError::cannot_start)
}

//! `paceline cloud`: the simulated device cloud as a process of its own.

use super::{CliError, Output};
use crate::cloud::{self, CloudSettings, Failures, Limit};
use crate::words::Interval;
use std::net::SocketAddr;
use std::time::Duration;

/// What to simulate.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paceline cloud
  paceline cloud --listen 127.0.0.1:9000 --accounts 2 --devices-per-account 500 --limit account:50/10s --limit app:40/1s
  paceline cloud --no-limits --latency-ms 0-5 --error-share 0.05

Prints {\"listening\":\"ADDRESS\"} when it is ready, and serves until it is interrupted.")]
pub struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Decides devices, values and keys
    #[arg(long)]
    seed: Option<u64>,
    /// How many accounts
    #[arg(long, value_name = "N")]
    accounts: Option<u32>,
    /// How many devices each has
    #[arg(long, value_name = "N")]
    devices_per_account: Option<u32>,
    /// A limit in place of the usual ones, such as account:50/10s; may be repeated
    #[arg(long = "limit", value_name = "SCOPE:AMOUNT/WINDOW")]
    limits: Vec<Limit>,
    /// No limits at all
    #[arg(long, conflicts_with = "limits")]
    no_limits: bool,
    /// How long requests take, from and to
    #[arg(long, value_name = "MIN-MAX", value_parser = span)]
    latency_ms: Option<(u64, u64)>,
    /// Share of devices that are offline
    #[arg(long, value_name = "SHARE")]
    offline_share: Option<f64>,
    /// What goes wrong on purpose.
    #[command(flatten)]
    failing: Failing,
    /// Stop when standard input closes
    #[arg(long)]
    exit_with_stdin: bool,
}

#[derive(Debug, clap::Args)]
struct Failing {
    /// Share of requests answered with a 500
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    error_share: f64,
    /// Share of requests cut without an answer
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    drop_share: f64,
    /// Share of requests that hang
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    hang_share: f64,
    /// How long those hang
    #[arg(long, value_name = "TIME", default_value = "1m")]
    hang: Interval,
    /// Share of answers that are no sense
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    garbage_share: f64,
}

fn span(text: &str) -> Result<(u64, u64), String> {
    let parts = text.split_once('-').and_then(|(min, max)| Some((min.parse().ok()?, max.parse().ok()?)));
    parts.ok_or_else(|| "write MIN-MAX, such as 20-120".to_owned())
}

impl From<Args> for CloudSettings {
    fn from(args: Args) -> Self {
        let usual = Self::default();
        let failing = args.failing;
        let limits = match (args.no_limits, args.limits.is_empty()) {
            (false, true) => usual.limits,
            _ => args.limits,
        };
        Self {
            listen: args.listen.unwrap_or(usual.listen),
            seed: args.seed.unwrap_or(usual.seed),
            accounts: args.accounts.unwrap_or(usual.accounts),
            devices_per_account: args.devices_per_account.unwrap_or(usual.devices_per_account),
            keys: Vec::new(),
            limits,
            latency_ms: args.latency_ms.map_or(usual.latency_ms, |(min, max)| min..=max),
            offline_share: args.offline_share.unwrap_or(usual.offline_share),
            failures: Failures {
                error_share: failing.error_share,
                drop_share: failing.drop_share,
                hang_share: failing.hang_share,
                garbage_share: failing.garbage_share,
                hang: Duration::from_millis(failing.hang.as_ms()),
            },
            exit_with_stdin: args.exit_with_stdin,
        }
    }
}

/// Serves until it is told to stop. It reads no settings, and needs no servers.
pub(super) async fn run(args: Args) -> Result<(), CliError> {
    let ready = |address: SocketAddr| {
        let line = serde_json::json!({ "listening": address.to_string() }).to_string();
        if let Err(error) = (Output { json: true }).line(&line) {
            tracing::warn!(error = error.sentence(), "nobody was told the address");
        }
    };
    cloud::serve(args.into(), ready).await.map_err(CliError::cannot_start)
}

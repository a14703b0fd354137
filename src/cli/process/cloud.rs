//! `paceline cloud`: runs the simulated device cloud as a process of its own.

use crate::cli::{CliError, Output};
use crate::cloud::{self, CloudSettings, Failures, Limit};
use crate::words::Interval;
use std::net::SocketAddr;
use std::time::Duration;

/// What to simulate, and which failures to inject.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paceline cloud
  paceline cloud --listen 127.0.0.1:9000 --accounts 2 --devices-per-account 500 \\
      --limit account:50/10s --limit app:40/1s
  paceline cloud --no-limits --latency-ms 0-5 --error-share 0.05

Prints {\"listening\":\"ADDRESS\"} once it accepts connections, and serves until it is stopped by SIGTERM or \
Ctrl-C. Needs neither settings nor servers.")]
pub struct Args {
    /// Address to listen on; port 0 picks a free port
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Seed from which devices, values and keys are derived
    #[arg(long)]
    seed: Option<u64>,
    /// Number of accounts
    #[arg(long, value_name = "N")]
    accounts: Option<u32>,
    /// Number of devices per account
    #[arg(long, value_name = "N")]
    devices_per_account: Option<u32>,
    /// Limit that replaces the default ones, such as account:50/10s; may be repeated
    #[arg(long = "limit", value_name = "SCOPE:AMOUNT/WINDOW")]
    limits: Vec<Limit>,
    /// Set no limits
    #[arg(long, conflicts_with = "limits")]
    no_limits: bool,
    /// Range of response times
    #[arg(long, value_name = "MIN-MAX", value_parser = range)]
    latency_ms: Option<(u64, u64)>,
    /// Share of devices that are offline
    #[arg(long, value_name = "SHARE")]
    offline_share: Option<f64>,
    /// Injected failures.
    #[command(flatten)]
    failures: FailureArgs,
    /// Stop when standard input closes
    #[arg(long)]
    exit_with_stdin: bool,
}

#[derive(Debug, clap::Args)]
struct FailureArgs {
    /// Share of requests answered with HTTP 500
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    error_share: f64,
    /// Share of requests whose connection is closed without a response
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    drop_share: f64,
    /// Share of requests that hang
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    hang_share: f64,
    /// How long a hanging request hangs
    #[arg(long, value_name = "TIME", default_value = "1m")]
    hang: Interval,
    /// Share of responses with an unreadable body
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    garbage_share: f64,
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let parts = text.split_once('-').and_then(|(min, max)| Some((min.parse().ok()?, max.parse().ok()?)));
    parts.ok_or_else(|| "write MIN-MAX, such as 20-120".to_owned())
}

impl From<Args> for CloudSettings {
    fn from(args: Args) -> Self {
        let default = Self::default();
        let failures = args.failures;
        let limits = match (args.no_limits, args.limits.is_empty()) {
            (false, true) => default.limits,
            _ => args.limits,
        };
        Self {
            listen: args.listen.unwrap_or(default.listen),
            seed: args.seed.unwrap_or(default.seed),
            accounts: args.accounts.unwrap_or(default.accounts),
            devices_per_account: args.devices_per_account.unwrap_or(default.devices_per_account),
            keys: Vec::new(),
            limits,
            latency_ms: args.latency_ms.map_or(default.latency_ms, |(min, max)| min..=max),
            offline_share: args.offline_share.unwrap_or(default.offline_share),
            failures: Failures {
                error_share: failures.error_share,
                drop_share: failures.drop_share,
                hang_share: failures.hang_share,
                garbage_share: failures.garbage_share,
                hang: Duration::from_millis(failures.hang.as_ms()),
            },
            exit_with_stdin: args.exit_with_stdin,
        }
    }
}

/// Serves until it is stopped.
pub(crate) async fn run(args: Args) -> Result<(), CliError> {
    let ready = |address: SocketAddr| {
        let line = serde_json::json!({ "listening": address.to_string() }).to_string();
        if let Err(error) = (Output { json: true }).line(&line) {
            tracing::warn!(error = error.message(), "could not print the address");
        }
    };
    cloud::serve(args.into(), ready).await.map_err(CliError::cannot_start)
}

//! The simulated cloud as a process of its own, and its referee's figures.

use crate::cloud::CloudSettings;
use serde::Deserialize;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// The cloud's process. It ends with this one, even when this one is killed: it holds its end of a pipe.
pub(super) struct CloudProcess {
    child: Child,
    client: reqwest::Client,
    /// Where it answers.
    pub(super) base_url: String,
}

/// What the referee counted since the start.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Figures {
    pub(super) throttled: u64,
    pub(super) limits: Vec<Limit>,
}

/// One of the cloud's limits.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Limit {
    amount: f64,
    peak: f64,
}

impl Figures {
    /// The share of its quota that the busiest limit has seen used in any one window so far.
    pub(super) fn quota_used(&self) -> f64 {
        self.limits.iter().map(|limit| limit.peak / limit.amount).fold(0.0, f64::max)
    }
}

impl CloudProcess {
    /// Starts it and waits until it listens.
    pub(super) async fn start(settings: &CloudSettings) -> std::io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["cloud", "--listen", "127.0.0.1:0", "--exit-with-stdin"])
            .args(["--seed", &settings.seed.to_string()])
            .args(["--accounts", &settings.accounts.to_string()])
            .args(["--devices-per-account", &settings.devices_per_account.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let said = child.stdout.take().map(BufReader::new);
        let line = match said {
            Some(said) => said.lines().next_line().await?,
            None => None,
        };
        let address = line
            .and_then(|line| serde_json::from_str::<serde_json::Value>(&line).ok())
            .and_then(|ready| ready["listening"].as_str().map(str::to_owned))
            .ok_or_else(|| std::io::Error::other("the simulated cloud did not say where it listens"))?;
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(2))
            .build()
            .map_err(std::io::Error::other)?;
        Ok(Self { child, client, base_url: format!("http://{address}") })
    }

    /// The referee's figures; none if it does not answer.
    pub(super) async fn figures(&self) -> Option<Figures> {
        let answer = self.client.get(format!("{}/_referee", self.base_url)).send().await.ok()?;
        serde_json::from_slice(&answer.bytes().await.ok()?).ok()
    }

    /// Ends it.
    pub(super) async fn stop(mut self) {
        // It may have ended by itself.
        drop(self.child.kill().await);
    }
}

//! The simulated cloud in a process of its own, and its referee's figures.

use crate::cloud::CloudSettings;
use serde::Deserialize;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// The cloud's process. It ends with this process, even if this one is killed: its stdin is a pipe from here.
pub(super) struct CloudProcess {
    child: Child,
    client: reqwest::Client,
    /// Its base URL.
    pub(super) base_url: String,
}

/// What the referee has counted since the start.
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
    /// Of the busiest limit, the largest share used in any window so far.
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
        let stdout = child.stdout.take().map(BufReader::new);
        let line = match stdout {
            Some(stdout) => stdout.lines().next_line().await?,
            None => None,
        };
        let address = line
            .and_then(|line| serde_json::from_str::<serde_json::Value>(&line).ok())
            .and_then(|ready| ready["listening"].as_str().map(str::to_owned))
            .ok_or_else(|| std::io::Error::other("the simulated cloud did not print its address"))?;
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(2))
            .build()
            .map_err(std::io::Error::other)?;
        Ok(Self { child, client, base_url: format!("http://{address}") })
    }

    /// The referee's figures; none if it does not answer.
    pub(super) async fn figures(&self) -> Option<Figures> {
        let response = self.client.get(format!("{}/_referee", self.base_url)).send().await.ok()?;
        serde_json::from_slice(&response.bytes().await.ok()?).ok()
    }

    /// Stops the process.
    pub(super) async fn stop(mut self) {
        // Fails if the process has already exited.
        drop(self.child.kill().await);
    }
}

//! A private Redis that a test may fill, demote and kill.

use paceline::redis::{self as plumbing, Redis};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{interval, timeout};

pub struct PrivateRedis {
    pub url: String,
    pub port: u16,
    process: Child,
    dir: TempDir,
    env: Vec<(&'static str, String)>,
}

impl PrivateRedis {
    /// Starts one that persists every write and evicts nothing.
    pub async fn start() -> Self {
        Self::start_in(Vec::new()).await
    }

    /// Likewise, with a clock that is so many seconds off, by a library from [`crate::wrong_clock::shim`].
    pub async fn with_clock_off(shim: &Path, seconds: i64) -> Self {
        let shim = shim.to_str().expect("a path of text").to_owned();
        Self::start_in(vec![("LD_PRELOAD", shim), ("CLOCK_OFF_S", seconds.to_string())]).await
    }

    async fn start_in(env: Vec<(&'static str, String)>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let process = launch(&dir, port, "noeviction", &env);
        let server = Self { url: format!("redis://127.0.0.1:{port}/"), port, process, dir, env };
        server.answers().await;
        server
    }

    /// Kills it (-9), and starts it again on what it had written.
    pub async fn crash(&mut self) {
        self.restart("noeviction").await;
    }

    /// Likewise, with this maxmemory-policy.
    pub async fn restart(&mut self, policy: &str) {
        self.process.kill().await.expect("a running server");
        self.process = launch(&self.dir, self.port, policy, &self.env);
        self.answers().await;
    }

    /// A connection of the test's own.
    pub async fn link(&self) -> Redis {
        plumbing::connect(&self.url.clone().into()).await.expect("a server that answers")
    }

    /// Sends one command; its words are separated by spaces.
    pub async fn say(&self, line: &str) {
        let mut command = redis::Cmd::new();
        for word in line.split(' ') {
            command.arg(word);
        }
        command.query_async::<()>(&mut self.link().await.link()).await.expect("an OK");
    }

    /// Every key with its serialised value.
    pub async fn everything(&self) -> BTreeMap<String, Vec<u8>> {
        let mut link = self.link().await.link();
        let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut link).await.expect("keys");
        let mut all = BTreeMap::new();
        for key in keys {
            let value = redis::cmd("DUMP").arg(&key).query_async(&mut link).await.expect("a value");
            all.insert(key, value);
        }
        all
    }

    /// Waits until it has answered a client with this error.
    pub async fn has_refused(&self, error: &str) {
        let refused = async {
            let mut link = self.link().await.link();
            let mut tick = interval(Duration::from_millis(5));
            loop {
                tick.tick().await;
                let told: String =
                    redis::cmd("INFO").arg("errorstats").query_async(&mut link).await.expect("figures");
                if told.contains(&format!("errorstat_{error}:")) {
                    return;
                }
            }
        };
        timeout(Duration::from_secs(20), refused).await.expect("a refusal");
    }

    async fn answers(&self) {
        let ready = async {
            let mut tick = interval(Duration::from_millis(20));
            loop {
                tick.tick().await;
                // While it loads its file, it answers with an error.
                if let Ok(redis) = plumbing::connect(&self.url.clone().into()).await
                    && redis.time_ms().await.is_ok()
                {
                    return;
                }
            }
        };
        timeout(Duration::from_secs(20), ready).await.expect("a server that answers");
    }
}

fn launch(dir: &TempDir, port: u16, policy: &str, env: &[(&'static str, String)]) -> Child {
    let start = |program: &str| {
        Command::new(program)
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--daemonize", "no", "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", "always"])
            .args(["--maxmemory-policy", policy, "--dir"])
            .arg(dir.path())
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
    };
    start("redis-server").or_else(|_| start("valkey-server")).expect("redis-server, or valkey-server")
}

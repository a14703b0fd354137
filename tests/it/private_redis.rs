//! A private Redis that a test may fill, demote and kill.

use paceline::redis::{self as plumbing, Redis};
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
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
    args: Vec<String>,
    env: Vec<(&'static str, String)>,
}

impl PrivateRedis {
    /// Starts one that persists every write and evicts nothing.
    pub async fn start() -> Self {
        Self::start_with(&[], Vec::new()).await
    }

    /// Likewise, with these arguments more.
    pub async fn with(args: &[&str]) -> Self {
        Self::start_with(args, Vec::new()).await
    }

    /// Likewise, with a clock that is so many seconds off, by a library from [`crate::wrong_clock::shim`].
    pub async fn with_clock_off(shim: &Path, seconds: i64) -> Self {
        let shim = shim.to_str().expect("a path of text").to_owned();
        Self::start_with(&[], vec![("LD_PRELOAD", shim), ("CLOCK_OFF_S", seconds.to_string())]).await
    }

    async fn start_with(args: &[&str], env: Vec<(&'static str, String)>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let port = free_port();
        let args = args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
        let process = launch(&dir, port, "noeviction", &args, &env);
        let server = Self { url: format!("redis://127.0.0.1:{port}/"), port, process, dir, args, env };
        server.answers().await;
        server
    }

    /// Starts it again after [`Self::kill`], on what it had written.
    pub async fn revive(&mut self) {
        self.process = launch(&self.dir, self.port, "noeviction", &self.args, &self.env);
        self.answers().await;
    }

    /// Kills it (-9) for good.
    pub async fn kill(&mut self) {
        self.process.kill().await.expect("a running server");
    }

    /// Not after [`PrivateRedis::kill`].
    pub fn is_running(&self) -> bool {
        self.process.id().is_some()
    }

    /// Kills it (-9), and starts it again on what it had written.
    pub async fn crash(&mut self) {
        self.restart("noeviction").await;
    }

    /// Likewise, with this maxmemory-policy.
    pub async fn restart(&mut self, policy: &str) {
        self.process.kill().await.expect("a running server");
        self.process = launch(&self.dir, self.port, policy, &self.args, &self.env);
        self.answers().await;
    }

    /// A connection of the test's own.
    pub async fn link(&self) -> Redis {
        plumbing::connect(&self.url.clone().into()).await.expect("a server that answers")
    }

    /// Sends one command; its words are separated by spaces.
    pub async fn say(&self, line: &str) {
        self.ask::<redis::Value>(line).await;
    }

    /// Likewise, and returns the answer of this server, whatever cluster it belongs to.
    pub async fn ask<T: redis::FromRedisValue>(&self, line: &str) -> T {
        let mut command = redis::Cmd::new();
        for word in line.split(' ') {
            command.arg(word);
        }
        let mut connection = connect(&self.url).await.expect("a server that answers");
        command.query_async(&mut connection).await.unwrap_or_else(|error| panic!("{line}: {error}"))
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
                let figures: String =
                    redis::cmd("INFO").arg("errorstats").query_async(&mut link).await.expect("figures");
                if figures.contains(&format!("errorstat_{error}:")) {
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
                if let Ok(mut connection) = connect(&self.url).await
                    && redis::cmd("PING").query_async::<()>(&mut connection).await.is_ok()
                {
                    return;
                }
            }
        };
        timeout(Duration::from_secs(20), ready).await.expect("a server that answers");
    }
}

async fn connect(url: &str) -> redis::RedisResult<MultiplexedConnection> {
    // WAIT takes as long as it is given.
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(10)));
    redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await
}

/// A port that nobody uses right now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

/// Starts a program of Redis, or the one that Valkey has for it.
pub fn program(name: &str, configure: impl Fn(&mut Command)) -> Child {
    let start = |name: String| {
        let mut command = Command::new(name);
        configure(&mut command);
        command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true).spawn()
    };
    start(format!("redis-{name}")).or_else(|_| start(format!("valkey-{name}"))).expect("Redis or Valkey")
}

fn launch(dir: &TempDir, port: u16, policy: &str, args: &[String], env: &[(&'static str, String)]) -> Child {
    program("server", |command| {
        command
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--daemonize", "no", "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", "always"])
            .args(["--maxmemory-policy", policy, "--dir"])
            .arg(dir.path())
            .args(args)
            .envs(env.iter().map(|(name, value)| (name, value)));
    })
}

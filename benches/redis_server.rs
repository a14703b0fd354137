//! A temporary Redis used by one bench, so that its CPU and memory are the bench's alone.

use crate::Failed;
use paceline::redis::{self as plumbing, Redis};
use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::sleep;

/// A running server. Dropping this stops it.
pub struct RedisServer {
    /// `redis://127.0.0.1:…`
    pub url: String,
    /// The connection shared by the whole bench.
    pub redis: Redis,
    _process: Child,
    _dir: TempDir,
}

impl RedisServer {
    /// Starts a server without persistence on a free loopback port.
    pub async fn start() -> Result<Self, Failed> {
        let program = std::env::var("PACELINE_BENCH_REDIS").unwrap_or_else(|_| "redis-server".to_owned());
        let (dir, port) = (tempfile::tempdir()?, free_port()?);
        let process = Command::new(&program)
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--daemonize", "no"])
            .args(["--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction", "--dir"])
            .arg(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot run {program}: {error}; scripts/bench installs it"))?;
        let url = format!("redis://127.0.0.1:{port}/");
        let redis = connect(&url).await?;
        Ok(Self { url, redis, _process: process, _dir: dir })
    }

    /// CPU time of the main thread, which runs commands, s. Other threads free memory and close files.
    pub async fn cpu_s(&self) -> Result<f64, Failed> {
        let info = self.info("cpu").await?;
        Ok(number(&info, "used_cpu_user_main_thread")? + number(&info, "used_cpu_sys_main_thread")?)
    }

    /// CPU time of all threads, s.
    pub async fn cpu_all_threads_s(&self) -> Result<f64, Failed> {
        let info = self.info("cpu").await?;
        Ok(number(&info, "used_cpu_user")? + number(&info, "used_cpu_sys")?)
    }

    /// Memory used, bytes.
    pub async fn memory_bytes(&self) -> Result<f64, Failed> {
        number(&self.info("memory").await?, "used_memory")
    }

    async fn info(&self, section: &str) -> Result<String, Failed> {
        Ok(redis::cmd("INFO").arg(section).query_async(&mut self.redis.link()).await?)
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> Result<u16, Failed> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

async fn connect(url: &str) -> Result<Redis, Failed> {
    let mut tries = 0;
    loop {
        match plumbing::connect(&url.into()).await {
            Ok(redis) => return Ok(redis),
            Err(error) if tries == 100 => return Err(error.into()),
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
        tries += 1;
    }
}

fn number(info: &str, name: &str) -> Result<f64, Failed> {
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let text = line.ok_or_else(|| format!("this Redis does not report {name}"))?;
    Ok(text.trim().parse()?)
}

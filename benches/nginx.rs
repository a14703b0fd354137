//! The referee of `pace`: nginx's `limit_req` in front of the cloud. It counts for itself, and its log tells.

use crate::Failed;
use crate::redis_server::free_port;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::sleep;

/// A running nginx; it ends when this is dropped.
pub struct Referee {
    pub url: String,
    log: PathBuf,
    _process: Child,
    _dir: TempDir,
}

/// One request as it was judged.
#[derive(Debug, Clone, Copy)]
pub struct Judged {
    /// By the machine's clock, ms since the epoch.
    pub unix_ms: f64,
    pub status: u16,
}

impl Referee {
    /// In front of `upstream`: so many requests a second of everybody together, and so many early.
    pub async fn start(upstream: u16, rate: u32, burst: u32) -> Result<Self, Failed> {
        let (dir, port) = (tempfile::tempdir()?, free_port()?);
        std::fs::create_dir(dir.path().join("temp"))?;
        std::fs::write(dir.path().join("nginx.conf"), settings(port, upstream, rate, burst))?;
        let process = Command::new("nginx")
            .arg("-p")
            .arg(dir.path())
            .args(["-e", "error.log", "-c", "nginx.conf"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot run nginx: {error}; scripts/bench installs it"))?;
        for _ in 0..100 {
            if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                let (url, log) = (format!("http://127.0.0.1:{port}"), dir.path().join("access.log"));
                return Ok(Self { url, log, _process: process, _dir: dir });
            }
            sleep(Duration::from_millis(50)).await;
        }
        let told = std::fs::read_to_string(dir.path().join("error.log")).unwrap_or_default();
        Err(format!("nginx does not answer: {told}").into())
    }

    /// Everything so far. A line that is being written is left for the next time.
    pub fn judged(&self) -> Result<Vec<Judged>, Failed> {
        let text = std::fs::read_to_string(&self.log)?;
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let read = |line: &str| {
            let (at, status) = line.split_once(' ')?;
            Some(Judged { unix_ms: at.parse::<f64>().ok()? * 1000.0, status: status.parse().ok()? })
        };
        Ok(whole.lines().map(read).collect::<Option<_>>().ok_or("nginx's log cannot be read")?)
    }
}

/// One process in the foreground, every path relative to its own prefix: it needs no privileges and no system files.
fn settings(port: u16, upstream: u16, rate: u32, burst: u32) -> String {
    format!(
        "daemon off;
master_process off;
pid nginx.pid;
events {{}}
http {{
  client_body_temp_path temp/body;
  proxy_temp_path temp/proxy;
  fastcgi_temp_path temp/fastcgi;
  uwsgi_temp_path temp/uwsgi;
  scgi_temp_path temp/scgi;

  limit_req_zone $server_name zone=quota:1m rate={rate}r/s;
  limit_req_status 429;
  log_format judged '$msec $status';

  server {{
    listen 127.0.0.1:{port};
    server_name referee;
    access_log access.log judged;
    location / {{
      limit_req zone=quota burst={burst} nodelay;
      proxy_pass http://127.0.0.1:{upstream};
    }}
  }}
}}
"
    )
}

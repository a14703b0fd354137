//! The independent referee of `pace`: nginx with `limit_req` in front of the cloud. Its log says what it throttled.

use crate::Failed;
use crate::redis_server::free_port;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::sleep;

/// A running nginx. Dropping this stops it.
pub struct Referee {
    pub url: String,
    log: PathBuf,
    _process: Child,
    _dir: TempDir,
}

/// A request in nginx's log.
#[derive(Debug, Clone, Copy)]
pub struct LoggedRequest {
    /// ms since the epoch, by the machine's clock.
    pub unix_ms: f64,
    pub status: u16,
}

impl Referee {
    /// Starts nginx in front of `upstream` with a limit of `rate` requests per second in total and this burst.
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
        let log = std::fs::read_to_string(dir.path().join("error.log")).unwrap_or_default();
        Err(format!("nginx does not answer; its log: {log}").into())
    }

    /// All requests logged so far, without a line that is still being written.
    pub fn requests(&self) -> Result<Vec<LoggedRequest>, Failed> {
        let text = std::fs::read_to_string(&self.log)?;
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let read = |line: &str| {
            let (at, status) = line.split_once(' ')?;
            Some(LoggedRequest { unix_ms: at.parse::<f64>().ok()? * 1000.0, status: status.parse().ok()? })
        };
        Ok(whole
            .lines()
            .map(read)
            .collect::<Option<_>>()
            .ok_or("a line of nginx's log has an unknown format")?)
    }
}

/// One process in the foreground with all paths relative to its prefix, so that it needs no privileges or system files.
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
  log_format timed '$msec $status';

  server {{
    listen 127.0.0.1:{port};
    server_name referee;
    access_log access.log timed;
    location / {{
      limit_req zone=quota burst={burst} nodelay;
      proxy_pass http://127.0.0.1:{upstream};
    }}
  }}
}}
"
    )
}

//! A Redis for each thread of tests. One process runs one script at a time: with a server of all, tests that run at the
//! same time would wait for one another.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};

thread_local! {
    static SERVER: Server = Server::start();
}

/// The address of this thread's server, which ends with the thread.
pub fn url() -> String {
    SERVER.with(|server| format!("redis://127.0.0.1:{}/", server.port))
}

struct Server {
    port: u16,
    process: Child,
}

impl Server {
    fn start() -> Self {
        // Another process can be given the port before the server has it, which then ends.
        (0..5).find_map(|_| Self::try_start()).expect("Redis or Valkey: see scripts/test")
    }

    fn try_start() -> Option<Self> {
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr()).ok()?.port();
        let launch = |program| {
            let mut command = Command::new(program);
            command.args([
                "--bind",
                "127.0.0.1",
                "--port",
                &port.to_string(),
                "--save",
                "",
                "--appendonly",
                "no",
            ]);
            command.args(["--maxmemory-policy", "noeviction", "--dir", "/"]);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()
        };
        let process = launch("redis-server").or_else(|_| launch("valkey-server")).ok()?;
        let mut server = Self { port, process };
        let log = BufReader::new(server.process.stdout.take()?);
        log.lines().map_while(Result::ok).any(|line| line.contains("Ready to accept")).then_some(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

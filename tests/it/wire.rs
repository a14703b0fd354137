//! A TCP proxy in front of a server, whose connections can be cut or stalled.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Up,
    /// Connections are closed, new ones at once.
    Cut,
    /// Connections stay open, but no bytes pass.
    Held,
}

/// A proxy for one server.
pub struct Wire {
    port: u16,
    state: watch::Sender<State>,
}

impl Wire {
    /// Starts a proxy for the server of `url`.
    pub async fn to(url: &str) -> Self {
        let target = host_and_port(url).to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (state, watched) = watch::channel(State::Up);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, target.clone(), watched.clone()));
            }
        });
        Self { port, state }
    }

    /// The same URL through the proxy.
    pub fn reroute(&self, url: &str) -> String {
        url.replacen(host_and_port(url), &format!("127.0.0.1:{}", self.port), 1)
    }

    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    pub fn hold(&self) {
        self.state.send_replace(State::Held);
    }

    pub fn mend(&self) {
        self.state.send_replace(State::Up);
    }
}

async fn forward(mut client: TcpStream, target: String, mut state: watch::Receiver<State>) {
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    loop {
        let now = *state.borrow_and_update();
        tokio::select! {
            // Dropped when the wire is held: bytes read but not yet written are lost, as on a real network.
            _ = copy_bidirectional(&mut client, &mut server), if now == State::Up => return,
            changed = state.changed(), if now != State::Cut => if changed.is_err() { return },
            else => return,
        }
    }
}

/// `host:port` of `scheme://user@host:port/name`.
fn host_and_port(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    rest.split('/').next().unwrap_or(rest)
}

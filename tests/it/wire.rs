//! A TCP proxy in front of a server, whose connections can be slow, cut or stalled.

use futures::future::join;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, copy_bidirectional, sink};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// Which bytes a black hole swallows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Lost {
    Requests,
    Responses,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Up,
    /// Connections are closed, new ones at once.
    Cut,
    /// Connections stay open, but no bytes pass.
    Held,
    /// Connections stay open, and bytes in this direction are lost: for good, on those that are open now.
    Silent(Lost),
}

/// A proxy for one server.
pub struct Wire {
    port: u16,
    state: watch::Sender<State>,
    target: Arc<Mutex<String>>,
}

impl Wire {
    /// Starts a proxy for the server of `url`.
    pub async fn to(url: &str) -> Self {
        Self::far(url, Duration::ZERO).await
    }

    /// Likewise, with a round trip that takes this much longer.
    pub async fn far(url: &str, round_trip: Duration) -> Self {
        let target = Arc::new(Mutex::new(host_and_port(url).to_owned()));
        let leads_to = target.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (state, watched) = watch::channel(State::Up);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(
                    client,
                    leads_to.lock().unwrap().clone(),
                    watched.clone(),
                    round_trip / 2,
                ));
            }
        });
        Self { port, state, target }
    }

    /// The same URL through the proxy.
    pub fn reroute(&self, url: &str) -> String {
        url.replacen(host_and_port(url), &format!("127.0.0.1:{}", self.port), 1)
    }

    /// Leads new connections to another server, as a failover does; those that are open stay where they are.
    pub fn lead_to(&self, url: &str) {
        *self.target.lock().unwrap() = host_and_port(url).to_owned();
    }

    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    pub fn hold(&self) {
        self.state.send_replace(State::Held);
    }

    /// As a firewall that forgot its connections: nothing tells either end.
    pub fn silence(&self, lost: Lost) {
        self.state.send_replace(State::Silent(lost));
    }

    pub fn mend(&self) {
        self.state.send_replace(State::Up);
    }
}

async fn forward(mut client: TcpStream, target: String, mut state: watch::Receiver<State>, delay: Duration) {
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    if delay > Duration::ZERO {
        let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        join(carry(from_client, to_server, delay), carry(from_server, to_client, delay)).await;
        return;
    }
    loop {
        let now = *state.borrow_and_update();
        if let State::Silent(lost) = now {
            return swallow(client, server, lost).await;
        }
        tokio::select! {
            // Dropped when the wire is held: bytes read but not yet written are lost, as on a real network.
            _ = copy_bidirectional(&mut client, &mut server), if now == State::Up => return,
            changed = state.changed(), if now != State::Cut => if changed.is_err() { return },
            else => return,
        }
    }
}

/// Passes on all bytes, each this much later, until the sender closes.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    let (sent, mut on_their_way) = mpsc::unbounded_channel();
    let receive = async move {
        let mut buffer = vec![0; 65_536];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            if sent.send((Instant::now() + delay, buffer[..length].to_vec())).is_err() {
                return;
            }
        }
    };
    let deliver = async move {
        while let Some((at, bytes)) = on_their_way.recv().await {
            sleep_until(at).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    join(receive, deliver).await;
}

/// Ends when both ends have closed.
async fn swallow(client: TcpStream, server: TcpStream, lost: Lost) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut nowhere = (sink(), sink());
    let _ = match lost {
        Lost::Requests => {
            join(copy(&mut from_client, &mut nowhere.0), copy(&mut from_server, &mut to_client)).await
        }
        Lost::Responses => {
            join(copy(&mut from_client, &mut to_server), copy(&mut from_server, &mut nowhere.1)).await
        }
    };
}

/// `host:port` of `scheme://user@host:port/name`.
fn host_and_port(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    rest.split('/').next().unwrap_or(rest)
}

//! Connections to Redis that are given up once they fall silent.
//!
//! A connection that the other end closed is known at once. One that a firewall forgot, or whose server lost its
//! network, stays open for minutes and answers nothing: the driver keeps it.

use futures::StreamExt;
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig, PubSubSink, PubSubStream};
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    Client, Cmd, ErrorKind, IntoConnectionInfo, Msg, Pipeline, RedisFuture, RedisResult, ServerErrorKind,
    Value,
};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, interval_at, timeout};

/// How long a command may take.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a subscription that receives nothing asks whether the server is still there.
const PING_EVERY: Duration = Duration::from_secs(5);

/// Small commands are sent at once. The kernel gives up a connection whose peer acknowledges nothing.
fn tcp_settings() -> TcpSettings {
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(10)).with_interval(Duration::from_secs(3));
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    let settings = settings.set_user_timeout(Duration::from_secs(10));
    settings
}

/// A client of the server at `url`, with our settings of TCP.
pub(super) fn client(url: &str) -> RedisResult<Client> {
    Client::open(url.into_connection_info()?.set_tcp_settings(tcp_settings()))
}

/// The connection that all clones share, for commands and pipelines. Reconnects by itself.
#[derive(Clone)]
pub struct Link {
    client: Client,
    current: watch::Sender<Current>,
}

#[derive(Clone)]
struct Current {
    /// How many came before it.
    number: u64,
    manager: ConnectionManager,
}

impl Link {
    pub(super) async fn connect(client: Client) -> RedisResult<Self> {
        let manager = ConnectionManager::new_with_config(client.clone(), config()).await?;
        Ok(Self { client, current: watch::Sender::new(Current { number: 0, manager }) })
    }

    /// Replaces the connection that a command failed on, if only another one can do better. Commands that wait on it
    /// still may be answered.
    fn replace_after<T>(&self, number: u64, result: &RedisResult<T>) {
        let Err(error) = result else { return };
        let why = match error.kind() {
            _ if error.is_timeout() => "no answer in time",
            // The server became a replica: its successor has the address, or will have it.
            ErrorKind::Server(ServerErrorKind::ReadOnly) => "the server takes no writes",
            _ => return,
        };
        self.replace(number, why);
    }

    /// Replaces the connection: the server became a replica, and its successor has the address, or will have it.
    pub(super) fn leave(&self, why: &str) {
        let number = self.current.borrow().number;
        self.replace(number, why);
    }

    fn replace(&self, number: u64, why: &str) {
        // Connects with the next command.
        let Ok(manager) = ConnectionManager::new_lazy_with_config(self.client.clone(), config()) else {
            return;
        };
        let replaced = self.current.send_if_modified(|current| {
            let is_same = current.number == number;
            if is_same {
                *current = Current { number: number + 1, manager };
            }
            is_same
        });
        if replaced {
            tracing::warn!(why, "gave up a connection to Redis; opening another");
        }
    }
}

/// Short waits: callers have retries of their own, and a reader would rather ask Postgres than wait.
fn config() -> ConnectionManagerConfig {
    ConnectionManagerConfig::new()
        .set_number_of_retries(2)
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT))
}

impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let Current { number, mut manager } = self.current.borrow().clone();
            let result = manager.req_packed_command(cmd).await;
            self.replace_after(number, &result);
            result
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let Current { number, mut manager } = self.current.borrow().clone();
            let result = manager.req_packed_commands(pipeline, offset, count).await;
            self.replace_after(number, &result);
            result
        })
    }

    fn get_db(&self) -> i64 {
        self.current.borrow().manager.get_db()
    }
}

/// Messages of channels, until the connection is lost or silent.
pub struct Subscription {
    sink: PubSubSink,
    messages: PubSubStream,
    ping: Interval,
}

impl Subscription {
    pub(super) async fn open(client: &Client, channels: &[String]) -> RedisResult<Self> {
        let opened = async {
            let mut pubsub = client.get_async_pubsub().await?;
            pubsub.subscribe(channels).await?;
            Ok(pubsub.split())
        };
        let silent = || redis::RedisError::from((ErrorKind::Io, "no answer in time"));
        let (sink, messages) = timeout(CONNECT_TIMEOUT, opened).await.unwrap_or_else(|_| Err(silent()))?;
        Ok(Self { sink, messages, ping: interval_at(Instant::now() + PING_EVERY, PING_EVERY) })
    }

    /// The next message; none once the connection is lost or a ping is not answered.
    pub async fn next(&mut self) -> Option<Msg> {
        loop {
            tokio::select! {
                message = self.messages.next() => return message,
                _ = self.ping.tick() => {
                    let pong = timeout(CONNECT_TIMEOUT, self.sink.ping::<Value>()).await;
                    if !matches!(pong, Ok(Ok(_))) {
                        return None;
                    }
                }
            }
        }
    }
}

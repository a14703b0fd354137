//! Connections to Redis that are given up once they fall silent.
//!
//! A connection that the other end closed is known at once. One that a firewall forgot, or whose server lost its
//! network, stays open for minutes and answers nothing: the driver keeps it.

use super::address::{Address, Sentinels, tcp_settings};
use super::cluster::{self, Nodes};
use futures::{FutureExt, StreamExt};
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig, PubSubSink, PubSubStream};
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
use redis::{
    Client, Cmd, ErrorKind, InfoDict, Msg, Pipeline, RedisError, RedisFuture, RedisResult, ServerErrorKind,
    Value,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, OnceCell, watch};
use tokio::time::{Instant, Interval, interval_at, timeout};

/// How long a command may take.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a subscription that receives nothing asks whether the server is still there.
const PING_EVERY: Duration = Duration::from_secs(5);
/// All nodes of a cluster are connected to anew, so one that is silent must not cause it with every command.
const REPLACE_CLUSTER_EVERY: Duration = Duration::from_secs(10);

/// Where connections lead.
enum Origin {
    One(Client),
    /// Asked for the primary with every new connection.
    Sentinels(Mutex<SentinelClient>),
    Cluster(Nodes),
}

impl Origin {
    fn sentinels(asked: Sentinels) -> RedisResult<Self> {
        let mut login = SentinelNodeConnectionInfo::default()
            .set_redis_connection_info(asked.primary)
            .set_tcp_settings(tcp_settings());
        if let Some(tls) = asked.tls {
            login = login.set_tls_mode(tls);
        }
        let client = SentinelClient::build(asked.nodes, asked.name, Some(login), SentinelServerType::Master)?;
        Ok(Self::Sentinels(Mutex::new(client)))
    }

    /// A client of the server for commands, or of a node.
    async fn client(&self) -> RedisResult<Client> {
        match self {
            Self::One(client) => Ok(client.clone()),
            Self::Sentinels(sentinels) => {
                in_time(async { sentinels.lock().await.async_get_client().await }).await
            }
            Self::Cluster(nodes) => nodes.one(),
        }
    }

    async fn connect(&self) -> RedisResult<Connection> {
        match self {
            Self::Cluster(nodes) => nodes.connect(RESPONSE_TIMEOUT).await.map(Connection::Cluster),
            // Connects with the first command.
            Self::One(_) | Self::Sentinels(_) => {
                ConnectionManager::new_lazy_with_config(self.client().await?, config()).map(Connection::One)
            }
        }
    }
}

async fn in_time<T>(opened: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    timeout(CONNECT_TIMEOUT, opened).await.unwrap_or_else(|_| Err(silent()))
}

fn silent() -> RedisError {
    RedisError::from((ErrorKind::Io, "no answer in time"))
}

/// Either reconnects by itself where only the connection is lost.
#[derive(Clone)]
enum Connection {
    One(ConnectionManager),
    Cluster(ClusterConnection),
}

/// The connection that all clones share, for commands and pipelines. Reconnects by itself.
#[derive(Clone)]
pub struct Link {
    origin: Arc<Origin>,
    current: watch::Sender<Current>,
}

#[derive(Clone)]
struct Current {
    /// How many came before it.
    number: u64,
    since: Instant,
    /// Opened by whoever needs it first.
    connection: Arc<OnceCell<Connection>>,
}

impl Current {
    fn new(number: u64) -> Self {
        Self { number, since: Instant::now(), connection: Arc::default() }
    }
}

impl Link {
    pub(super) async fn connect(address: Address) -> RedisResult<Self> {
        let origin = match address {
            Address::One(info) => {
                let link = Self::open(Origin::One(Client::open(info.clone())?)).await?;
                match link.infos().await?.iter().any(|(_, about)| is_cluster(about)) {
                    true => Origin::Cluster(Nodes::new(vec![info])),
                    false => return Ok(link),
                }
            }
            Address::Nodes(nodes) => Origin::Cluster(Nodes::new(nodes)),
            Address::Sentinels(asked) => Origin::sentinels(asked)?,
        };
        Self::open(origin).await
    }

    async fn open(origin: Origin) -> RedisResult<Self> {
        let link = Self { origin: Arc::new(origin), current: watch::Sender::new(Current::new(0)) };
        redis::cmd("PING").query_async::<()>(&mut link.clone()).await?;
        Ok(link)
    }

    /// What the server reports of itself, or each primary of the cluster that answers, by address.
    pub(super) async fn infos(&self) -> RedisResult<Vec<(String, InfoDict)>> {
        let (number, connection) = self.connection().await?;
        let found = match (connection, &*self.origin) {
            (Connection::Cluster(connection), Origin::Cluster(nodes)) => nodes.infos(&connection).await,
            // All sections: a server older than Redis 7 refuses to be asked for several.
            _ => redis::cmd("INFO")
                .query_async(&mut self.clone())
                .await
                .map(|info| vec![(String::new(), info)]),
        };
        self.replace_after(number, &found);
        found
    }

    async fn connection(&self) -> RedisResult<(u64, Connection)> {
        let Current { number, connection, .. } = self.current.borrow().clone();
        // Boxed: its type is deep. Callers may also have waited for others that tried.
        let opened = connection.get_or_try_init(|| self.origin.connect().boxed());
        let opened = timeout(RESPONSE_TIMEOUT, opened).await.unwrap_or_else(|_| Err(silent()))?;
        Ok((number, opened.clone()))
    }

    /// Replaces the connection that a command failed on, if only another one can do better. Commands that wait on it
    /// still may be answered.
    fn replace_after<T>(&self, number: u64, result: &RedisResult<T>) {
        let Err(error) = result else { return };
        let asks_sentinels = matches!(*self.origin, Origin::Sentinels(_));
        let why = match error.kind() {
            _ if error.is_timeout() => "no answer in time",
            // The server became a replica: its successor has the address, or will have it.
            ErrorKind::Server(ServerErrorKind::ReadOnly) => "the server takes no writes",
            // It may be dead for good, and another the primary.
            _ if asks_sentinels && error.is_io_error() => "the primary is gone",
            ErrorKind::ClusterConnectionNotFound => "no node of the cluster answers",
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
        let is_cluster = matches!(*self.origin, Origin::Cluster(_));
        let replaced = self.current.send_if_modified(|current| {
            let is_young = is_cluster && current.since.elapsed() < REPLACE_CLUSTER_EVERY;
            let is_to_go = current.number == number && !is_young;
            if is_to_go {
                *current = Current::new(number + 1);
            }
            is_to_go
        });
        if replaced {
            tracing::warn!(why, "gave up a connection to Redis; opening another");
        }
    }
}

fn is_cluster(info: &InfoDict) -> bool {
    info.get::<u8>("cluster_enabled") == Some(1)
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
            let (number, connection) = self.connection().await?;
            let result = match connection {
                Connection::One(mut manager) => manager.req_packed_command(cmd).await,
                Connection::Cluster(mut cluster) => cluster.req_packed_command(cmd).await,
            };
            self.replace_after(number, &result);
            result
        })
    }

    /// On a cluster, only for pipelines that are no transaction.
    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let (number, connection) = self.connection().await?;
            let result = match connection {
                Connection::One(mut manager) => manager.req_packed_commands(pipeline, offset, count).await,
                Connection::Cluster(cluster) => cluster::pipeline(&cluster, pipeline).await,
            };
            self.replace_after(number, &result);
            result
        })
    }

    fn get_db(&self) -> i64 {
        match self.current.borrow().connection.get() {
            Some(Connection::One(manager)) => manager.get_db(),
            Some(Connection::Cluster(_)) | None => 0,
        }
    }
}

/// Messages of channels, until the connection is lost or silent, or the one for commands was given up: a server that
/// became a replica may go on to answer pings and pass on nothing.
pub struct Subscription {
    sink: PubSubSink,
    messages: PubSubStream,
    ping: Interval,
    commands: watch::Receiver<Current>,
}

impl Subscription {
    pub(super) async fn open(link: &Link, channels: &[String]) -> RedisResult<Self> {
        let commands = link.current.subscribe();
        let client = link.origin.client().await?;
        let (sink, messages) = in_time(async {
            let mut pubsub = client.get_async_pubsub().await?;
            pubsub.subscribe(channels).await?;
            Ok(pubsub.split())
        })
        .await?;
        Ok(Self { sink, messages, ping: interval_at(Instant::now() + PING_EVERY, PING_EVERY), commands })
    }

    /// A message that is here already.
    pub fn ready(&mut self) -> Option<Msg> {
        self.messages.next().now_or_never().flatten()
    }

    /// Listens to one more channel. An error: the connection is lost.
    pub async fn add(&mut self, channel: &str) -> RedisResult<()> {
        in_time(self.sink.subscribe(channel)).await
    }

    /// Listens to a channel no more. An error: the connection is lost.
    pub async fn remove(&mut self, channel: &str) -> RedisResult<()> {
        in_time(self.sink.unsubscribe(channel)).await
    }

    /// The next message; none once the connection is lost, a ping is not answered or commands go elsewhere.
    pub async fn next(&mut self) -> Option<Msg> {
        loop {
            tokio::select! {
                message = self.messages.next() => return message,
                // An error: the link is gone, and with it whoever would replace it.
                Ok(()) = self.commands.changed() => return None,
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

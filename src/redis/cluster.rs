//! What a cluster needs beside routing by keys, which the driver does: pipelines over several slots, and questions to
//! each primary.

use super::address::tcp_settings;
use futures::StreamExt;
use futures::future::{join_all, try_join_all};
use futures::stream::FuturesUnordered;
use redis::aio::ConnectionLike;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, InfoDict, Pipeline, RedisError,
    RedisResult, Value, from_redis_value,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How often a command is repeated while its slot moves or its node is replaced.
const RETRIES: u32 = 4;
/// How long a node may take to be connected to.
const NODE_TIMEOUT: Duration = Duration::from_secs(2);
/// How much longer than the first the others may take to answer.
const OTHERS_TIMEOUT: Duration = Duration::from_millis(300);

/// The nodes of a cluster, as far as they are known.
pub(super) struct Nodes {
    seeds: Vec<ConnectionInfo>,
    /// The primaries when they were last asked: seeds may be gone for good.
    primaries: Mutex<BTreeSet<(String, u16)>>,
    /// Which is used for the next subscription.
    next: AtomicUsize,
}

impl Nodes {
    pub fn new(seeds: Vec<ConnectionInfo>) -> Self {
        Self { seeds, primaries: Mutex::default(), next: AtomicUsize::new(0) }
    }

    /// All of them. They share their login, and whether they use TLS.
    fn all(&self) -> Vec<ConnectionInfo> {
        let primaries = self.primaries.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = self.seeds.clone();
        let Some(seed) = self.seeds.first() else { return all };
        for (host, port) in primaries.iter() {
            let mut addr = seed.addr().clone();
            if let ConnectionAddr::Tcp(h, p) | ConnectionAddr::TcpTls { host: h, port: p, .. } = &mut addr {
                (*h, *p) = (host.clone(), *port);
            }
            if !all.iter().any(|node| *node.addr() == addr) {
                all.push(seed.clone().set_addr(addr));
            }
        }
        all
    }

    /// A client of one of them: every message reaches all nodes, so any will do for subscriptions.
    pub fn one(&self) -> RedisResult<Client> {
        let all = self.all();
        Client::open(all[self.next.fetch_add(1, Ordering::Relaxed) % all.len()].clone())
    }

    /// Connects by those that answer. The driver waits for each that it is given, whenever it has lost a node; all
    /// others wait meanwhile.
    pub async fn connect(&self, response_timeout: Duration) -> RedisResult<ClusterConnection> {
        ClusterClientBuilder::new(answering(self.all()).await?)
            .tcp_settings(tcp_settings())
            .connection_timeout(NODE_TIMEOUT)
            .response_timeout(response_timeout)
            .overall_response_timeout(Some(response_timeout))
            .retries(RETRIES)
            .build()?
            .get_async_connection()
            .await
    }

    /// What each primary that answers reports of itself, by address. An error if none does.
    pub async fn infos(&self, connection: &ClusterConnection) -> RedisResult<Vec<(String, InfoDict)>> {
        let found = primaries(connection).await?;
        self.primaries.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&found);
        infos(connection, found).await
    }
}

/// Those of the nodes that answer about as soon as the first that does.
async fn answering(nodes: Vec<ConnectionInfo>) -> RedisResult<Vec<ConnectionInfo>> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(NODE_TIMEOUT))
        .set_response_timeout(Some(NODE_TIMEOUT));
    let ask = async |node: ConnectionInfo| {
        let client = Client::open(node.clone())?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        redis::cmd("PING").query_async::<()>(&mut connection).await?;
        Ok::<_, RedisError>(node)
    };
    let mut asked: FuturesUnordered<_> = nodes.into_iter().map(ask).collect();
    let (mut found, mut failed) = (Vec::new(), None);
    let mut deadline = Instant::now() + 2 * NODE_TIMEOUT;
    while let Ok(Some(answer)) = timeout_at(deadline, asked.next()).await {
        match answer {
            Ok(node) => {
                found.push(node);
                deadline = deadline.min(Instant::now() + OTHERS_TIMEOUT);
            }
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found),
    }
}

/// Executes a pipeline whose keys lie in several slots: the commands of each hash tag in a pipeline of their own, all
/// at once. Responses are in the order of the commands.
pub(super) async fn pipeline(connection: &ClusterConnection, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
    let parts = split(pipeline);
    let answers = try_join_all(parts.values().map(|(_, part)| {
        let mut connection = connection.clone();
        async move { connection.req_packed_commands(part, 0, part.len()).await }
    }));
    let mut values = vec![Value::Nil; pipeline.len()];
    for ((places, _), answers) in parts.values().zip(answers.await?) {
        for (place, answer) in places.iter().zip(answers) {
            values[*place] = answer;
        }
    }
    Ok(values)
}

/// By hash tag: the places of its commands, and the commands. A command without a key (SCRIPT LOAD) goes to all.
fn split(pipeline: &Pipeline) -> BTreeMap<Vec<u8>, (Vec<usize>, Pipeline)> {
    let tags: Vec<_> = pipeline.cmd_iter().map(|command| key(command).map(tag)).collect();
    let mut parts: BTreeMap<Vec<u8>, (Vec<usize>, Pipeline)> =
        tags.iter().flatten().map(|tag| (tag.to_vec(), <_>::default())).collect();
    if parts.is_empty() {
        parts.insert(Vec::new(), <_>::default());
    }
    for (place, (command, of)) in pipeline.cmd_iter().zip(tags).enumerate() {
        for (tag, (places, part)) in &mut parts {
            if of.is_none_or(|of| of == tag.as_slice()) {
                places.push(place);
                part.add_command(command.clone());
            }
        }
    }
    parts
}

/// The first key of a command of ours.
fn key(command: &Cmd) -> Option<&[u8]> {
    let mut words = command.args_iter().filter_map(|word| match word {
        redis::Arg::Simple(word) => Some(word),
        _ => None,
    });
    match words.next()? {
        b"SCRIPT" | b"TIME" | b"PING" | b"INFO" => None,
        b"EVAL" | b"EVALSHA" => words.nth(2),
        _ => words.next(),
    }
}

/// The part of a key that says in which slot it lies: what is within the first braces, or else all of it.
fn tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|byte| *byte == b'{') else { return key };
    match key[open + 1..].iter().position(|byte| *byte == b'}') {
        Some(length) if length > 0 => &key[open + 1..open + 1 + length],
        _ => key,
    }
}

async fn primaries(connection: &ClusterConnection) -> RedisResult<BTreeSet<(String, u16)>> {
    let slots: Vec<Vec<Value>> =
        redis::cmd("CLUSTER").arg("SLOTS").query_async(&mut connection.clone()).await?;
    Ok(slots.iter().filter_map(|range| primary(range)).collect())
}

async fn infos(
    connection: &ClusterConnection,
    primaries: BTreeSet<(String, u16)>,
) -> RedisResult<Vec<(String, InfoDict)>> {
    let reports = join_all(primaries.into_iter().map(|(host, port)| {
        let (mut connection, at) = (connection.clone(), format!("{host}:{port}"));
        let node = RoutingInfo::SingleNode(SingleNodeRoutingInfo::ByAddress { host, port });
        async move {
            let value = connection.route_command(redis::cmd("INFO"), node).await?;
            Ok::<_, RedisError>((at, from_redis_value::<InfoDict>(value)?))
        }
    }))
    .await;
    let (mut found, mut failed) = (Vec::new(), None);
    for report in reports {
        match report {
            Ok(report) => found.push(report),
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found),
    }
}

/// `[first slot, last slot, [host, port, …], replicas…]` → host and port.
fn primary(range: &[Value]) -> Option<(String, u16)> {
    let Value::Array(node) = range.get(2)? else { return None };
    let host = from_redis_value(node.first()?.clone()).ok()?;
    Some((host, from_redis_value(node.get(1)?.clone()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_is_what_the_first_braces_hold() {
        for (key, expected) in
            [("p:{a}:due", "a"), ("{t1}:d:{2}", "t1"), ("plain", "plain"), ("{}x", "{}x"), ("{open", "{open")]
        {
            assert_eq!(tag(key.as_bytes()), expected.as_bytes(), "{key}");
        }
    }

    #[test]
    fn pipeline_is_split_by_tag_and_commands_without_a_key_go_to_all() {
        let mut whole = redis::pipe();
        whole.load_script(&redis::Script::new("return 1"));
        whole.hgetall("{a}:1").cmd("EVALSHA").arg("abc").arg(1).arg("{b}:1").arg("x").hgetall("{a}:2");
        let parts: Vec<_> =
            split(&whole).into_iter().map(|(tag, (places, part))| (tag, places, part.len())).collect();
        assert_eq!(parts, [(b"a".to_vec(), vec![0, 1, 3], 3), (b"b".to_vec(), vec![0, 2], 2)]);
    }
}

//! Six nodes on loopback: three primaries, and a replica of each.

use crate::private_redis::{PrivateRedis, free_port, program};
use futures::future::join_all;
use std::net::TcpListener;
use std::time::Duration;
use tokio::time::{interval, sleep, timeout};

const PRIMARIES: usize = 3;

pub struct Cluster {
    pub nodes: Vec<PrivateRedis>,
    /// Accepts connections, and never answers.
    silent: TcpListener,
}

/// A line of CLUSTER NODES.
struct Line {
    port: u16,
    /// Not one that failed.
    is_primary: bool,
    /// It answers.
    is_well: bool,
    slots: Vec<(u16, u16)>,
}

impl Line {
    /// `<id> <host>:<port>@<bus port> <flags> <primary> <ping> <pong> <epoch> <link> <slots>…`
    fn read(line: &str) -> Self {
        let words: Vec<_> = line.split(' ').collect();
        let port = words[1].split(['@', ',']).next().and_then(|address| address.rsplit(':').next());
        let flags: Vec<_> = words[2].split(',').collect();
        let range = |word: &&str| {
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            Some((first.parse().ok()?, last.parse().ok()?))
        };
        Self {
            port: port.and_then(|port| port.parse().ok()).unwrap_or_default(),
            is_well: !flags.iter().any(|flag| flag.starts_with("fail")) && words[7] == "connected",
            is_primary: flags.contains(&"master") && !flags.contains(&"fail"),
            slots: words[8..].iter().filter_map(range).collect(),
        }
    }

    fn holds(&self, slot: u16) -> bool {
        self.is_primary && self.slots.iter().any(|(first, last)| (*first..=*last).contains(&slot))
    }
}

async fn node() -> PrivateRedis {
    let bus = free_port().to_string();
    // Not all or nothing: a slot that nobody holds concerns its own keys.
    let coverage = ["--cluster-require-full-coverage", "no", "--cluster-replica-validity-factor", "0"];
    let args = ["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "1000"];
    PrivateRedis::with(&[args.as_slice(), &coverage].concat()).await
}

impl Cluster {
    pub async fn start() -> Self {
        let nodes = join_all((0..2 * PRIMARIES).map(|_| node())).await;
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let cluster = Self { nodes, silent };
        let addresses = cluster.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port));
        let mut create = program("cli", |command| {
            command.args(["--cluster", "create"]).args(addresses.clone());
            command.args(["--cluster-replicas", "1", "--cluster-yes"]);
        });
        assert!(create.wait().await.unwrap().success());
        cluster.until("it is in order", |_| true).await;
        cluster
    }

    /// Adds a primary without slots.
    pub async fn add_node(&mut self) -> usize {
        let added = node().await;
        let bus: Vec<String> = self.nodes[0].ask("CONFIG GET cluster-port").await;
        added.say(&format!("CLUSTER MEET 127.0.0.1 {} {}", self.nodes[0].port, bus[1])).await;
        let port = added.port;
        self.nodes.push(added);
        self.until("all know the node", |lines| lines.iter().any(|line| line.port == port)).await;
        self.nodes.len() - 1
    }

    /// The first nodes; nobody listens at the first address, and nobody answers at the second.
    pub fn url(&self) -> String {
        let silent = self.silent.local_addr().unwrap();
        let [first, second] = [self.nodes[0].port, self.nodes[1].port];
        format!("redis://127.0.0.1:1,{silent},127.0.0.1:{first},127.0.0.1:{second}/")
    }

    pub async fn slot(&self, key: &str) -> u16 {
        self.alive()[0].ask(&format!("CLUSTER KEYSLOT {key}")).await
    }

    /// Which node holds the slot.
    pub async fn holder(&self, slot: u16) -> usize {
        let lines = lines(self.alive()[0]).await;
        let line = lines.iter().find(|line| line.holds(slot)).expect("a holder");
        self.nodes.iter().position(|node| node.port == line.port).expect("a node of ours")
    }

    /// Moves a slot as redis-cli does, and dwells half-way.
    pub async fn move_slot(&self, slot: u16, to: usize, dwell: Duration) {
        let from = self.holder(slot).await;
        let (source, target) = (&self.nodes[from], &self.nodes[to]);
        let source_id: String = source.ask("CLUSTER MYID").await;
        let target_id: String = target.ask("CLUSTER MYID").await;
        target.say(&format!("CLUSTER SETSLOT {slot} IMPORTING {source_id}")).await;
        source.say(&format!("CLUSTER SETSLOT {slot} MIGRATING {target_id}")).await;
        let keys: Vec<String> = source.ask(&format!("CLUSTER GETKEYSINSLOT {slot} 100000")).await;
        for (n, key) in keys.iter().enumerate() {
            if n == keys.len() / 2 {
                sleep(dwell).await;
            }
            source.say(&format!("MIGRATE 127.0.0.1 {} {key} 0 5000", target.port)).await;
        }
        for node in [target, source] {
            node.say(&format!("CLUSTER SETSLOT {slot} NODE {target_id}")).await;
        }
        let port = target.port;
        self.until("all know the new holder", |lines| {
            lines.iter().any(|line| line.port == port && line.holds(slot))
        })
        .await;
    }

    /// Kills the node that holds the slot. With a replica of its own, waits until that is promoted.
    pub async fn kill_holder(&mut self, slot: u16) {
        let held_by = self.holder(slot).await;
        let port = self.nodes[held_by].port;
        self.nodes[held_by].kill().await;
        self.until("a replica is promoted", |lines| {
            lines.iter().any(|line| line.port != port && line.holds(slot))
        })
        .await;
    }

    /// Kills the node that holds the slot, and its replicas before. Waits until the others know.
    pub async fn kill_holder_and_replicas(&mut self, slot: u16) {
        let holder = self.holder(slot).await;
        let id: String = self.nodes[holder].ask("CLUSTER MYID").await;
        let replicas: Vec<String> = self.nodes[holder].ask(&format!("CLUSTER REPLICAS {id}")).await;
        let replicas: Vec<_> = replicas.iter().map(|line| Line::read(line).port).collect();
        let port = self.nodes[holder].port;
        for node in &mut self.nodes {
            if replicas.contains(&node.port) || node.port == port {
                node.kill().await;
            }
        }
        self.until("nobody holds the slot", |lines| !lines.iter().any(|line| line.holds(slot))).await;
    }

    /// Whether the node that holds the slot has a replica that follows it.
    pub async fn has_replica(&self, slot: u16) -> bool {
        let holder = self.holder(slot).await;
        let id: String = self.nodes[holder].ask("CLUSTER MYID").await;
        let replicas: Vec<String> = self.nodes[holder].ask(&format!("CLUSTER REPLICAS {id}")).await;
        let ports: Vec<_> = replicas.iter().map(|line| Line::read(line).port).collect();
        for node in self.alive().into_iter().filter(|node| ports.contains(&node.port)) {
            let about: String = node.ask("INFO replication").await;
            if about.contains("master_link_status:up") {
                return true;
            }
        }
        false
    }

    /// A primary beside this node.
    pub async fn other_primary(&self, than: usize) -> usize {
        let lines = lines(&self.nodes[than]).await;
        let others = lines.iter().filter(|line| line.is_primary && line.port != self.nodes[than].port);
        let port = others.map(|line| line.port).min().expect("another primary");
        self.nodes.iter().position(|node| node.port == port).expect("a node of ours")
    }

    /// Starts nodes again that were killed; they come back as replicas.
    pub async fn restart_dead(&mut self) {
        for node in self.nodes.iter_mut().filter(|node| !node.is_running()) {
            node.revive().await;
        }
        let alive = self.nodes.len();
        self.until("all are back", |lines| lines.iter().filter(|line| line.is_well).count() == alive).await;
    }

    fn alive(&self) -> Vec<&PrivateRedis> {
        self.nodes.iter().filter(|node| node.is_running()).collect()
    }

    /// Waits until every node that lives sees it so, and finds the cluster in order.
    async fn until(&self, what: &str, is_so: impl Fn(&[Line]) -> bool) {
        let seen = async {
            let mut tick = interval(Duration::from_millis(50));
            for node in self.alive() {
                loop {
                    tick.tick().await;
                    let state: String = node.ask("CLUSTER INFO").await;
                    if state.contains("cluster_state:ok") && is_so(&lines(node).await) {
                        break;
                    }
                }
            }
        };
        timeout(Duration::from_secs(30), seen).await.unwrap_or_else(|_| panic!("not so in 30 s: {what}"));
    }
}

async fn lines(node: &PrivateRedis) -> Vec<Line> {
    let text: String = node.ask("CLUSTER NODES").await;
    text.lines().map(Line::read).collect()
}

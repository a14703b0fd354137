//! A Redis that persists what it writes, or a cluster.

use crate::cluster::Cluster;
use crate::private_redis::PrivateRedis;
use crate::support::TestApp;
use crate::wire::Wire;
use rand::RngExt;
use rand::rngs::StdRng;
use std::time::Duration;

pub struct RedisSide {
    url: String,
    kind: Kind,
}

enum Kind {
    One(Box<PrivateRedis>),
    Cluster(Box<Cluster>),
}

impl RedisSide {
    pub async fn start(chance: &mut StdRng) -> Self {
        if chance.random() {
            let cluster = Cluster::start().await;
            return Self { url: cluster.url(), kind: Kind::Cluster(Box::new(cluster)) };
        }
        let one = PrivateRedis::start().await;
        Self { url: one.url.clone(), kind: Kind::One(Box::new(one)) }
    }

    pub fn what(&self) -> &'static str {
        match self.kind {
            Kind::One(_) => "one Redis",
            Kind::Cluster(_) => "a Redis Cluster",
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// A way of one's own; none to a cluster, whose nodes tell their own addresses.
    pub async fn wire(&self) -> Option<Wire> {
        match self.kind {
            Kind::One(_) => Some(Wire::to(&self.url).await),
            Kind::Cluster(_) => None,
        }
    }

    /// Something happens to the server, or to the node that holds the schedule.
    pub async fn suffer(&mut self, chance: &mut StdRng, t: &TestApp) -> String {
        match &mut self.kind {
            Kind::One(server) if chance.random() => {
                server.crash().await;
                "Redis was killed, and started again".to_owned()
            }
            Kind::One(server) => {
                server.say("FLUSHALL").await;
                "Redis was emptied".to_owned()
            }
            Kind::Cluster(cluster) => {
                let slot = cluster.slot(&t.app.keys.anchor(&"garden".parse().unwrap())).await;
                if chance.random() && cluster.has_replica(slot).await {
                    cluster.kill_holder(slot).await;
                    cluster.restart_dead().await;
                    return "the node with the schedule was killed, and came back as a replica".to_owned();
                }
                let from = cluster.holder(slot).await;
                let to = cluster.other_primary(from).await;
                cluster.move_slot(slot, to, Duration::from_millis(chance.random_range(0..2_000))).await;
                "the schedule moved to another node".to_owned()
            }
        }
    }

    pub async fn mend(&mut self) {
        if let Kind::Cluster(cluster) = &mut self.kind {
            cluster.restart_dead().await;
        }
    }
}

//! Worker processes, each with a way of its own to Postgres.

use super::ms;
use super::redis_side::RedisSide;
use crate::crash::serving;
use crate::support::TestApp;
use crate::wire::{Lost, Wire};
use rand::RngExt;
use rand::rngs::StdRng;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

pub struct Workers {
    all: Vec<Worker>,
}

struct Worker {
    /// How it is started.
    command: Command,
    process: Child,
    postgres: Wire,
    /// To a Redis that is no cluster.
    redis: Option<Wire>,
    /// When what happened to its wires is over.
    cut_until: Option<Instant>,
}

impl Workers {
    /// `definitions`: the directory of the provider's definition.
    pub async fn start(
        t: &TestApp,
        postgres_url: &str,
        redis: &RedisSide,
        definitions: &Path,
        count: usize,
    ) -> Self {
        let mut all = Vec::new();
        for _ in 0..count {
            let postgres = Wire::to(postgres_url).await;
            let wire = redis.wire().await;
            let redis_url = wire.as_ref().map_or(redis.url().to_owned(), |wire| wire.reroute(redis.url()));
            let mut command = serving(
                t,
                &[
                    ("PACELINE__DATABASE__URL", &postgres.reroute(postgres_url)),
                    ("PACELINE__REDIS__URL", &redis_url),
                    ("PACELINE__DATABASE__CONNECTIONS_MAX", "8"),
                    ("PACELINE__SHUTDOWN__GRACE", "2s"),
                    ("PACELINE__PROVIDERS__DIR", definitions.to_str().unwrap()),
                    ("PACELINE__PROVIDERS__PRIVATE_NETWORKS", "garden"),
                ],
            );
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let process = command.spawn().unwrap();
            all.push(Worker { command, process, postgres, redis: wire, cut_until: None });
        }
        Self { all }
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn postgres(&self) -> impl Iterator<Item = &Wire> {
        self.all.iter().map(|worker| &worker.postgres)
    }

    fn one(&mut self, chance: &mut StdRng) -> (usize, &mut Worker) {
        let n = chance.random_range(0..self.all.len());
        (n, &mut self.all[n])
    }

    /// Kills one (-9). It is started again with the next step.
    pub async fn kill_one(&mut self, chance: &mut StdRng) -> String {
        let (n, worker) = self.one(chance);
        // It may have ended by itself.
        drop(worker.process.kill().await);
        format!("worker {n} was killed")
    }

    /// Stops one for a while; its leases may end meanwhile.
    pub async fn stop_one(&mut self, chance: &mut StdRng) -> String {
        let stopped = ms(chance, 200, 6_000);
        let (n, worker) = self.one(chance);
        let Some(pid) = worker.process.id() else { return format!("worker {n} had ended") };
        signal(pid, "-STOP").await;
        sleep(stopped).await;
        signal(pid, "-CONT").await;
        format!("worker {n} was stopped for {stopped:?}")
    }

    /// Cuts one off from a server, loudly or silently, for up to eight seconds.
    pub fn cut_one(&mut self, chance: &mut StdRng) -> String {
        let (how, lasts) = (chance.random_range(0..3), ms(chance, 500, 8_000));
        let of_redis = chance.random();
        let (n, worker) = self.one(chance);
        let wire = worker.redis.as_ref().filter(|_| of_redis).unwrap_or(&worker.postgres);
        match how {
            0 => wire.cut(),
            1 => wire.silence(Lost::Requests),
            _ => wire.silence(Lost::Responses),
        }
        worker.cut_until = Some(Instant::now() + lasts);
        let from = if of_redis && worker.redis.is_some() { "Redis" } else { "Postgres" };
        let how = ["loudly", "as requests are lost", "as responses are lost"][how];
        format!("worker {n} is cut off from {from} {how} for {lasts:?}")
    }

    /// Starts those that ended, and mends wires whose time has come.
    pub fn restart_dead(&mut self) {
        for worker in &mut self.all {
            if worker.cut_until.is_some_and(|until| until <= Instant::now()) {
                worker.mend();
            }
            if worker.process.try_wait().is_ok_and(|ended| ended.is_some()) {
                worker.process = worker.command.spawn().unwrap();
            }
        }
    }

    pub async fn mend(&mut self) {
        for worker in &mut self.all {
            worker.mend();
        }
        // One that is just starting may end because of what was.
        for _ in 0..10 {
            self.restart_dead();
            sleep(Duration::from_millis(300)).await;
        }
    }

    pub async fn end(mut self) {
        for worker in &mut self.all {
            drop(worker.process.kill().await);
        }
    }
}

impl Worker {
    fn mend(&mut self) {
        self.postgres.mend();
        if let Some(redis) = &self.redis {
            redis.mend();
        }
        self.cut_until = None;
    }
}

async fn signal(pid: u32, signal: &str) {
    drop(Command::new("kill").args([signal, &pid.to_string()]).status().await);
}

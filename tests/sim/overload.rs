//! Lasting overload: what each job gets is what progressive filling says.

use crate::chance::Chance;
use crate::owner::demand;
use crate::rig::{Rig, own_keys};
use crate::scenario::{T0, interval, name};
use paceline::pace::plan::plan;
use paceline::provider::Provider;
use paceline::schedule::{Entry, offset_ms};
use paceline::take::{Settlement, TakerSettings, Verdict};
use paceline::words::{ConnectionId, DeviceId, End, Job, JobId, JobState, Priority, TenantId, UnixMs};
use std::collections::BTreeMap;

/// How many runs the job with the fewest has while they are counted: one more or less is then less than a percent.
const RUNS: f64 = 60.0;

/// What is asked, and what is allowed.
pub struct Overload {
    text: String,
    jobs: Vec<Job>,
    weights: Vec<u32>,
    k: f64,
}

/// The worst of a run.
#[derive(Debug)]
pub struct Shares {
    pub worst: f64,
    pub job: String,
    pub calls: u64,
    /// The least share of what was asked that anybody gets.
    pub least: f64,
}

fn quota(name: &str, scope: &str, amount: i64, rest: &str) -> String {
    format!(
        "[[quota]]\nname = \"{name}\"\nscope = \"{scope}\"\namount = {amount}\nwindow = \"10s\"\nheadroom = 0.0\n{rest}"
    )
}

fn resource(name: &str, cost: u32) -> String {
    format!(
        "[resource.{name}]\ninterval_min = \"100ms\"\ninterval_default = \"1s\"\ncost = {cost}\npath = \"/\"\n\
         records = \".\"\n"
    )
}

/// The shapes of what is scarce.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scarce {
    /// One account's quota, with jobs of all priorities and intervals.
    Account,
    /// The application's, shared by accounts of different weights.
    App,
    /// Both.
    Both,
    /// An account's, shared by its homes.
    Homes,
    /// The application's for one resource, and accounts' for all.
    Resource,
    /// A part of the application's is kept for "refresh now".
    Reserve,
}

impl Overload {
    pub fn of(seed: u64, scarce: Scarce) -> Self {
        let mut chance = Chance::new(seed, scarce as u64);
        let accounts = if scarce == Scarce::Account { 1 } else { chance.within(2, 5) };
        let costs = scarce == Scarce::Both && chance.hits(0.5);
        let kinds = if scarce == Scarce::Resource || costs { 2 } else { 1 };
        let count = chance.within(60, 100) as usize;
        let mut jobs = Vec::new();
        for n in 0..count {
            let group =
                if scarce == Scarce::Homes { format!("home {}", chance.within(1, 3)) } else { String::new() };
            jobs.push(Job {
                id: JobId(n as i64 + 1),
                tenant: TenantId(1),
                provider: name(),
                connection: ConnectionId(1 + n as i64 % accounts),
                device: DeviceId(n as i64 + 1),
                group,
                resource: if n % 3 < kinds - 1 { "energy" } else { "state" }.parse().expect("a name"),
                interval: interval(chance.pick(&[3_000, 4_000, 6_000, 10_000, 20_000])),
                priority: chance.pick(&Priority::ALL[..4]),
                state: JobState::Active,
                version: 1,
            });
        }
        let asked: f64 = jobs.iter().map(|job| 10_000.0 / job.interval.as_ms() as f64).sum();
        let share = |chance: &mut Chance, of: f64| ((asked / of * chance.share(0.25, 0.9)) as i64).max(2);
        let burst = if costs { "burst = 2\n" } else { "" };
        let app = share(&mut chance, 1.0) + i64::from(costs) * 2;
        let own = share(&mut chance, accounts as f64) + i64::from(costs) * 2;
        let quotas = match scarce {
            Scarce::Account | Scarce::Homes => quota("own", "connection", own, burst),
            Scarce::App => quota("app", "app", app, burst),
            Scarce::Both => quota("app", "app", app, burst) + &quota("own", "connection", own, burst),
            Scarce::Resource => {
                quota("some", "app", (app / 3).max(2), "resources = [\"energy\"]\n")
                    + &quota("own", "connection", own, "")
            }
            Scarce::Reserve => quota("app", "app", app, "reserve = 0.25\n"),
        };
        let mut text = format!("title = \"Scarce\"\n[http]\nbase_url = \"http://127.0.0.1:9\"\n{quotas}");
        text += &resource("energy", if costs { 2 } else { 1 });
        text += &resource("state", 1);
        let weights = jobs.iter().map(|job| [1, 1, 2, 3, 1][job.connection.0 as usize % 5]).collect();
        Self { text, jobs, weights, k: chance.pick(&[1.0, 1.0, 2.0]) }
    }

    /// Runs it, and holds what each job gets against the plan.
    pub async fn run(&self) -> Shares {
        let provider =
            Provider::parse(name(), "scarce.toml", &self.text).unwrap_or_else(|error| panic!("{error}"));
        let settings = TakerSettings {
            horizon: interval(250),
            ahead: interval(100),
            lease: interval(20_000),
            ride_share: 0.1,
            ride_max: interval(300_000),
            k: self.k,
            base: [1.0, 2.0, 4.0, 8.0, 16.0],
            keys: own_keys(),
        };
        let entries: Vec<_> =
            self.jobs.iter().zip(&self.weights).map(|(job, weight)| entry(&provider, job, *weight)).collect();
        let demands: Vec<_> = entries.iter().map(demand).collect();
        let plan = plan(&provider, &demands, settings.k, &settings.base);
        let effective = |n: usize| plan.jobs[n].effective_ms.unwrap_or(f64::INFINITY);
        let slowest = (0..entries.len()).map(effective).fold(0.0, f64::max);
        let (warm, long) = (20.0 * slowest, RUNS * slowest);
        let rig = Rig::new(&provider, &settings, &[]).await;
        rig.revive(false, 0, T0 - 1).await;
        rig.put(&entries, T0).await;
        let (from, to) = (T0 as f64 + warm, T0 as f64 + warm + long);
        let (runs, calls) = count(&rig, from, to).await;
        rig.wipe().await;
        let mut shares = Shares { worst: 0.0, job: String::new(), calls, least: 1.0 };
        for (n, entry) in entries.iter().enumerate() {
            let job = &entry.job;
            let got = long / runs.get(&job.id).copied().unwrap_or(0.5);
            let off = (got / effective(n) - 1.0).abs();
            shares.least = shares.least.min(job.interval.as_ms() as f64 / effective(n));
            if off > shares.worst {
                shares.worst = off;
                shares.job = format!(
                    "job {} of {} weight {} {} {}: asked {}, planned {:.1} ms, got {got:.1} ms",
                    job.id,
                    job.lane(),
                    entry.weight,
                    job.resource.as_str(),
                    job.priority,
                    job.interval,
                    effective(n),
                );
            }
        }
        shares
    }

    pub fn text(&self) -> &str {
        &self.text
    }
}

fn entry(provider: &Provider, job: &Job, weight: u32) -> Entry {
    let (unit, batch_max, places) = provider
        .resource(job.resource.as_str())
        .map_or((Default::default(), 1, 1), |r| (r.unit, r.batch_max, r.places()));
    Entry {
        job: job.clone(),
        offset_ms: offset_ms(job, unit, batch_max),
        last_run: Some(UnixMs(T0 - 1 - job.id.0)),
        shared: places > 1,
        weight,
    }
}

/// One worker that makes every call in time: how often each job runs in between, and how many calls there are.
async fn count(rig: &Rig, from: f64, to: f64) -> (BTreeMap<JobId, f64>, u64) {
    let (mut now, mut runs, mut calls) = (T0, BTreeMap::new(), 0);
    while (now as f64) < to {
        let taken = rig.take(60, now).await;
        let mut last = now as f64;
        let mut settlements = Vec::new();
        for grant in taken.grants {
            let at = now as f64 + grant.send_in_ms;
            last = last.max(at);
            calls += 1;
            let jobs: Vec<_> =
                grant.jobs.iter().map(|job| (job.id, Verdict::Done(UnixMs(at as i64)))).collect();
            for (id, _) in jobs.iter().filter(|_| (from..to).contains(&at)) {
                *runs.entry(*id).or_insert(0.0) += 1.0;
            }
            settlements.push(Settlement { end: End::Good, jobs, ..Settlement::unsent(grant.call) });
        }
        if settlements.is_empty() {
            assert!(taken.wake_in_ms >= 0.0, "nothing is left to happen");
            now += (taken.wake_in_ms.ceil() as i64).max(1);
        } else {
            now = last.ceil() as i64 + 1;
            rig.settle(&settlements, now).await;
        }
    }
    (runs, calls)
}

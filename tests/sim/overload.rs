//! Lasting overload: what each job gets is what progressive filling (`paceline::pace::plan`) says.
//!
//! The plan is the answer for a fluid. Here every interval that is planned is long beside the time between two calls of
//! its lane, and that is long beside the horizon of a take, so that calls made one after another differ from a fluid by
//! little: a job is served at the first call after it is due, so late by up to the time between two.
//!
//! Left out on purpose, since it is known to differ: one quota inside another of nearly the same pace without a burst;
//! see `pace::plan`.

use crate::chance::Chance;
use crate::owner::demand;
use crate::rig::{Change, Rig, own_keys};
use crate::scarce::{Scarce, WINDOW_MS, job};
use crate::scenario::{T0, interval, name};
use paceline::pace::plan::{Plan, plan};
use paceline::provider::{Provider, Unit};
use paceline::schedule::{Entry, offset_ms};
use paceline::take::{Settlement, TakerSettings, Verdict};
use paceline::words::{End, Job, JobId, Priority, UnixMs};
use std::collections::HashMap;
use std::fmt::Write;

/// How many runs the job with the fewest has while they are counted.
const RUNS: f64 = 200.0;
/// Until then, likewise, everybody finds their pace.
const WARM_RUNS: f64 = 6.0;
/// Who gets less than they asked waits at least for so many calls of their lane.
const CALLS_BETWEEN: f64 = 32.0;
/// What a share may be off the plan's.
const TOLERANCE: f64 = 0.02;
/// Calls are settled so many at once: a round trip for each is what a run would mostly wait for.
const SETTLED_AT_ONCE: usize = 8;

const BASE: [f64; 5] = [1.0, 2.0, 4.0, 8.0, 16.0];
const HORIZON_MS: u64 = 250;
/// More than can be granted within a horizon.
const CALLS_A_TAKE: usize = 6;

/// What is asked, and what is allowed.
struct Overload {
    provider: Provider,
    entries: Vec<Entry>,
    settings: TakerSettings,
    plan: Plan,
}

impl Overload {
    /// What a seed gives, if the plan's intervals are long beside the calls that they are made of.
    fn of(seed: u64, scarce: Scarce) -> Self {
        let mut chance = Chance::new(seed, scarce as u64);
        for _ in 0..200 {
            let found = Self::by(&mut chance, scarce);
            if found.is_fine() {
                return found;
            }
        }
        panic!("seed {seed} of {scarce:?} gives nothing that is fine enough");
    }

    fn by(chance: &mut Chance, scarce: Scarce) -> Self {
        let is_dear = chance.hits(0.5);
        let cost = |resource: &str| if is_dear && resource == "energy" { 2 } else { 1 };
        // Either way the most urgent are served twice as often as the least.
        let (k, classes): (f64, &[Priority]) = chance.pick(&[
            (1.0, &[Priority::High, Priority::Normal]),
            (2.0, &[Priority::High, Priority::Normal, Priority::Low]),
        ]);
        let settings = settings(k);
        let (mut jobs, mut weights, mut asked) = (Vec::new(), Vec::new(), 0.0);
        for lane in scarce.lanes(chance) {
            for n in 0..lane.jobs {
                let resource = if n % 3 == 0 { "energy" } else { "state" };
                let job = job(jobs.len() as i64 + 1, &lane, resource, classes, chance);
                asked += f64::from(cost(resource)) / job.interval.as_ms() as f64;
                jobs.push(job);
                weights.push(lane.weight);
            }
        }
        let provider = provider(&scarce.quotas(chance, asked), cost);
        let mut entries: Vec<_> =
            jobs.into_iter().zip(weights).map(|(job, weight)| entry(job, weight)).collect();
        let demands: Vec<_> = entries.iter().map(demand).collect();
        let plan = plan(&provider, &demands, &Default::default(), settings.k, &settings.base);
        // As though it had been going on for long.
        for (entry, job) in entries.iter_mut().zip(&plan.jobs) {
            let ago = chance.share(0.0, job.effective_ms.expect("a planned job"));
            entry.last_run = Some(UnixMs(T0 - 1 - ago as i64));
        }
        Self { provider, entries, settings, plan }
    }

    fn effective_ms(&self) -> impl Iterator<Item = f64> {
        self.plan.jobs.iter().map(|job| job.effective_ms.expect("a planned job"))
    }

    fn slowest_ms(&self) -> f64 {
        self.effective_ms().fold(0.0, f64::max)
    }

    fn is_fine(&self) -> bool {
        let mut calls_per_ms = HashMap::<String, f64>::new();
        for (entry, effective_ms) in self.entries.iter().zip(self.effective_ms()) {
            *calls_per_ms.entry(entry.job.lane()).or_default() += 1.0 / effective_ms;
        }
        self.entries.iter().zip(&self.plan.jobs).all(|(entry, job)| {
            let between = job.effective_ms.unwrap_or_default() * calls_per_ms[&entry.job.lane()];
            job.is_as_asked() || between >= CALLS_BETWEEN
        })
    }

    /// Runs it, and returns each job that is off the plan.
    async fn run(&self, runs: f64, changes: &[Change]) -> Shares {
        let rig = Rig::new(&self.provider, &self.settings, changes).await;
        rig.revive(false, 0, T0 - 1).await;
        rig.put(&self.entries, T0).await;
        let from = T0 as f64 + WARM_RUNS * self.slowest_ms();
        let to = from + (runs + 1.0) * self.slowest_ms();
        let (counts, calls) = count(&rig, from, to).await;
        rig.wipe().await;
        let mut shares = Shares { calls, worst: 0.0, wrong: Vec::new() };
        for (entry, planned) in self.entries.iter().zip(self.effective_ms()) {
            let got = counts.get(&entry.job.id).map_or(f64::INFINITY, Count::mean_ms);
            let off = planned / got - 1.0;
            shares.worst = shares.worst.max(off.abs());
            if off.abs() > TOLERANCE {
                shares.wrong.push(format!(
                    "{}: planned {planned:.0} ms, got {got:.0}: {:+.1} %",
                    described(entry),
                    off * 100.0
                ));
            }
        }
        shares
    }
}

fn settings(k: f64) -> TakerSettings {
    TakerSettings {
        horizon: interval(HORIZON_MS),
        ahead: interval(100),
        tolerance: interval(100),
        lease: interval(WINDOW_MS as u64),
        ride_share: 0.1,
        ride_max: interval(300_000),
        k,
        base: BASE,
        waits_max: [60_000, 600_000].map(interval),
        hold: crate::scenario::hold_settings(),
        keys: own_keys(),
    }
}

/// A provider of two resources, with what each costs.
fn provider(quotas: &str, cost: impl Fn(&str) -> u32) -> Provider {
    let mut text = format!("title = \"Scarce\"\n[http]\nbase_url = \"http://127.0.0.1:9\"\n{quotas}");
    for resource in ["energy", "state"] {
        let cost = cost(resource);
        let _ = write!(
            text,
            "[resource.{resource}]\ninterval_min = \"1s\"\ninterval_default = \"1m\"\ncost = {cost}\npath = \"/\"\n\
             records = \".\"\n"
        );
    }
    Provider::parse(name(), "scarce.toml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// What became of a run.
#[derive(Debug)]
struct Shares {
    calls: u64,
    worst: f64,
    /// Who is off the plan, and by how much.
    wrong: Vec<String>,
}

fn described(entry: &Entry) -> String {
    let job = &entry.job;
    let lane = job.lane();
    let resource = job.resource.as_str();
    format!(
        "job {} of {lane} weight {} {resource} {} asks {}",
        job.id, entry.weight, job.priority, job.interval
    )
}

fn entry(job: Job, weight: u32) -> Entry {
    Entry {
        offset_ms: offset_ms(&job, Unit::Device, 1),
        last_run: None,
        wanted_since: None,
        shared: false,
        weight,
        failures: None,
        job,
    }
}

/// The runs of one job.
struct Count {
    first: f64,
    last: f64,
    runs: u32,
}

impl Count {
    fn mean_ms(&self) -> f64 {
        (self.last - self.first) / f64::from(self.runs - 1)
    }
}

/// One worker that makes every call in time: how often each job runs in between, and how many calls there are.
///
/// It looks when a quota opens, not whenever a job comes due that must wait anyway.
async fn count(rig: &Rig, from: f64, to: f64) -> (HashMap<JobId, Count>, u64) {
    let (mut now, mut counts, mut calls) = (T0, HashMap::<JobId, Count>::new(), 0);
    let (mut made, mut opens, mut last) = (Vec::new(), HashMap::<String, f64>::new(), T0 as f64);
    while (now as f64) < to {
        let taken = rig.take(CALLS_A_TAKE, now).await;
        for grant in taken.grants {
            let at = now as f64 + grant.send_in_ms;
            last = last.max(at);
            calls += 1;
            let id = grant.jobs[0].id;
            if (from..to).contains(&at) {
                let count = counts.entry(id).or_insert(Count { first: at, last: at, runs: 0 });
                (count.last, count.runs) = (at, count.runs + 1);
            }
            let jobs = vec![(id, Verdict::Done(UnixMs(at as i64)))];
            made.push(Settlement { end: End::Good, jobs, ..Settlement::unsent(grant.call) });
        }
        if made.len() >= SETTLED_AT_ONCE {
            rig.settle(&made, now).await;
            made.clear();
        }
        opens.extend(
            taken.bound.into_iter().map(|bound| (bound.lane, bound.until_ms - HORIZON_MS as f64 / 2.0)),
        );
        opens.retain(|_, at| *at > now as f64);
        if taken.wake_in_ms == 0.0 {
            continue; // there are lanes that were not looked at
        }
        let mut next = opens.values().copied().fold(f64::INFINITY, f64::min);
        if next.is_infinite() {
            assert!(taken.wake_in_ms >= 0.0, "nothing is left to happen");
            next = now as f64 + taken.wake_in_ms;
        }
        now = (next.max(last).ceil() as i64).max(now + 1);
    }
    (counts, calls)
}

/// Every job's share is the plan's.
async fn as_planned(seeds: std::ops::RangeInclusive<u64>, scarce: Scarce) {
    for seed in seeds {
        let overload = Overload::of(seed, scarce);
        let shares = overload.run(RUNS, &[]).await;
        let k = overload.settings.k;
        let dear = overload.provider.resource("energy").map_or(1, |resource| resource.cost);
        let worst = shares.worst * 100.0;
        println!(
            "{scarce:?} {seed}, k {k}, costs to {dear}: {} calls, {worst:.2} % off at worst",
            shares.calls
        );
        assert!(
            shares.wrong.is_empty(),
            "{scarce:?} of seed {seed}, off the plan:\n{}\n{}",
            shares.wrong.join("\n"),
            overload.provider.text
        );
    }
}

/// These changes are seen as shares that are off the plan.
async fn is_off(scarce: Scarce, change: Change) {
    let shares = Overload::of(1, scarce).run(RUNS / 5.0, &[change]).await;
    assert!(!shares.wrong.is_empty(), "{change:?} was not seen: {shares:?}");
}

#[tokio::test]
async fn jobs_of_an_account_share_it_by_priority() {
    as_planned(1..=1, Scarce::Account).await;
}

mod slow_seeds {
    use super::{Scarce, as_planned};

    #[tokio::test]
    async fn account() {
        as_planned(2..=3, Scarce::Account).await;
    }

    #[tokio::test]
    async fn app() {
        as_planned(1..=1, Scarce::App).await;
    }

    #[tokio::test]
    async fn both() {
        as_planned(1..=2, Scarce::Both).await;
    }

    #[tokio::test]
    async fn homes() {
        as_planned(1..=2, Scarce::Homes).await;
    }

    #[tokio::test]
    async fn home_and_none() {
        as_planned(1..=2, Scarce::HomeAndNone).await;
    }

    #[tokio::test]
    async fn one_resource() {
        as_planned(1..=2, Scarce::OneResource).await;
    }

    #[tokio::test]
    async fn reserve() {
        as_planned(2..=2, Scarce::Reserve).await;
    }
}

/// Scripts broken on purpose.
mod slow_broken {
    use super::{Change, Scarce, is_off};

    #[tokio::test]
    async fn rank_without_priority() {
        let from = "if k == 1 then return base[class] / delay end";
        is_off(Scarce::Account, Change { script: "take", from, to: "if true then return 1 / delay end" })
            .await;
    }

    #[tokio::test]
    async fn lanes_without_weight() {
        let (from, to) = ("cost / lane.weight", "cost");
        is_off(Scarce::App, Change { script: "take", from, to }).await;
    }
}

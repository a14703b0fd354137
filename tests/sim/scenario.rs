//! What a seed gives: a provider with quotas of all kinds, its accounts and homes, devices and jobs.

use crate::chance::Chance;
use crate::limits::{Fault, Limits};
use crate::referee::AHEAD_MS;
use paceline::provider::{Provider, Unit};
use paceline::redis::Keys;
use paceline::schedule::{Entry, offset_ms};
use paceline::take::TakerSettings;
use paceline::words::{
    ConnectionId, DeviceId, Interval, Job, JobId, JobState, Priority, ProviderName, TenantId, UnixMs,
};
use std::fmt::Write;

/// When all runs begin: a morning, twenty minutes before the hour.
pub const T0: i64 = 1_800_000_000_000;

pub struct Scenario {
    pub provider: Provider,
    pub settings: TakerSettings,
    /// How far the provider's clock is ahead of ours, ms.
    pub skew_ms: i64,
    /// How late calls may be sent, ms.
    pub late_ms: f64,
    pub workers: usize,
    /// How many calls a worker has at most.
    pub slots: usize,
    pub entries: Vec<Entry>,
}

/// A resource as the seed gives it.
struct Kind {
    name: &'static str,
    unit: &'static str,
    batch_max: u32,
    cost: u32,
    per_device: u32,
}

impl Kind {
    fn full_cost(&self) -> u32 {
        self.cost + self.per_device * self.batch_max
    }
}

/// How much is asked, ms and cost.
struct Demand {
    full_cost: u32,
    /// Cost a ms, of all jobs.
    rate: f64,
    connections: usize,
    devices: usize,
    /// Windows are this many times those of a quick provider.
    scale: i64,
}

impl Scenario {
    pub fn of(limits: &Limits, keys: Keys) -> Self {
        let mut chance = Chance::new(limits.seed, 0);
        let scale = chance.pick(&[1, 1, 6, 60]);
        let grouped = chance.hits(0.4);
        let kinds = kinds(&mut chance, grouped);
        let count = chance.within(4, limits.jobs as i64).min(limits.jobs as i64) as usize;
        let jobs: Vec<(Job, usize)> = (0..count).map(|n| job(limits, n, &kinds, grouped, scale)).collect();
        let rate = jobs.iter().map(|(job, kind)| {
            let kind = &kinds[*kind];
            let alone = f64::from(kind.cost + kind.per_device);
            let full = f64::from(kind.full_cost()) / f64::from(kind.batch_max);
            (alone + full) / 2.0 / job.interval.as_ms() as f64
        });
        let demand = Demand {
            full_cost: kinds.iter().map(Kind::full_cost).max().unwrap_or(1),
            rate: rate.sum(),
            connections: limits.connections,
            devices: count.div_ceil(kinds.len()),
            scale,
        };
        let provider = provider(limits, &kinds, &demand);
        let least_slack = provider.quotas().filter_map(|q| q.slack_ms()).fold(100.0, f64::min);
        let margins = provider.quotas().filter_map(|q| match q.limits().0 {
            paceline::provider::Limit::Aligned { margin_ms, .. } => Some(margin_ms),
            _ => None,
        });
        let late_ms = if limits.has(Fault::Late) { least_slack } else { 0.0 };
        // What of a margin is not taken by lateness is for the clocks.
        let skew = (margins.fold(2_000.0, f64::min) - late_ms).max(0.0) as i64;
        let unit_of =
            |name: &str| provider.resource(name).map_or((Unit::Device, 1), |r| (r.unit, r.places()));
        let entries = jobs.into_iter().enumerate().map(|(n, (job, _))| {
            let mut chance = Chance::new(limits.seed, 2_000 + n as u64);
            let (unit, places) = unit_of(job.resource.as_str());
            let interval = job.interval.as_ms() as i64;
            Entry {
                offset_ms: offset_ms(&job, unit, places),
                last_run: chance.hits(0.7).then(|| UnixMs(T0 - chance.within(1, 4 * interval))),
                wanted_since: chance.hits(0.5).then(|| UnixMs(T0 - chance.within(-5_000, 4 * interval))),
                shared: places > 1,
                weight: [1, 1, 2, 3][job.connection.0 as usize % 4],
                failures: None,
                job,
            }
        });
        Self {
            entries: entries.collect(),
            skew_ms: chance.within(-skew, skew),
            late_ms,
            workers: chance.within(1, 3) as usize,
            slots: chance.pick(&[2, 8, 64]),
            settings: TakerSettings {
                horizon: interval(AHEAD_MS as u64),
                ahead: interval(100),
                tolerance: interval(100),
                lease: interval(chance.pick(&[500, 3_000, 20_000])),
                ride_share: 0.1,
                ride_max: interval(300_000),
                k: chance.pick(&[1.0, 1.0, 2.0, 0.5]),
                base: [1.0, 2.0, 4.0, 8.0, 16.0],
                waits_max: [60_000, 600_000].map(interval),
                hold: hold_settings(),
                keys,
            },
            provider,
        }
    }

    /// How long a lease lasts after the last instant of its take, ms.
    pub fn lease_ms(&self) -> i64 {
        (self.settings.lease.as_ms() + self.provider.definition.http.timeout.as_ms()) as i64
    }

    pub fn timeout_ms(&self) -> i64 {
        self.provider.definition.http.timeout.as_ms() as i64
    }
}

/// The first wait is longer than the horizon: what is granted for the end of a hold was granted after the refusal.
pub fn hold_settings() -> paceline::settings::Hold {
    let [first, cap, reported_cap] = [400, 6_000, 60_000].map(interval);
    paceline::settings::Hold { first, cap, reported_cap }
}

pub fn interval(ms: u64) -> Interval {
    Interval::from_ms(ms).expect("an interval within the bounds")
}

fn kinds(chance: &mut Chance, grouped: bool) -> Vec<Kind> {
    let count = chance.within(1, 3) as usize;
    ["energy", "info", "state"][..count]
        .iter()
        .map(|name| {
            let unit = chance.pick(&["device", "batch", if grouped { "group" } else { "connection" }]);
            let batch_max = if unit == "batch" { chance.within(2, 8) as u32 } else { 1 };
            let per_device = if chance.hits(0.3) && unit != "group" && unit != "connection" { 1 } else { 0 };
            Kind { name, unit, batch_max, cost: chance.within(1, 2) as u32, per_device }
        })
        .collect()
}

fn job(limits: &Limits, n: usize, kinds: &[Kind], grouped: bool, scale: i64) -> (Job, usize) {
    let mut chance = Chance::new(limits.seed, 1_000 + n as u64);
    let (device, kind) = (n / kinds.len(), n % kinds.len());
    let connection = device % limits.connections;
    // Homes of one account, and devices of it that are in none.
    let group = match (grouped, device / limits.connections % 3) {
        (true, home @ 0..2) => format!("home #{home}"),
        _ => String::new(),
    };
    let asked = chance.pick(&[1_000, 2_000, 3_000, 5_000, 10_000, 10_000, 30_000]) * scale;
    let job = Job {
        id: JobId(n as i64 * 37 + 1),
        tenant: TenantId(1 + connection as i64 / 2),
        provider: name(),
        connection: ConnectionId(connection as i64 + 1),
        device: DeviceId(device as i64 + 1_000),
        group,
        resource: kinds[kind].name.parse().expect("a name"),
        interval: interval(asked as u64),
        priority: chance.pick(&Priority::ALL),
        state: JobState::Active,
        version: 1,
    };
    (job, kind)
}

pub fn name() -> ProviderName {
    "simulated".parse().expect("a name")
}

fn provider(limits: &Limits, kinds: &[Kind], demand: &Demand) -> Provider {
    let mut text =
        "title = \"Simulated\"\n[http]\nbase_url = \"http://127.0.0.1:9\"\ntimeout = \"2s\"\n".to_owned();
    if limits.plans {
        text += "[param.plan]\nabout = \"the plan\"\ndefault = \"small\"\n";
    }
    for number in &limits.quotas {
        let mut chance = Chance::new(limits.seed, 100 + *number as u64);
        text += &quota(&mut chance, *number, kinds, demand, limits.plans);
    }
    for kind in kinds {
        let Kind { name, unit, batch_max, cost, per_device } = kind;
        let _ = write!(
            text,
            "[resource.{name}]\nunit = \"{unit}\"\ninterval_min = \"100ms\"\ninterval_default = \"10s\"\n\
             cost = {cost}\ncost_per_device = {per_device}\npath = \"/\"\nrecords = \".\"\n"
        );
        // One call for a whole account or home takes all there are.
        if *unit == "batch" {
            let _ = writeln!(text, "batch_max = {batch_max}");
        }
    }
    Provider::parse(name(), "simulated.toml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn quota(chance: &mut Chance, number: usize, kinds: &[Kind], demand: &Demand, plans: bool) -> String {
    // Some seeds have few.
    if chance.hits(0.35) {
        return String::new();
    }
    let (scope, holders) = chance.pick(&[
        ("app", 1),
        ("app", 1),
        ("connection", demand.connections),
        ("connection", demand.connections),
        ("group", demand.connections * 2),
        ("device", demand.devices),
    ]);
    let kind = chance.pick(&["sliding", "sliding", "sliding", "aligned", "concurrent", "errors", "adaptive"]);
    let most = demand.full_cost;
    let rate = demand.rate / holders as f64 * chance.share(0.4, 2.5);
    let in_window = |ms: i64| (rate * ms as f64).ceil() as u32;
    let mut text = format!("[[quota]]\nname = \"q{number}\"\nscope = \"{scope}\"\nkind = \"{kind}\"\n");
    let mut say = |key: &str, value: String| {
        let _ = writeln!(text, "{key} = {value}");
    };
    let length = chance.pick(&[500, 1_000, 2_000, 5_000, 10_000]) * demand.scale;
    let paced = matches!(kind, "sliding" | "aligned");
    let mut amount = match kind {
        "concurrent" => chance.within(1, 5) as u32,
        "errors" => chance.within(1, 5) as u32,
        "adaptive" => in_window(length) + 2,
        "aligned" => in_window(60_000 * if demand.scale > 1 { 60 } else { 1 }).max(most + 1),
        _ => in_window(length).max(1),
    };
    if paced {
        let burst = most + chance.within(0, 3) as u32;
        amount = if kind == "sliding" { amount + burst - 1 } else { amount.max(burst) };
        say("burst", burst.to_string());
        if chance.hits(0.6) {
            say("headroom", chance.pick(&["0.0", "0.02", "0.1"]).to_owned());
        }
    }
    say("amount", amount.to_string());
    match kind {
        "concurrent" => {}
        "aligned" if demand.scale > 1 => say("window", "\"hour\"".to_owned()),
        "aligned" => say("window", "\"minute\"".to_owned()),
        _ => say("window", format!("\"{length}ms\"")),
    }
    if kind == "aligned" {
        say("zone", chance.pick(&["\"UTC\"", "\"Asia/Kathmandu\"", "\"America/Los_Angeles\""]).to_owned());
    }
    if kind == "adaptive" {
        say("floor", (amount / 3).max(1).to_string());
        say("start", (amount / 2).max(1).to_string());
    }
    let reserve = chance.pick(&[0.0, 0.0, 0.25, 0.5]);
    let kept = (f64::from(amount) * (1.0 - reserve)) as u32;
    let room = if kind == "aligned" { most } else { 1 };
    if reserve > 0.0 && kind != "errors" && kept >= room {
        say("reserve", format!("{reserve:.2}"));
    }
    if chance.hits(0.2) && matches!(kind, "sliding" | "aligned" | "adaptive") {
        say("errors_cost", "false".to_owned());
    }
    // Of resources that cost differently a device's own limit lets the cheaper ahead: see `put_off` in take.lua.
    if scope == "device" || chance.hits(0.25) {
        say("resources", format!("[\"{}\"]", kinds[chance.within(0, kinds.len() as i64 - 1) as usize].name));
    }
    if plans && scope != "app" && (paced || kind == "concurrent") && chance.hits(0.6) {
        text = with_quota_inputs(chance, text, amount, paced && scope == "connection");
    }
    text
}

/// The same with an amount that depends on the account; it is the smallest's.
fn with_quota_inputs(chance: &mut Chance, mut text: String, amount: u32, by_device: bool) -> String {
    if chance.hits(0.7) {
        let large = amount * chance.within(2, 8) as u32;
        let by_plan = format!("amount = {{ small = {amount}, large = {large} }}\n");
        text = text.replace(&format!("amount = {amount}\n"), &by_plan);
    }
    if by_device && chance.hits(0.6) {
        let _ = writeln!(text, "amount_per_device = {}", chance.within(1, i64::from(amount)));
        if chance.hits(0.5) {
            let _ = writeln!(text, "per_devices = {}", chance.within(1, 4));
        }
    }
    text
}

//! `paceline plan`

use super::{CliError, Context, table};
use crate::forecast::{Forecast, forecast, gets, holder};
use crate::pace::{Demand, Effective, Holder, Load};
use crate::preference::{find, tenants};
use crate::words::{DeviceId, TenantId};
use serde::Serialize;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::fmt;

/// How many rows a person reads.
const ROWS_MAX: usize = 20;

/// Whose plan.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paceline plan
  paceline plan --provider meadow --all
  paceline plan --tenant acme
  paceline plan --device 7
  paceline plan --json | jq '.providers.meadow.jobs[] | select(.why)'

It is computed from what is asked and what the quotas allow in the long run, and asks no provider. A job gets less
than it asked when a quota is asked for more than it has; what there is goes by priority among the jobs of a
connection, and is shared evenly among connections.")]
pub struct Args {
    /// Only this provider
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// Show only this tenant's jobs; all others are planned with them
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Show only this device's jobs: its number, or with --tenant its external id
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    /// Show every quota and every job that gets less than it asked, not only the worst
    #[arg(long)]
    all: bool,
}

/// Whom to show.
#[derive(Default)]
struct Only {
    tenant: Option<TenantId>,
    device: Option<DeviceId>,
}

struct Report {
    forecasts: Vec<Forecast>,
    only: Only,
    rows_max: usize,
}

/// One provider's part of the answer.
struct Part<'a> {
    forecast: &'a Forecast,
    jobs: Vec<(&'a Demand, &'a Effective)>,
    loads: Vec<&'a Load>,
}

impl Report {
    /// Providers with jobs to show.
    fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.forecasts.iter().map(|forecast| self.part(forecast)).filter(|part| !part.jobs.is_empty())
    }

    fn part<'a>(&self, forecast: &'a Forecast) -> Part<'a> {
        let wanted = |demand: &Demand| {
            self.only.tenant.is_none_or(|tenant| demand.tenant == tenant)
                && self.only.device.is_none_or(|device| demand.device == device)
        };
        let jobs: Vec<_> = forecast.jobs().filter(|(demand, _)| wanted(demand)).collect();
        let mut theirs = HashSet::from([Holder::App]);
        for (demand, _) in &jobs {
            theirs.insert(Holder::Connection(demand.connection));
            theirs.insert(Holder::Group(demand.connection, demand.group.clone()));
            theirs.insert(Holder::Device(demand.device));
        }
        let loads = forecast.plan.loads.iter().filter(|load| theirs.contains(&load.holder)).collect();
        Part { forecast, jobs, loads }
    }
}

impl Part<'_> {
    /// Those that get less than they asked, the worst first.
    fn slower(&self) -> Vec<(&Demand, &Effective)> {
        let mut slower: Vec<_> = self
            .jobs
            .iter()
            .filter(|(_, job)| !job.is_as_asked())
            .map(|(demand, job)| (*demand, *job))
            .collect();
        slower.sort_by(|(_, a), (_, b)| b.stretch().total_cmp(&a.stretch()));
        slower
    }

    /// `meadow: 12 of 300 jobs get less than they ask, the worst 47s instead of 30s.`
    fn summary(&self, slower: &[(&Demand, &Effective)]) -> String {
        let (name, all) = (&self.forecast.provider.name, self.jobs.len());
        let worst = slower
            .first()
            .map(|(demand, job)| format!("{} instead of {}", gets(demand, job), demand.interval));
        match (worst, all, slower.len()) {
            (None, 1, _) => format!("{name}: the one job gets what it asks."),
            (None, ..) => format!("{name}: all {all} jobs get what they ask."),
            (Some(worst), 1, _) => format!("{name}: the one job gets {worst}."),
            (Some(worst), _, 1) => format!("{name}: 1 of {all} jobs gets less than it asks: {worst}."),
            (Some(worst), _, less) => {
                format!("{name}: {less} of {all} jobs get less than they ask, the worst {worst}.")
            }
        }
    }

    fn show(&self, f: &mut fmt::Formatter<'_>, rows_max: usize) -> fmt::Result {
        if !self.loads.is_empty() {
            let mut loads = self.loads.clone();
            loads.sort_by_key(|load| (Reverse(load.bound_jobs), Reverse((used(load) * 1e6) as u64)));
            let mut rows = table::with(&["quota", "of", "demand/s", "supply/s", "used", ""]);
            for load in loads.iter().take(rows_max) {
                let binds = match load.bound_jobs {
                    0 => String::new(),
                    bound => format!("◄ binds {}", count(bound as usize, "job")),
                };
                rows.add_row([
                    load.quota.clone(),
                    holder(&load.holder),
                    rate(load.demand_per_s),
                    format!("{}{}", if load.is_assumed { "~" } else { "" }, rate(load.supply_per_s)),
                    format!("{:.0} %", used(load) * 100.0),
                    binds,
                ]);
            }
            writeln!(f, "{rows}")?;
            more(f, loads.len(), rows_max, "less used")?;
        }
        let slower = self.slower();
        if !slower.is_empty() {
            let mut rows = table::with(&["job", "device", "resource", "priority", "why"]);
            for (demand, job) in slower.iter().take(rows_max) {
                rows.add_row([
                    job.job.to_string(),
                    demand.device.to_string(),
                    demand.resource.to_string(),
                    demand.priority.to_string(),
                    self.forecast.why(demand, job).unwrap_or_default(),
                ]);
            }
            writeln!(f, "\n{rows}")?;
            more(f, slower.len(), rows_max, "better off")?;
        }
        if self.loads.iter().any(|load| load.is_assumed) {
            writeln!(f, "~ nobody tells this limit: planned with the rate that is tried first.")?;
        }
        if let [first, rest @ ..] = self.forecast.plan.without_rate.as_slice() {
            let names = rest.iter().fold(first.clone(), |names, name| format!("{names}, {name}"));
            writeln!(f, "Not planned, for it sets no rate: {names}.")?;
        }
        write!(f, "{}", self.summary(&slower))
    }

    fn json(&self) -> Value {
        let loads = self.loads.iter().map(|load| {
            let Load { quota, scope, holder: of, demand_per_s, used_per_s, supply_per_s, .. } = load;
            json!({
                "quota": quota, "scope": scope, "of": holder(of), "demand_per_s": demand_per_s,
                "used_per_s": used_per_s, "supply_per_s": supply_per_s, "used_share": used(load),
                "assumed": load.is_assumed, "bound_jobs": load.bound_jobs,
            })
        });
        let jobs = self.jobs.iter().map(|(demand, job)| {
            let bound = self.forecast.bound_by(job);
            json!({
                "job": job.job, "tenant": demand.tenant, "connection": demand.connection,
                "device": demand.device, "resource": demand.resource, "priority": demand.priority,
                "asked_ms": job.asked_ms as u64, "effective_ms": job.effective_ms.map(f64::round),
                "bound_by": bound.map(|load| json!({ "quota": load.quota, "of": holder(&load.holder) })),
                "why": self.forecast.why(demand, job),
            })
        });
        let slower = self.slower();
        json!({
            "quotas": loads.collect::<Vec<_>>(), "jobs": jobs.collect::<Vec<_>>(), "slower": slower.len(),
            "without_rate": self.forecast.plan.without_rate, "summary": self.summary(&slower),
        })
    }
}

fn used(load: &Load) -> f64 {
    load.used_per_s / load.supply_per_s
}

fn count(of: usize, what: &str) -> String {
    format!("{of} {what}{}", if of == 1 { "" } else { "s" })
}

fn more(f: &mut fmt::Formatter<'_>, of: usize, shown: usize, which: &str) -> fmt::Result {
    match of.saturating_sub(shown) {
        0 => Ok(()),
        rest => writeln!(f, "… and {rest} more, {which}: --all shows them"),
    }
}

/// Three digits, however rare.
fn rate(per_s: f64) -> String {
    match per_s {
        r if r >= 100.0 || r == 0.0 => format!("{r:.0}"),
        r if r >= 1.0 => format!("{r:.2}"),
        r => format!("{r:.*}", (2.0 - r.log10().floor()).min(9.0) as usize),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut is_first = true;
        for part in self.parts() {
            if !std::mem::take(&mut is_first) {
                f.write_str("\n\n")?;
            }
            part.show(f, self.rows_max)?;
        }
        match is_first {
            true => f.write_str("No scheduled jobs: `paceline device add` makes some."),
            false => Ok(()),
        }
    }
}

impl Serialize for Report {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let parts: BTreeMap<_, _> =
            self.parts().map(|part| (part.forecast.provider.name.to_string(), part.json())).collect();
        json!({ "providers": parts }).serialize(serializer)
    }
}

/// Plans every provider that is asked for.
pub(super) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let app = &context.app;
    let mut only = Only::default();
    if let Some(name) = &args.tenant {
        only.tenant = Some(tenants::find(&app.pool, name).await?);
    }
    let mut wanted = args.provider;
    if let Some(asked) = &args.device {
        let (_, subject) = find::device(&app.pool, only.tenant, asked).await?;
        only.device = Some(subject.device);
        wanted.get_or_insert(subject.provider);
    }
    let providers: Vec<_> = match wanted {
        Some(name) => vec![app.registry.find(&name)?.clone()],
        None => app.registry.iter().cloned().collect(),
    };
    let mut forecasts = Vec::new();
    for provider in &providers {
        forecasts.push(forecast(app, provider).await?);
    }
    let rows_max = if args.all { usize::MAX } else { ROWS_MAX };
    context.output.answer(&Report { forecasts, only, rows_max })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_three_digits() {
        for (per_s, text) in
            [(0.0, "0"), (0.138_9, "0.139"), (1.0, "1.00"), (0.002_5, "0.00250"), (2_000.4, "2000")]
        {
            assert_eq!(rate(per_s), text);
        }
    }
}

//! `paceline plan`

use crate::cli::{CliError, Context, table};
use crate::forecast::{Forecast, forecast, gets, holder};
use crate::pace::{Demand, Effective, Holder, Load};
use crate::preference::{find, tenants};
use crate::words::{DeviceId, TenantId};
use serde::Serialize;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::fmt;

/// Rows shown per table without `--all`.
const ROWS_MAX: usize = 20;

/// What to forecast, and what to show of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paceline plan
  paceline plan --provider meadow --all
  paceline plan --tenant acme
  paceline plan --device 7
  paceline plan --json | jq '.providers.meadow.jobs[] | select(.why)'

The forecast is computed from the intervals set and from what the quotas allow in the long run; no provider is \
called. When the jobs demand more than a quota supplies, some run less often than asked: within a connection, jobs \
of higher priority get more; among connections, the supply is shared by tenant weight. `~` marks a supply that is \
assumed.")]
pub struct Args {
    /// Forecast only this provider
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// Show only this tenant's jobs; the forecast includes all others
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Show only the jobs of this device: its number, or with --tenant its external id
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    /// Show every quota and every job that runs less often than asked, not only the first rows
    #[arg(long)]
    all: bool,
}

/// Which jobs to show.
#[derive(Default)]
struct Filter {
    tenant: Option<TenantId>,
    device: Option<DeviceId>,
}

struct Report {
    forecasts: Vec<Forecast>,
    filter: Filter,
    rows_max: usize,
}

/// One provider's part of the report.
struct ProviderReport<'a> {
    forecast: &'a Forecast,
    jobs: Vec<(&'a Demand, &'a Effective)>,
    loads: Vec<&'a Load>,
}

impl Report {
    /// Providers with jobs to show.
    fn parts(&self) -> impl Iterator<Item = ProviderReport<'_>> {
        self.forecasts.iter().map(|forecast| self.part(forecast)).filter(|part| !part.jobs.is_empty())
    }

    fn part<'a>(&self, forecast: &'a Forecast) -> ProviderReport<'a> {
        let is_shown = |demand: &Demand| {
            self.filter.tenant.is_none_or(|tenant| demand.tenant == tenant)
                && self.filter.device.is_none_or(|device| demand.device == device)
        };
        let jobs: Vec<_> = forecast.jobs().filter(|(demand, _)| is_shown(demand)).collect();
        let mut holders = HashSet::from([Holder::App]);
        for (demand, _) in &jobs {
            holders.insert(Holder::Connection(demand.connection));
            holders.insert(Holder::Group(demand.connection, demand.group.clone()));
            holders.insert(Holder::Device(demand.device));
        }
        let loads = forecast.plan.loads.iter().filter(|load| holders.contains(&load.holder)).collect();
        ProviderReport { forecast, jobs, loads }
    }
}

impl ProviderReport<'_> {
    /// Jobs that run less often than asked, the most stretched first.
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

    /// `meadow: 12 of 300 jobs run less often than asked, at worst every 47s instead of 30s.`
    fn summary(&self, slower: &[(&Demand, &Effective)]) -> String {
        let (name, all) = (&self.forecast.provider.name, self.jobs.len());
        let worst = slower.first().map(|(demand, job)| instead(demand, job));
        match (worst, all, slower.len()) {
            (None, 1, _) => format!("{name}: its job runs as often as asked."),
            (None, ..) => format!("{name}: all {all} jobs run as often as asked."),
            (Some(worst), 1, _) => format!("{name}: its job runs less often than asked, {worst}."),
            (Some(worst), _, 1) => format!("{name}: 1 of {all} jobs runs less often than asked, {worst}."),
            (Some(worst), _, slower) => {
                format!("{name}: {slower} of {all} jobs run less often than asked, at worst {worst}.")
            }
        }
    }

    fn show(&self, f: &mut fmt::Formatter<'_>, rows_max: usize) -> fmt::Result {
        if !self.loads.is_empty() {
            let mut loads = self.loads.clone();
            loads.sort_by_key(|load| (Reverse(load.bound_jobs), Reverse((used(load) * 1e6) as u64)));
            let mut rows = table::new(&["quota", "holder", "demand/s", "supply/s", "used", ""]);
            for load in loads.iter().take(rows_max) {
                let limits = match load.bound_jobs {
                    0 => String::new(),
                    1 => "◄ limits 1 job".to_owned(),
                    bound => format!("◄ limits {bound} jobs"),
                };
                rows.add_row([
                    load.quota.clone(),
                    holder(&load.holder),
                    rate(load.demand_per_s),
                    format!("{}{}", if load.is_assumed { "~" } else { "" }, rate(load.supply_per_s)),
                    format!("{:.0} %", used(load) * 100.0),
                    limits,
                ]);
            }
            writeln!(f, "{rows}")?;
            more(f, loads.len(), rows_max, "used less")?;
        }
        let slower = self.slower();
        if !slower.is_empty() {
            let mut rows = table::new(&["job", "device", "resource", "priority", "why"]);
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
            more(f, slower.len(), rows_max, "slowed down less")?;
        }
        if self.loads.iter().any(|load| load.is_assumed) {
            writeln!(f, "~ adaptive quota, the limit is not published: its start rate is assumed.")?;
        }
        if let [first, rest @ ..] = self.forecast.plan.without_rate.as_slice() {
            let names = rest.iter().fold(first.clone(), |names, name| format!("{names}, {name}"));
            writeln!(f, "Not in the forecast, as they set no rate: {names}.")?;
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

/// `every 47s instead of 30s`.
fn instead(demand: &Demand, job: &Effective) -> String {
    let asked = demand.interval;
    match job.effective_ms {
        Some(_) => format!("every {} instead of {asked}", gets(demand, job)),
        None => format!("never instead of every {asked}"),
    }
}

/// Says how many rows are not shown, if any.
fn more(f: &mut fmt::Formatter<'_>, rows: usize, rows_max: usize, which: &str) -> fmt::Result {
    match rows.saturating_sub(rows_max) {
        0 => Ok(()),
        rest => writeln!(f, "… and {rest} more, {which}: --all shows them"),
    }
}

/// With three significant digits.
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
            true => f.write_str("No scheduled jobs: `paceline device add` creates some."),
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

/// Forecasts every provider, or the one asked for.
pub(crate) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let app = &context.app;
    let mut filter = Filter::default();
    if let Some(name) = &args.tenant {
        filter.tenant = Some(tenants::find(&app.pool, name).await?);
    }
    let mut provider_name = args.provider;
    if let Some(device) = &args.device {
        let (_, subject) = find::device(&app.pool, filter.tenant, device).await?;
        filter.device = Some(subject.device);
        provider_name.get_or_insert(subject.provider);
    }
    let providers: Vec<_> = match provider_name {
        Some(name) => vec![app.registry.find(&name)?.clone()],
        None => app.registry.iter().cloned().collect(),
    };
    let mut forecasts = Vec::new();
    for provider in &providers {
        forecasts.push(forecast(app, provider).await?);
    }
    let rows_max = if args.all { usize::MAX } else { ROWS_MAX };
    context.output.answer(&Report { forecasts, filter, rows_max })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_three_significant_digits() {
        for (per_s, text) in
            [(0.0, "0"), (0.138_9, "0.139"), (1.0, "1.00"), (0.002_5, "0.00250"), (2_000.4, "2000")]
        {
            assert_eq!(rate(per_s), text);
        }
    }
}

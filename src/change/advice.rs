//! Which changes help most: a longer interval for the jobs of one resource, so that others get what they ask.

use crate::forecast::{Forecast, Surroundings};
use crate::pace::{Demand, Holder, Load};
use crate::words::{ConnectionId, Interval, JobId, ResourceName};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use tokio::time::Instant;

/// Changes that are advised per provider.
const ADVICE_MAX: usize = 3;
/// Changes that are tried out per provider: each takes some plans of a connection.
const TRIED_MAX: usize = 12;
/// Intervals that people choose, s.
const ROUND_S: [u64; 22] = [
    1, 2, 5, 10, 15, 20, 30, 60, 90, 120, 180, 300, 600, 900, 1_200, 1_800, 3_600, 7_200, 14_400, 21_600,
    43_200, 86_400,
];

/// A change, and what would come of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Advice {
    /// The connection whose jobs to change.
    pub connection: ConnectionId,
    /// Its label.
    pub label: String,
    /// The resource whose jobs to change: those that ask for shorter intervals than this.
    pub resource: ResourceName,
    /// The interval to set.
    pub interval: Interval,
    /// How many jobs would be changed.
    pub jobs: usize,
    /// How many other jobs would get what they ask, which now get less.
    pub helped: usize,
    /// How many jobs, changed or not, would still get less than they ask.
    pub still_slower: usize,
}

/// The changes that help most, each by itself, of those that can be tried out until `deadline`.
pub(super) fn of(
    forecast: &Forecast,
    around: &Surroundings,
    labels: &HashMap<ConnectionId, String>,
    deadline: Instant,
) -> Vec<Advice> {
    let mut groups = BTreeMap::<(ConnectionId, &ResourceName), f64>::new();
    for load in forecast.plan.loads.iter().filter(|load| load.bound_jobs > 0) {
        for demand in forecast.demands.iter().filter(|demand| counts(forecast, load, demand)) {
            *groups.entry((demand.connection, &demand.resource)).or_default() +=
                1.0 / demand.interval.as_ms() as f64;
        }
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    groups.truncate(TRIED_MAX);
    let tried = groups.into_iter().take_while(|_| Instant::now() < deadline).filter_map(
        |((connection, resource), _)| {
            let label = labels.get(&connection)?.clone();
            try_out(forecast, around, connection, resource, label)
        },
    );
    let mut advice: Vec<Advice> = tried.collect();
    advice.sort_by_key(|one| (Reverse(one.helped), one.still_slower, one.jobs));
    advice.truncate(ADVICE_MAX);
    advice
}

/// Whether a load counts a job.
fn counts(forecast: &Forecast, load: &Load, demand: &Demand) -> bool {
    let quota = forecast.provider.quotas().find(|quota| quota.name == load.quota);
    let held = match &load.holder {
        Holder::App => true,
        Holder::Connection(connection) => demand.connection == *connection,
        Holder::Group(connection, group) => demand.connection == *connection && demand.group == *group,
        Holder::Device(device) => demand.device == *device,
    };
    held && quota.is_some_and(|quota| quota.counts(&demand.resource))
}

/// The shortest interval for a connection's jobs of a resource by which as few as can be still get less than they ask.
fn try_out(
    forecast: &Forecast,
    around: &Surroundings,
    connection: ConnectionId,
    resource: &ResourceName,
    label: String,
) -> Option<Advice> {
    let is_of = |demand: &Demand| demand.connection == connection && demand.resource == *resource;
    let of_connection: Vec<Demand> =
        forecast.demands.iter().filter(|demand| demand.connection == connection).cloned().collect();
    let shortest = of_connection.iter().filter(|demand| is_of(demand)).map(|demand| demand.interval).min()?;
    let slower = |demands: Vec<Demand>| -> HashSet<JobId> {
        let planned = around.forecast(&HashSet::from([connection]), demands);
        planned.jobs().filter(|(_, job)| !job.is_as_asked()).map(|(demand, _)| demand.job).collect()
    };
    // Beside the same others as the trials.
    let slower_before = slower(of_connection.clone());
    let outcome = |interval: Interval| {
        let mut demands = of_connection.clone();
        let mut changed = HashSet::new();
        for demand in demands.iter_mut().filter(|demand| is_of(demand) && demand.interval < interval) {
            demand.interval = interval;
            changed.insert(demand.job);
        }
        let slower_after = slower(demands);
        let helped = slower_before.iter().filter(|job| !slower_after.contains(job) && !changed.contains(job));
        Advice {
            connection,
            label: label.clone(),
            resource: resource.clone(),
            interval,
            jobs: changed.len(),
            helped: helped.count(),
            still_slower: slower_after.len(),
        }
    };
    let round = ROUND_S.iter().filter_map(|s| Interval::from_ms(s * 1_000));
    let longer: Vec<_> = round.filter(|interval| *interval > shortest).collect();
    // The longer the interval, the more is left for others.
    let fewest = outcome(*longer.last()?).still_slower;
    let at = longer.partition_point(|interval| outcome(*interval).still_slower > fewest);
    let advice = outcome(*longer.get(at)?);
    let helps = advice.helped > 0 || advice.still_slower < slower_before.len();
    helps.then_some(advice)
}

//! One take, computed again by the pure definitions: `pace::Gauge` for the instants and what is spent,
//! `schedule::score` for
//! the order.

use crate::far::Far;
use crate::holds::Stored;
use crate::model::{At, Model};
use crate::quota_inputs::Accounts;
use crate::referee::{connection, holders};
use crate::rig::Fields;
use paceline::pace::{Gauge, Gcra};
use paceline::provider::{Limit, Provider, Quota};
use paceline::schedule::{JobLocation, score};
use paceline::take::{FailureKind, Grant, Taken, TakerSettings};
use paceline::words::{JobId, ResourceName, Scope};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Stored numbers have three decimals.
const HAIR_MS: f64 = 0.01;

/// A ready job, by its rank.
#[derive(Debug, Clone, Copy)]
struct Ranked {
    score: f64,
    id: i64,
    device: i64,
    urgent: bool,
}

pub struct Twin<'a> {
    provider: &'a Provider,
    settings: &'a TakerSettings,
    fields: Fields,
    gauges: HashMap<(String, String), (Limit, Gauge)>,
    /// Likewise, had none been granted but "refresh now".
    without_calm: HashMap<(String, String), (Limit, Gauge)>,
    /// Likewise what is held.
    holds: [Stored; 2],
    /// When the schedule was last revived after a loss; 0 for never.
    epoch: f64,
    accounts: &'a Accounts,
    far: Far,
    /// How far ahead calls are granted, ms.
    horizon_ms: f64,
    lease_ms: f64,
    now: f64,
    /// The earliest instant that is granted.
    from: f64,
    ready: BTreeMap<(String, ResourceName), Vec<Ranked>>,
    devices: HashMap<i64, i64>,
    /// Where jobs that are due in a moment wait, by id.
    soon: HashMap<i64, f64>,
    urgent: HashSet<i64>,
    is_exact: bool,
    pub wrong: Vec<String>,
}

fn numbers(raw: &str) -> [f64; 3] {
    let mut parts = raw.split(' ').map(|part| part.parse().unwrap_or(0.0));
    [(); 3].map(|()| parts.next().unwrap_or(0.0))
}

/// What was stored of a quota, as gauge.lua reads it. None: what a loss left of it is not modelled.
fn stored(limit: &Limit, raw: Option<&String>, epoch: f64) -> Option<Gauge> {
    let [a, b, c] = raw.map_or([0.0; 3], |raw| numbers(raw));
    Some(match limit {
        Limit::Sliding { emission_ms, burst } => {
            // Kept in µs.
            Gauge::Sliding { tat_ms: (a / 1_000.0).max(epoch + f64::from(*burst) * emission_ms) }
        }
        Limit::Aligned { .. } if epoch > 0.0 => return None,
        Limit::Aligned { .. } => Gauge::Aligned { window_start_ms: a, spent: b },
        Limit::Concurrent { .. } => Gauge::Concurrent { in_flight: a },
        Limit::Errors { .. } if epoch > 0.0 && epoch > b => return None,
        Limit::Errors { .. } => Gauge::Errors { errors: a, last_ms: b, in_flight: c },
        Limit::Adaptive { start, floor, ceiling, window_ms } => {
            let (rate, cut_ms) = if raw.is_some() { (b, c) } else { (*start, 0.0) };
            let rate = rate.min(*ceiling).max(*floor);
            let spent = if epoch > 0.0 { epoch + window_ms / rate } else { 0.0 };
            Gauge::Adaptive { tat_ms: a.max(spent), rate, cut_ms }
        }
    })
}

impl<'a> Twin<'a> {
    pub fn new(
        (provider, settings, lease_ms): (&'a Provider, &'a TakerSettings, i64),
        (fields, epoch, accounts, far): (Fields, i64, &'a Accounts, Far),
        (model, ids, locations, due): (&Model, &[JobId], &[JobLocation], &HashMap<i64, f64>),
        (now, lead_ms): (i64, u64),
    ) -> Self {
        let mut twin = Self {
            provider,
            settings,
            fields,
            gauges: HashMap::new(),
            without_calm: HashMap::new(),
            holds: Default::default(),
            epoch: epoch as f64,
            accounts,
            far,
            horizon_ms: (settings.horizon.as_ms() + far.reach_ms) as f64,
            lease_ms: lease_ms as f64,
            now: now as f64,
            from: now as f64 + lead_ms as f64,
            ready: BTreeMap::new(),
            devices: model.jobs.values().map(|j| (j.entry.job.id.0, j.entry.job.device.0)).collect(),
            soon: HashMap::new(),
            urgent: HashSet::new(),
            is_exact: true,
            wrong: Vec::new(),
        };
        for (id, location) in ids.iter().zip(locations) {
            let Some(job) = model.jobs.get(&id.0).filter(|job| job.at == At::Waiting) else { continue };
            if job.urgent {
                twin.urgent.insert(id.0);
            }
            // A device's own limit may have put it off.
            if let Some(at) = due.get(&id.0).filter(|at| location.due && **at > now as f64) {
                twin.soon.insert(id.0, *at);
                continue;
            }
            let since = match job.last {
                // It keeps failing: behind those that are well.
                _ if job.attempts > 0 && job.kind > FailureKind::Transient as u8 => job.due,
                0 => (job.due - job.interval()).max(0),
                last => last,
            };
            let base = settings.base[usize::from(job.entry.job.priority.class()) - 1];
            let ranked = Ranked {
                score: if job.urgent {
                    since as f64 - 1e15
                } else {
                    score::score(base, now - since, settings.k)
                },
                id: id.0,
                device: job.entry.job.device.0,
                urgent: job.urgent,
            };
            let key = (job.entry.job.lane(), job.entry.job.resource.clone());
            twin.ready.entry(key).or_default().push(ranked);
        }
        for queue in twin.ready.values_mut() {
            queue.sort_by(|a, b| a.score.total_cmp(&b.score).then(a.id.to_string().cmp(&b.id.to_string())));
        }
        twin
    }

    /// Goes through what was granted. `after`: what is stored then.
    pub fn follow(&mut self, taken: &Taken, after: &Fields, devices_apart: bool) {
        let mut calm = false;
        for grant in &taken.grants {
            let urgent = self.is_urgent(grant);
            if urgent {
                self.hurry(grant, calm, devices_apart);
            }
            calm = calm || !urgent;
            if !devices_apart {
                self.rank(grant);
            }
            self.pace(grant, urgent, devices_apart);
            let served = |ranked: &Ranked| !grant.jobs.iter().any(|j| j.id.0 == ranked.id);
            if let Some(queue) = self.ready.get_mut(&(grant.lane.clone(), grant.resource.clone())) {
                queue.retain(served);
            }
        }
        if self.is_exact {
            self.compare(after);
        }
    }

    /// Whoever went before: it goes as soon as though all were "refresh now".
    fn hurry(&mut self, grant: &Grant, calm: bool, devices_apart: bool) {
        std::mem::swap(&mut self.gauges, &mut self.without_calm);
        self.holds.reverse();
        let devices: Vec<_> =
            grant.jobs.iter().filter_map(|job| self.devices.get(&job.id.0).copied()).collect();
        let at = self.now + grant.send_in_ms;
        // One that was put off after a failure waits, asked for or not.
        let from = self.soon.get(&grant.jobs[0].id.0).copied().unwrap_or(self.now).max(self.from);
        let soonest = self.earliest(&grant.lane, &grant.resource, &devices, from, true);
        if let Some(soonest) = soonest.filter(|soonest| calm && at > soonest + HAIR_MS && !devices_apart) {
            self.wrong
                .push(format!("refresh: call {} goes at {at}, and could have at {soonest}", grant.call));
        }
        self.spend(grant, &devices, at, true);
        std::mem::swap(&mut self.gauges, &mut self.without_calm);
        self.holds.reverse();
    }

    /// Who sleeps on for a call to end although one has.
    pub fn sleepers(&mut self, ids: &[JobId], locations: &[JobLocation], model: &Model) {
        let lost = self.epoch > 0.0 && self.now < self.epoch + self.lease_ms;
        for (id, location) in ids.iter().zip(locations) {
            if lost || !location.ready || location.until_ms <= self.now {
                continue;
            }
            let job = &model.jobs[&id.0].entry.job;
            let named =
                |(_, field): &(String, String)| field.split(['~', '@']).next() == Some(&location.blocked_by);
            let keys = self.chain(&location.lane, &job.resource, &[job.device.0], false);
            let mut gauges = keys.iter().filter(|key| named(key)).filter_map(|key| self.gauges.get(key));
            let has_room = |(limit, gauge): &(Limit, Gauge)| {
                matches!(limit, Limit::Concurrent { .. })
                    && gauge.earliest_ms(limit, 1.0, self.now) <= self.now
            };
            if gauges.clone().next().is_some() && gauges.all(has_room) {
                self.wrong.push(format!(
                    "wake: job {id} sleeps {} ms more for {}, which has room",
                    location.until_ms - self.now,
                    location.blocked_by
                ));
            }
        }
    }

    fn is_urgent(&self, grant: &Grant) -> bool {
        self.urgent.contains(&grant.jobs[0].id.0)
    }

    /// The members of a call are the best of their queue, and no other queue of the lane had a better that could go.
    fn rank(&mut self, grant: &Grant) {
        let key = (grant.lane.clone(), grant.resource.clone());
        let none = Vec::new();
        let queue = self.ready.get(&key).unwrap_or(&none);
        let first = grant.jobs[0].id.0;
        if self.soon.contains_key(&first) {
            if let Some(better) = queue.first() {
                self.wrong.push(format!("rank: job {first}, due in a moment, goes ahead of {}", better.id));
            }
            return;
        }
        let batch_max = self.provider.resource(grant.resource.as_str()).map_or(1, |r| r.places() as usize);
        let best: Vec<_> = queue.iter().take(batch_max).map(|ranked| ranked.id).collect();
        let served: Vec<_> = grant.jobs.iter().take(best.len()).map(|job| job.id.0).collect();
        if best != served {
            self.wrong
                .push(format!("rank: call {} of {key:?} serves {served:?}, ahead are {best:?}", grant.call));
            return;
        }
        let head = queue[0];
        let others: Vec<_> = self
            .ready
            .iter()
            .filter(|((lane, resource), queue)| {
                *lane == grant.lane && *resource != grant.resource && !queue.is_empty()
            })
            .filter(|(_, queue)| queue[0].score < head.score - head.score.abs() * 1e-12)
            .map(|((_, resource), queue)| (resource.clone(), queue.clone()))
            .collect();
        for (resource, queue) in others {
            let size =
                self.provider.resource(resource.as_str()).map_or(1, |r| r.places() as usize).min(queue.len());
            let devices: Vec<_> = queue[..size].iter().map(|ranked| ranked.device).collect();
            let urgent = queue[0].urgent;
            // What holds back only others than the one that went is no reason to hold this one back.
            let at =
                self.earliest_of(&grant.lane, &resource, &devices, self.from, urgent, Some(&grant.resource));
            let limit = self.now + self.horizon_ms;
            let all = self.earliest(&grant.lane, &resource, &devices, self.from, urgent);
            let (Some(at), Some(all)) = (at, all) else { continue };
            let better = queue[0].id;
            if all <= limit - HAIR_MS && self.takes_turns(&resource) {
                continue; // another lane may be ahead of it there
            } else if all <= limit - HAIR_MS {
                let what =
                    format!("rank: job {} goes ahead of {better} of {resource:?}, which may go", head.id);
                self.wrong.push(what);
            } else if at > limit && at >= all {
                let what =
                    format!("rank: job {} goes ahead of {better} of {resource:?}, which costs more", head.id);
                self.wrong.push(what);
            }
        }
    }

    /// Whether lanes wait in order at a quota of the app that counts this resource and not all.
    fn takes_turns(&self, resource: &ResourceName) -> bool {
        let of_some = |quota: &&Quota| quota.scope == Scope::App && quota.resources.is_some();
        self.provider.quotas().filter(of_some).any(|quota| quota.counts(resource))
    }

    /// The instant is the earliest that the whole chain allows, and the chain is spent.
    fn pace(&mut self, grant: &Grant, urgent: bool, devices_apart: bool) {
        let devices: Vec<_> =
            grant.jobs.iter().filter_map(|job| self.devices.get(&job.id.0).copied()).collect();
        let at = self.now + grant.send_in_ms;
        let first = self.soon.get(&grant.jobs[0].id.0).copied();
        let from = first.unwrap_or(self.now).max(self.from);
        match self.earliest(&grant.lane, &grant.resource, &devices, from, urgent) {
            Some(earliest) if !devices_apart && (at - earliest).abs() > HAIR_MS => {
                self.wrong.push(format!("pace: call {} goes at {at}, its chain says {earliest}", grant.call));
            }
            // A hold of a device is not known here.
            Some(earliest) if at < earliest - HAIR_MS => {
                self.wrong
                    .push(format!("pace: call {} goes at {at}, before its chain's {earliest}", grant.call));
            }
            Some(_) => {}
            None => self.is_exact = false,
        }
        self.spend(grant, &devices, at, urgent);
    }

    fn spend(&mut self, grant: &Grant, devices: &[i64], at: f64, urgent: bool) {
        let cost = f64::from(self.cost(&grant.resource, devices.len()));
        for key in self.chain(&grant.lane, &grant.resource, devices, urgent) {
            if let Some((limit, gauge)) = self.gauges.get_mut(&key) {
                gauge.spend(limit, cost, at);
            }
        }
        self.holds[0].spend(&self.fields, &grant.lane, &self.settings.hold, self.now);
    }

    fn cost(&self, resource: &ResourceName, devices: usize) -> u32 {
        self.provider.resource(resource.as_str()).map_or(1, |r| r.cost_of(devices as u32))
    }

    /// Where the quotas of a call are kept; what is read for the first time is kept as a gauge.
    fn chain(
        &mut self,
        lane: &str,
        resource: &ResourceName,
        devices: &[i64],
        urgent: bool,
    ) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for quota in self.provider.quotas().filter(|q| q.counts(resource)) {
            let (whole, rest) = quota.limits_for(&self.accounts.now(connection(lane)));
            let (whole, rest) =
                (self.far.stretched(quota, whole), rest.map(|it| self.far.stretched(quota, it)));
            let limits = [Some((whole, "")), rest.filter(|_| !urgent).map(|limit| (limit, "~"))];
            for holder in holders(quota.scope, lane, devices) {
                for (limit, mark) in limits.iter().flatten() {
                    let key = key(quota, mark, lane, &holder);
                    if !self.gauges.contains_key(&key) {
                        match self.stored(quota.varies(), limit, &key, &self.fields) {
                            Some(gauge) => drop(self.gauges.insert(key.clone(), (limit.clone(), gauge))),
                            None => self.is_exact = false,
                        }
                    }
                    found.push(key);
                }
            }
        }
        found
    }

    fn earliest(
        &mut self,
        lane: &str,
        resource: &ResourceName,
        devices: &[i64],
        from: f64,
        urgent: bool,
    ) -> Option<f64> {
        self.earliest_of(lane, resource, devices, from, urgent, None)
    }

    /// Of all quotas, or of those that count another resource too.
    fn earliest_of(
        &mut self,
        lane: &str,
        resource: &ResourceName,
        devices: &[i64],
        from: f64,
        urgent: bool,
        other: Option<&ResourceName>,
    ) -> Option<f64> {
        let mut keys = self.chain(lane, resource, devices, urgent);
        if let Some(other) = other {
            let both = self.chain(lane, other, devices, urgent);
            keys.retain(|key| both.contains(key));
        }
        let cost = f64::from(self.cost(resource, devices.len()));
        let held = from.max(self.holds[0].open_at(&self.fields, lane, &self.settings.hold, self.now));
        if held.is_infinite() {
            return Some(held);
        }
        let mut at = held;
        for _ in 0..4 {
            let before = at;
            for key in &keys {
                let (limit, gauge) = self.gauges.get(key)?;
                at = at.max(gauge.earliest_ms(limit, cost, at));
                // Calls that a loss forgot may be in flight for as long as a lease lasts.
                if matches!(limit, Limit::Concurrent { .. }) && self.epoch > 0.0 {
                    at = at.max(self.epoch + self.lease_ms);
                }
            }
            if at == before {
                break;
            }
        }
        Some(at)
    }

    /// What is stored of a quota, by its connection's quota inputs.
    fn stored(&self, varies: bool, limit: &Limit, key: &(String, String), fields: &Fields) -> Option<Gauge> {
        let since = if varies { self.accounts.since(&key.0) } else { 0 };
        let horizon_ms = self.horizon_ms;
        // As though all had been spent at the last instant that was granted by other inputs.
        let since = if since > 0 { since as f64 + horizon_ms } else { 0.0 };
        let spent = if matches!(limit, Limit::Sliding { .. }) { self.far.spent_until } else { 0.0 };
        let kept = stored(limit, fields.get(key), self.epoch.max(since).max(spent))?;
        Some(match (kept, limit) {
            (Gauge::Sliding { tat_ms }, Limit::Sliding { emission_ms, burst }) if varies => {
                let gcra = Gcra { emission_ms: *emission_ms, burst: f64::from(*burst) };
                Gauge::Sliding { tat_ms: gcra.changed(tat_ms, since.max(spent), self.now + horizon_ms) }
            }
            (kept, _) => kept,
        })
    }

    /// What the script stored is what the definition spent.
    fn compare(&mut self, after: &Fields) {
        for (key, (limit, gauge)) in &self.gauges {
            let varies = self.provider.quotas().any(|quota| quota.varies() && is_of(quota, &key.1));
            let kept = self.stored(varies, limit, key, after);
            let alike = match (kept, *gauge) {
                (Some(Gauge::Sliding { tat_ms: a }), Gauge::Sliding { tat_ms: b }) => (a - b).abs() < HAIR_MS,
                (
                    Some(Gauge::Adaptive { tat_ms: a, rate: c, .. }),
                    Gauge::Adaptive { tat_ms: b, rate: d, .. },
                ) => (a - b).abs() < HAIR_MS * 2.0 && (c - d).abs() < 1e-3 * d,
                (Some(kept), gauge) => kept == gauge,
                (None, _) => true,
            };
            if !alike {
                self.wrong.push(format!("spent: {key:?} is kept as {kept:?}, and should be {gauge:?}"));
            }
        }
    }
}

/// Whether a field is that quota's.
fn is_of(quota: &Quota, field: &str) -> bool {
    field.split(['~', '@', '#']).next() == Some(&quota.name)
}

/// Holder and field under which a quota is kept.
fn key(quota: &Quota, mark: &str, lane: &str, holder: &str) -> (String, String) {
    let name = format!("{}{mark}", quota.name);
    let own = connection(lane).to_owned();
    match quota.scope {
        Scope::App => ("app".to_owned(), name),
        Scope::Connection => (own, name),
        Scope::Group => {
            (own, lane.split_once('.').map_or(name.clone(), |(_, group)| format!("{name}@{group}")))
        }
        Scope::Device => (own, format!("{name}#{holder}")),
    }
}

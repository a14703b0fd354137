//! Progressive filling: all rise together, and whoever reaches a full quota stays where they are.
//!
//! D. Bertsekas and R. Gallager, *Data Networks*, 2nd ed., 6.5.2. Here it is done in three tiers, as the scheduler
//! serves them: the lanes of the application share its quotas, those of a connection the connection's, each in
//! proportion to its tenant's weight; inside a lane the jobs share what it has, by the weight of their priority.

use super::lane::Lane;
use super::root::reach;
use super::set::Set;
use std::collections::HashMap;

/// A quota as a rate.
#[derive(Debug, Clone)]
pub(super) struct Supply {
    /// Which, by its place in the provider's definition.
    pub quota: usize,
    /// Cost a ms, of connections that have none of their own.
    pub per_ms: f64,
    /// Of those that have, by their number.
    pub own: HashMap<i64, f64>,
    /// Whether it counts a resource, by the resource's place.
    pub counts: Vec<bool>,
}

impl Supply {
    /// Cost a ms that it gives these lanes together, which are of one connection if it gives each its own.
    fn rate(&self, lanes: &[Lane]) -> f64 {
        if self.own.is_empty() {
            return self.per_ms;
        }
        lanes.first().and_then(|lane| self.own.get(&lane.connection)).copied().unwrap_or(self.per_ms)
    }
}

/// The quotas that lanes share at one scope.
pub(super) struct Tier {
    /// The quotas.
    pub supplies: Vec<Supply>,
    /// Whether two lanes share those of the tier below, too.
    pub together_below: fn(&Lane, &Lane) -> bool,
}

impl Tier {
    fn has(&self, quota: usize) -> bool {
        self.supplies.iter().any(|supply| supply.quota == quota)
    }
}

/// So often what a quota leaves of another is handed out again: each time it is less.
const ROUNDS_MAX: usize = 60;

/// Above its supply by less is as full as floating point tells.
const FULL: f64 = 1.0 + 1e-9;

/// Finds where the level of every set ends. `tiers` go from the outermost in; those who share a tier stand together.
///
/// Quotas further in are met first, each on its own; an outer one that they leave too much for then stops everybody it
/// counts at one level, and what goes on after that is found anew: the sets that stopped left room further in.
pub(super) fn fill(lanes: &mut [Lane], tiers: &[Tier]) {
    let Some((tier, below)) = tiers.split_first() else { return };
    let mut ends: Vec<_> = lanes.iter().flat_map(|lane| &lane.sets).map(Ends::of).collect();
    for round in 0.. {
        if !below.is_empty() {
            lanes.chunk_by_mut(tier.together_below).for_each(|part| fill(part, below));
        }
        let Some((share, supply)) = first_full(lanes, &tier.supplies) else { return };
        let levels = levels(lanes, share, supply);
        let stop = Stop { tier, supply, is_last: round >= ROUNDS_MAX };
        let (mut rest, mut of_rest, mut eased) = (&mut ends[..], &levels[..], None);
        for part in lanes.chunk_by_mut(tier.together_below) {
            let (own, after) = rest.split_at_mut(part.iter().map(|lane| lane.sets.len()).sum());
            let (levels, others) = of_rest.split_at(part.len());
            (rest, of_rest) = (after, others);
            eased = stop.at(part, levels, own).or(eased);
        }
        for (set, end) in lanes.iter_mut().flat_map(|lane| &mut lane.sets).zip(&mut ends) {
            if eased.is_some() && end.now.1 == eased {
                end.now = end.first;
            }
            (set.stop, set.by) = end.now;
        }
    }
}

/// A level, and the quota that ends it there.
type End = (f64, Option<usize>);

/// Where a set ended when its tier was begun, and where it does now.
struct Ends {
    first: End,
    now: End,
}

impl Ends {
    fn of(set: &Set) -> Self {
        Self { first: (set.stop, set.by), now: (set.stop, set.by) }
    }
}

/// A supply that is full.
struct Stop<'a> {
    tier: &'a Tier,
    supply: &'a Supply,
    /// What it leaves of other quotas is handed out no more.
    is_last: bool,
}

impl Stop<'_> {
    /// Notes who ends at these levels, of lanes that share a tier further in. Returns another quota of this tier that
    /// had stopped one of them: it has room again, for those that it stops alone.
    fn at(&self, part: &[Lane], levels: &[f64], ends: &mut [Ends]) -> Option<usize> {
        let is_stopped = |set: &Set, level: f64| self.supply.counts[set.resource] && level < set.stop;
        let sets =
            || part.iter().zip(levels).flat_map(|(lane, level)| lane.sets.iter().map(|set| (set, *level)));
        let leaves_room = sets().any(|(set, level)| is_stopped(set, level));
        let mut eased = None;
        for ((set, level), end) in sets().zip(ends) {
            let by = end.now.1;
            let of_tier = by.is_some_and(|by| self.tier.has(by));
            if is_stopped(set, level) {
                if of_tier && by != Some(self.supply.quota) && !self.is_last {
                    eased = by;
                }
                end.now = (level, Some(self.supply.quota));
            } else if leaves_room && !of_tier && !self.is_last {
                // Further in there is room again.
                end.now = end.first;
            } else if !leaves_room && set.stop <= level {
                // Further in something was full before, and stays so.
                end.now = (set.stop, set.by);
            }
        }
        eased
    }
}

/// The supply that is full first as all rise together, and the share at which it is; none if all have enough.
fn first_full<'a>(lanes: &[Lane], supplies: &'a [Supply]) -> Option<(f64, &'a Supply)> {
    let full = supplies.iter().filter_map(|supply| Some((full_at(lanes, supply)?, supply)));
    full.min_by(|a, b| a.0.total_cmp(&b.0))
}

/// The share at which a supply is full.
fn full_at(lanes: &[Lane], supply: &Supply) -> Option<f64> {
    let counts = |set: &Set| supply.counts[set.resource];
    let wanted: f64 = lanes.iter().map(|lane| lane.cost(f64::INFINITY, &counts)).sum();
    let rate = supply.rate(lanes);
    if wanted <= rate * FULL {
        return None;
    }
    if let [lane] = lanes {
        return Some(reach(lane.top(), rate, |level| lane.cost(level, &counts)));
    }
    let most: Vec<f64> = lanes.iter().map(Lane::most).collect();
    let top = lanes.iter().zip(&most).map(|(lane, most)| most / lane.weight).fold(0.0, f64::max);
    let counts_all = lanes.iter().all(|lane| lane.sets.iter().all(counts));
    Some(reach(top, rate, |share| {
        let costs = lanes.iter().zip(&most).map(|(lane, most)| match counts_all {
            // What a lane costs in all is its share, until it has enough: no need to find its level.
            true => most.min(share * lane.weight),
            false => lane.cost(level_of(lane, share, false), &counts),
        });
        costs.sum()
    }))
}

/// The level of a lane where lanes of weight 1 have this share, cost a ms; of one alone the share is the level.
fn level_of(lane: &Lane, share: f64, alone: bool) -> f64 {
    if alone { share } else { lane.level_at(share * lane.weight) }
}

/// The level of every lane where a supply that is full at this share stops them. One that counts only some of what they
/// do is shared by what they cost there, whatever they cost elsewhere.
fn levels(lanes: &[Lane], share: f64, supply: &Supply) -> Vec<f64> {
    let counts = |set: &Set| supply.counts[set.resource];
    if lanes.len() == 1 || lanes.iter().all(|lane| lane.sets.iter().all(counts)) {
        return lanes.iter().map(|lane| level_of(lane, share, lanes.len() == 1)).collect();
    }
    let most: Vec<f64> = lanes.iter().map(|lane| lane.cost(f64::INFINITY, &counts)).collect();
    let top = lanes.iter().zip(&most).map(|(lane, most)| most / lane.weight).fold(0.0, f64::max);
    let share = reach(top, supply.rate(lanes), |share| {
        lanes.iter().zip(&most).map(|(lane, most)| most.min(share * lane.weight)).sum()
    });
    let level = |lane: &Lane| reach(lane.top(), share * lane.weight, |level| lane.cost(level, &counts));
    lanes.iter().map(level).collect()
}

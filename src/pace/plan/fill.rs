//! Progressive filling: all levels rise together; when a quota is full, the levels that it counts stop.
//!
//! D. Bertsekas and R. Gallager, *Data Networks*, 2nd ed., 6.5.2. It runs in three tiers, as the scheduler serves them:
//! all lanes share the app's quotas, and the lanes of a connection share the connection's, each in proportion to its
//! tenant's weight; inside a lane the jobs share its part, by the weight of their priority.

use super::invert::invert;
use super::lane::Lane;
use super::set::JobSet;
use std::collections::HashMap;

/// A quota as a rate of cost.
#[derive(Debug, Clone)]
pub(super) struct Supply {
    /// The quota, by its index in the provider's definition.
    pub quota: usize,
    /// Cost per ms for connections without an entry in `own`.
    pub per_ms: f64,
    /// Cost per ms of connections with a rate of their own, by connection id.
    pub own: HashMap<i64, f64>,
    /// Whether it counts a resource, by the resource's index.
    pub counts: Vec<bool>,
}

impl Supply {
    /// Cost per ms for these lanes together. They must belong to one connection if `own` is not empty.
    fn rate(&self, lanes: &[Lane]) -> f64 {
        if self.own.is_empty() {
            return self.per_ms;
        }
        lanes.first().and_then(|lane| self.own.get(&lane.connection)).copied().unwrap_or(self.per_ms)
    }
}

/// The quotas of one scope, shared by lanes.
pub(super) struct Tier {
    /// The quotas.
    pub supplies: Vec<Supply>,
    /// Whether two lanes also share the quotas of the next inner tier.
    pub shared_below: fn(&Lane, &Lane) -> bool,
}

impl Tier {
    fn has(&self, quota: usize) -> bool {
        self.supplies.iter().any(|supply| supply.quota == quota)
    }
}

/// Bound of the rounds in which capacity that one quota frees at another is given out again; it shrinks each round.
const ROUNDS_MAX: usize = 60;

/// A demand below the supply times this fits: the excess is rounding error.
const FULL: f64 = 1.0 + 1e-9;

/// Finds the level cap of every set. `tiers` run from the outermost to the innermost; lanes that share a tier must be
/// adjacent.
///
/// Inner quotas are solved first, each on its own. An outer quota that is then over its supply caps all sets that it
/// counts at one level. This frees capacity of inner quotas, so they are solved again with the caps in place.
pub(super) fn fill(lanes: &mut [Lane], tiers: &[Tier]) {
    let Some((tier, below)) = tiers.split_first() else { return };
    let mut caps: Vec<_> = lanes.iter().flat_map(|lane| &lane.sets).map(Caps::of).collect();
    for round in 0.. {
        if !below.is_empty() {
            lanes.chunk_by_mut(tier.shared_below).for_each(|part| fill(part, below));
        }
        let Some((share, supply)) = first_full(lanes, &tier.supplies) else { return };
        let levels = levels(lanes, share, supply);
        let full = FullSupply { tier, supply, is_last_round: round >= ROUNDS_MAX };
        let (mut rest_caps, mut rest_levels, mut relaxed) = (&mut caps[..], &levels[..], None);
        for part in lanes.chunk_by_mut(tier.shared_below) {
            let (part_caps, after) = rest_caps.split_at_mut(part.iter().map(|lane| lane.sets.len()).sum());
            let (part_levels, others) = rest_levels.split_at(part.len());
            (rest_caps, rest_levels) = (after, others);
            relaxed = full.apply(part, part_levels, part_caps).or(relaxed);
        }
        for (set, cap) in lanes.iter_mut().flat_map(|lane| &mut lane.sets).zip(&mut caps) {
            if relaxed.is_some() && cap.current.1 == relaxed {
                cap.current = cap.initial;
            }
            (set.level_cap, set.capped_by) = cap.current;
        }
    }
}

/// A level, and the quota that caps it there.
type Cap = (f64, Option<usize>);

/// The cap of a set when its tier started, and its current cap.
struct Caps {
    initial: Cap,
    current: Cap,
}

impl Caps {
    fn of(set: &JobSet) -> Self {
        Self { initial: (set.level_cap, set.capped_by), current: (set.level_cap, set.capped_by) }
    }
}

/// A supply that is full.
struct FullSupply<'a> {
    tier: &'a Tier,
    supply: &'a Supply,
    /// Whether capacity that it frees at other quotas is no longer given out again.
    is_last_round: bool,
}

impl FullSupply<'_> {
    /// Caps the sets of lanes that share an inner tier at these levels. Returns another quota of this tier that had
    /// capped one of them: it now has spare capacity for the sets that only it caps.
    fn apply(&self, part: &[Lane], levels: &[f64], caps: &mut [Caps]) -> Option<usize> {
        let is_capped = |set: &JobSet, level: f64| self.supply.counts[set.resource] && level < set.level_cap;
        let sets =
            || part.iter().zip(levels).flat_map(|(lane, level)| lane.sets.iter().map(|set| (set, *level)));
        let frees_inner = sets().any(|(set, level)| is_capped(set, level));
        let mut relaxed = None;
        for ((set, level), cap) in sets().zip(caps) {
            let capped_by = cap.current.1;
            let is_of_tier = capped_by.is_some_and(|quota| self.tier.has(quota));
            if is_capped(set, level) {
                if is_of_tier && capped_by != Some(self.supply.quota) && !self.is_last_round {
                    relaxed = capped_by;
                }
                cap.current = (level, Some(self.supply.quota));
            } else if frees_inner && !is_of_tier && !self.is_last_round {
                // An inner quota has spare capacity again.
                cap.current = cap.initial;
            } else if !frees_inner && set.level_cap <= level {
                // An inner quota was full before and stays full.
                cap.current = (set.level_cap, set.capped_by);
            }
        }
        relaxed
    }
}

/// The supply that is full first as all levels rise, and the share at which it is full; none if all suffice.
fn first_full<'a>(lanes: &[Lane], supplies: &'a [Supply]) -> Option<(f64, &'a Supply)> {
    let full = supplies.iter().filter_map(|supply| Some((full_at(lanes, supply)?, supply)));
    full.min_by(|a, b| a.0.total_cmp(&b.0))
}

/// The share at which a supply is full; none if it suffices.
fn full_at(lanes: &[Lane], supply: &Supply) -> Option<f64> {
    let counts = |set: &JobSet| supply.counts[set.resource];
    let demand: f64 = lanes.iter().map(|lane| lane.cost(f64::INFINITY, &counts)).sum();
    let rate = supply.rate(lanes);
    if demand <= rate * FULL {
        return None;
    }
    if let [lane] = lanes {
        return Some(invert(lane.max_level(), rate, |level| lane.cost(level, &counts)));
    }
    let max_costs: Vec<f64> = lanes.iter().map(Lane::max_cost).collect();
    let max_share =
        lanes.iter().zip(&max_costs).map(|(lane, max_cost)| max_cost / lane.weight).fold(0.0, f64::max);
    let counts_all = lanes.iter().all(|lane| lane.sets.iter().all(counts));
    Some(invert(max_share, rate, |share| {
        let costs = lanes.iter().zip(&max_costs).map(|(lane, max_cost)| match counts_all {
            // A lane's total cost equals its share until it has enough, so its level need not be computed.
            true => max_cost.min(share * lane.weight),
            false => lane.cost(level_of(lane, share, false), &counts),
        });
        costs.sum()
    }))
}

/// The level of a lane when lanes of weight 1 have this share, cost per ms; for a single lane the share is the level.
fn level_of(lane: &Lane, share: f64, alone: bool) -> f64 {
    if alone { share } else { lane.level_at(share * lane.weight) }
}

/// The level of every lane at which a supply that is full at this share caps it. A supply that counts only some of
/// their jobs is shared by the cost of those jobs, whatever the others cost.
fn levels(lanes: &[Lane], share: f64, supply: &Supply) -> Vec<f64> {
    let counts = |set: &JobSet| supply.counts[set.resource];
    if lanes.len() == 1 || lanes.iter().all(|lane| lane.sets.iter().all(counts)) {
        return lanes.iter().map(|lane| level_of(lane, share, lanes.len() == 1)).collect();
    }
    let max_costs: Vec<f64> = lanes.iter().map(|lane| lane.cost(f64::INFINITY, &counts)).collect();
    let max_share =
        lanes.iter().zip(&max_costs).map(|(lane, max_cost)| max_cost / lane.weight).fold(0.0, f64::max);
    let share = invert(max_share, supply.rate(lanes), |share| {
        lanes.iter().zip(&max_costs).map(|(lane, max_cost)| max_cost.min(share * lane.weight)).sum()
    });
    let level =
        |lane: &Lane| invert(lane.max_level(), share * lane.weight, |level| lane.cost(level, &counts));
    lanes.iter().map(level).collect()
}

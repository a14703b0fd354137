//! Progressive filling: all rise together, and whoever reaches a full quota stays where they are.
//!
//! D. Bertsekas and R. Gallager, *Data Networks*, 2nd ed., 6.5.2. Here it is done in three tiers, as the scheduler
//! serves them: the lanes of the application share its quotas, those of a connection the connection's, each in
//! proportion to its tenant's weight; inside a lane the jobs share what it has, by the weight of their priority.

use super::lane::Lane;
use super::root::reach;
use super::set::Set;

/// A quota as a rate.
#[derive(Debug, Clone)]
pub(super) struct Supply {
    /// Which, by its place in the provider's definition.
    pub quota: usize,
    /// Cost a ms.
    pub per_ms: f64,
    /// Whether it counts a resource, by the resource's place.
    pub counts: Vec<bool>,
}

/// The quotas that lanes share at one scope.
pub(super) struct Tier {
    /// The quotas.
    pub supplies: Vec<Supply>,
    /// Whether two lanes share those of the tier below, too.
    pub together_below: fn(&Lane, &Lane) -> bool,
}

/// Above its supply by less is as full as floating point tells.
const FULL: f64 = 1.0 + 1e-9;

/// Finds where the level of every set ends. `tiers` go from the outermost in; those who share a tier stand together.
///
/// Quotas further in are met first, each on its own; an outer one that they leave too much for then stops everybody it
/// counts at one level, and what goes on after that is found anew: the sets that stopped left room further in.
pub(super) fn fill(lanes: &mut [Lane], tiers: &[Tier]) {
    let Some((tier, below)) = tiers.split_first() else { return };
    let mut ends = ends(lanes);
    loop {
        if !below.is_empty() {
            lanes.chunk_by_mut(tier.together_below).for_each(|part| fill(part, below));
        }
        let Some((share, supply)) = first_full(lanes, &tier.supplies) else { return };
        let alone = lanes.len() == 1;
        let mut end = ends.iter_mut();
        for lane in lanes.iter_mut() {
            let level = level_of(lane, share, alone);
            for (set, end) in lane.sets.iter_mut().zip(&mut end) {
                if supply.counts[set.resource] && level < set.stop {
                    *end = (level, Some(supply.quota));
                } else if set.stop <= level {
                    // Further in something was full before.
                    *end = (set.stop, set.by);
                }
                (set.stop, set.by) = *end;
            }
        }
    }
}

fn ends(lanes: &[Lane]) -> Vec<(f64, Option<usize>)> {
    lanes.iter().flat_map(|lane| &lane.sets).map(|set| (set.stop, set.by)).collect()
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
    if wanted <= supply.per_ms * FULL {
        return None;
    }
    if let [lane] = lanes {
        return Some(reach(lane.top(), supply.per_ms, |level| lane.cost(level, &counts)));
    }
    let most: Vec<f64> = lanes.iter().map(Lane::most).collect();
    let top = lanes.iter().zip(&most).map(|(lane, most)| most / lane.weight).fold(0.0, f64::max);
    let counts_all = lanes.iter().all(|lane| lane.sets.iter().all(counts));
    Some(reach(top, supply.per_ms, |share| {
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

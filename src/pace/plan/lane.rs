//! A lane: sets of jobs of one connection or group, whose level rises together.

use super::invert::invert;
use super::set::JobSet;

/// One lane of a connection.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    /// The index of one of its demands; none if its jobs are not reported.
    pub first: Option<usize>,
    /// Its connection's id.
    pub connection: i64,
    /// Its tenant's weight among lanes.
    pub weight: f64,
    /// One set per resource.
    pub sets: Vec<JobSet>,
}

impl Lane {
    /// Whether two lanes belong to one connection.
    pub(super) fn shares_connection(&self, other: &Self) -> bool {
        self.connection == other.connection
    }

    /// Cost per ms at a level, of the sets that `counts` selects.
    pub(super) fn cost(&self, level: f64, counts: &impl Fn(&JobSet) -> bool) -> f64 {
        self.sets.iter().filter(|set| counts(set)).map(|set| set.cost(level)).sum()
    }

    /// Its highest possible cost per ms.
    pub(super) fn max_cost(&self) -> f64 {
        self.cost(f64::INFINITY, &|_| true)
    }

    /// Above this level nothing changes.
    pub(super) fn max_level(&self) -> f64 {
        self.sets.iter().map(JobSet::max_level).fold(0.0, f64::max)
    }

    /// The level at which it costs `cost` per ms; its maximum level if it never does.
    pub(super) fn level_at(&self, cost: f64) -> f64 {
        invert(self.max_level(), cost, |level| self.cost(level, &|_| true))
    }
}

//! A lane: the sets of jobs that share a credential, raised together.

use super::root::reach;
use super::set::Set;

/// One lane of a connection.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    /// One of its demands, by its place.
    pub first: usize,
    /// Its connection, by its number.
    pub connection: i64,
    /// Its tenant's weight among lanes.
    pub weight: f64,
    /// By resource.
    pub sets: Vec<Set>,
}

impl Lane {
    /// Whether two lanes are of one connection.
    pub(super) fn shares_connection(&self, other: &Self) -> bool {
        self.connection == other.connection
    }

    /// Cost a ms, at a level, of those sets that count.
    pub(super) fn cost(&self, level: f64, counts: &impl Fn(&Set) -> bool) -> f64 {
        self.sets.iter().filter(|set| counts(set)).map(|set| set.cost(level)).sum()
    }

    /// The most it will ever cost a ms.
    pub(super) fn most(&self) -> f64 {
        self.cost(f64::INFINITY, &|_| true)
    }

    /// Past this level nothing changes any more.
    pub(super) fn top(&self) -> f64 {
        self.sets.iter().map(Set::top).fold(0.0, f64::max)
    }

    /// The level at which it costs so much a ms; its top if it never does.
    pub(super) fn level_at(&self, cost: f64) -> f64 {
        reach(self.top(), cost, |level| self.cost(level, &|_| true))
    }
}

//! How far a process is from its servers, and what its grants need because of that.
//!
//! A script runs at some instant between the request for calls and the answer, and nobody knows when. A granted call is
//! sent no earlier than its wait after the answer, and no later than its wait and the tolerance after the request: with
//! a round trip longer than the tolerance there is no such instant, and without time to look up the targets it is past.

use serde::Serialize;
use std::collections::VecDeque;
use std::time::Duration;

/// What the grants of a process need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Distance {
    /// A call is granted for an instant this long after the script at the earliest, ms: its target is known by then.
    pub lead_ms: u64,
    /// A call may be sent this much later than the tolerance, ms. All windows of the provider are stretched by it.
    pub late_ms: u64,
    /// Calls are granted this much farther ahead than `take.horizon`, ms, so that there are some until the next take.
    pub reach_ms: u64,
}

/// Measures it, from round trips and from how long targets take to look up.
#[derive(Debug)]
pub(super) struct Meter {
    /// How late calls may be sent in any case, ms.
    tolerance_ms: f64,
    /// From asking for calls to knowing their targets, ms; the last ones.
    handling_ms: VecDeque<f64>,
    /// The shortest round trips of the current period, and of the one before it.
    shortest: [RoundTrip; 2],
    /// Round trips in this period.
    count: u32,
}

/// From asking for calls to the answer.
#[derive(Debug, Clone, Copy)]
struct RoundTrip {
    /// All of it, ms.
    whole_ms: f64,
    /// Without the time that the script ran, ms.
    way_ms: f64,
}

impl RoundTrip {
    const NONE: Self = Self { whole_ms: f64::INFINITY, way_ms: f64::INFINITY };

    fn min(self, other: Self) -> Self {
        Self { whole_ms: self.whole_ms.min(other.whole_ms), way_ms: self.way_ms.min(other.way_ms) }
    }
}

/// Round trips that are looked at for the shortest one.
const PERIOD: u32 = 64;
/// Before so many round trips nothing is said about the shortest: the first ones connect and load scripts.
const COUNT_MIN: u32 = 4;
/// The share of the tolerance that a busy Redis may use up.
const BUSY_SHARE: f64 = 0.8;
/// How many lookups are remembered, and the share of them that the lead is enough for.
const LOOKUPS: usize = 10;
const SHARE: f64 = 0.8;
/// What takes longer than this, ms, is not waited for.
const LEAD_MAX_MS: f64 = 3_000.0;
/// Values are rounded up to multiples of this, so that they seldom change.
const STEP_MS: f64 = 10.0;

impl Meter {
    pub(super) fn new(tolerance: Duration) -> Self {
        Self {
            tolerance_ms: ms(tolerance),
            handling_ms: VecDeque::with_capacity(LOOKUPS),
            shortest: [RoundTrip::NONE; 2],
            count: 0,
        }
    }

    /// Takes in how long Redis took to answer, and for how much of it the script ran.
    pub(super) fn note_round_trip(&mut self, took: Duration, script_ms: f64) {
        if self.count == PERIOD {
            self.shortest = [RoundTrip::NONE, self.shortest[0]];
            self.count = 0;
        }
        self.count += 1;
        let whole_ms = ms(took);
        self.shortest[0] = self.shortest[0].min(RoundTrip { whole_ms, way_ms: whole_ms - script_ms });
    }

    /// Takes in how long it took from asking for calls to knowing their targets.
    pub(super) fn note_handling(&mut self, took: Duration) {
        if self.handling_ms.len() == LOOKUPS {
            self.handling_ms.pop_front();
        }
        self.handling_ms.push_back(ms(took));
    }

    pub(super) fn distance(&self) -> Distance {
        // Half of the tolerance is for what else happens in this process.
        let spare_ms = self.tolerance_ms / 2.0;
        let handling_ms = self.usual_handling_ms();
        // A tenth more: what takes longer is handed back.
        let lead_ms =
            if handling_ms > spare_ms { rounded_up((handling_ms * 1.1).min(LEAD_MAX_MS)) } else { 0 };
        let is_known = self.count >= COUNT_MIN || self.shortest[1].way_ms.is_finite();
        let shortest = self.shortest[0].min(self.shortest[1]);
        // A script that runs long, because much is to be granted, is no distance, as long as there is an instant left.
        let late_ms = match is_known {
            true => (shortest.way_ms - spare_ms).max(shortest.whole_ms - BUSY_SHARE * self.tolerance_ms),
            false => 0.0,
        };
        Distance {
            lead_ms,
            late_ms: rounded_up(late_ms.clamp(0.0, LEAD_MAX_MS)),
            // There are calls to send until the next take has been handled.
            reach_ms: lead_ms * 2,
        }
    }

    /// Most lookups took no longer than this.
    fn usual_handling_ms(&self) -> f64 {
        let mut sorted: Vec<f64> = self.handling_ms.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let place = (sorted.len() as f64 * SHARE).ceil() as usize;
        sorted.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn rounded_up(ms: f64) -> u64 {
    ((ms / STEP_MS).ceil() * STEP_MS) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(round_trips_ms: &[u64], handling_ms: &[u64]) -> Meter {
        let mut meter = Meter::new(Duration::from_millis(100));
        round_trips_ms.iter().for_each(|took| meter.note_round_trip(Duration::from_millis(*took), 0.0));
        handling_ms.iter().for_each(|took| meter.note_handling(Duration::from_millis(*took)));
        meter
    }

    #[test]
    fn near_servers_need_nothing() {
        assert_eq!(meter(&[1; 100], &[3; 100]).distance(), Distance::default());
        assert_eq!(meter(&[], &[]).distance(), Distance::default());
    }

    #[test]
    fn far_postgres_needs_a_lead() {
        let found = meter(&[1; 100], &[301; 100]).distance();
        assert_eq!(found, Distance { lead_ms: 340, late_ms: 0, reach_ms: 680 });
    }

    #[test]
    fn far_redis_needs_lateness_too() {
        let found = meter(&[200; 100], &[203; 100]).distance();
        assert_eq!(found, Distance { lead_ms: 230, late_ms: 150, reach_ms: 460 });
    }

    #[test]
    fn busy_redis_is_not_far_until_it_leaves_no_instant() {
        let busy = |whole_ms, script_ms: f64| {
            let mut meter = Meter::new(Duration::from_millis(100));
            (0..COUNT_MIN).for_each(|_| meter.note_round_trip(Duration::from_millis(whole_ms), script_ms));
            meter.distance().late_ms
        };
        assert_eq!(busy(75, 70.0), 0);
        assert_eq!(busy(75, 0.0), 30);
        assert_eq!(busy(120, 115.0), 40);
    }

    #[test]
    fn lateness_is_of_the_shortest_round_trip() {
        let mostly_slow: Vec<u64> = (0..200).map(|n| if n % 50 == 0 { 5 } else { 400 }).collect();
        assert_eq!(meter(&mostly_slow, &[]).distance().late_ms, 0);
        assert_eq!(meter(&[300; COUNT_MIN as usize - 1], &[]).distance().late_ms, 0, "too few are known");
        let moved_away: Vec<u64> = [vec![1; 100], vec![300; 200]].concat();
        assert_eq!(meter(&moved_away, &[]).distance().late_ms, 250);
    }

    #[test]
    fn few_slow_lookups_need_nothing() {
        let mostly_quick: Vec<u64> = (0..100).map(|n| if n % 7 == 0 { 1_000 } else { 3 }).collect();
        assert_eq!(meter(&[], &mostly_quick).distance().lead_ms, 0);
        let slower_again: Vec<u64> = [vec![3; 100], vec![300; 3]].concat();
        assert_eq!(meter(&[], &slower_again).distance().lead_ms, 330);
    }
}

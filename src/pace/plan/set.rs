//! The jobs of one lane and resource: those that may share a call, and what their calls cost.
//!
//! # The model
//!
//! A *level* is what a job of weight 1 gets, in runs a ms; a job of weight w gets `min(most, level · w)`, where `most`
//! is what it asked. That is what serving the lowest `base / delay^k` first comes to under lasting overload: all are
//! served at equal scores, so at delays in proportion to `base^(1/k)`.
//!
//! A call serves up to `batch` jobs, and it is made as soon as the best of them ranks best in the lane. So there are at
//! least as many calls as the most frequent job has runs, and at least so many that all runs find a place: the greater
//! of `max(run)` and `sum(run) / batch`. What else is due then rides along, the best ranked first, but never more often
//! than calls are made or than it asked.
//!
//! Where nothing waits, calls are less full: one is made at every instant at which something is due. Between the two,
//! everybody gets what they asked, and the set takes as many calls as it is given.

use super::root::reach;

/// Jobs of a set that are the same for all that matters here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Alike {
    /// `base^(-1/k)`, as a share of the most urgent priority's.
    pub weight: f64,
    /// The most runs a ms: what is asked, or what the device's own quotas leave of it.
    pub most: f64,
    /// How many.
    pub count: f64,
}

/// The jobs of one lane and resource.
#[derive(Debug, Clone)]
pub(super) struct Set {
    /// Which resource, by its place in the provider's definition.
    pub resource: usize,
    /// What a call costs whoever is in it.
    pub per_call: f64,
    /// What each job in it costs on top.
    pub per_job: f64,
    /// How many jobs a call can serve, at most as many as there are.
    batch: f64,
    alike: Vec<Alike>,
    /// Calls a ms where nothing waits.
    free_calls: f64,
    /// Calls a ms that are enough for all, if they are full.
    least_calls: f64,
    /// The level at which all have what they may have.
    content: f64,
    /// Cost a ms of what is asked, were there no quota at all.
    pub asked: f64,
    /// Where its level ends, and by which quota.
    pub stop: f64,
    /// That quota, by its place in the provider's definition.
    pub by: Option<usize>,
}

/// What the jobs of a set get.
#[derive(Debug, Clone, Copy)]
pub(super) struct Served {
    /// Calls a ms: nobody runs more often.
    calls: f64,
    /// The level of those that ride along.
    level: f64,
}

impl Served {
    /// Runs a ms of a job.
    pub(super) fn runs(&self, weight: f64, most: f64) -> f64 {
        most.min(self.calls).min(self.level * weight)
    }
}

impl Set {
    /// Of jobs, with the cost of a call and of each job in it, the jobs a call serves at most, and the calls a ms that
    /// are made where nothing waits.
    pub(super) fn new(
        resource: usize,
        (per_call, per_job): (f64, f64),
        batch_max: f64,
        alike: Vec<Alike>,
        free_calls: f64,
    ) -> Self {
        let count: f64 = alike.iter().map(|a| a.count).sum();
        let runs: f64 = alike.iter().map(|a| a.count * a.most).sum();
        let batch = batch_max.min(count).max(1.0);
        let least_calls = alike.iter().map(|a| a.most).fold(runs / batch, f64::max);
        Self {
            resource,
            per_call,
            per_job,
            batch,
            // A device's quota may leave fewer runs than there would be calls.
            free_calls: free_calls.clamp(least_calls, runs.max(least_calls)),
            least_calls,
            content: alike.iter().map(|a| a.most / a.weight).fold(0.0, f64::max),
            alike,
            asked: per_call * free_calls + per_job * runs,
            stop: f64::INFINITY,
            by: None,
        }
    }

    /// Past this level nothing changes any more.
    pub(super) fn top(&self) -> f64 {
        (self.content * self.free_calls / self.least_calls).min(self.stop)
    }

    /// Calls a ms at a level.
    fn calls(&self, level: f64) -> f64 {
        let level = level.min(self.stop);
        if level >= self.content {
            return (self.least_calls * level / self.content).min(self.free_calls);
        }
        let (mut sum, mut most) = (0.0, 0.0_f64);
        for a in &self.alike {
            let runs = a.most.min(level * a.weight);
            sum += a.count * runs;
            most = most.max(runs);
        }
        most.max(sum / self.batch)
    }

    /// Runs a ms that so many calls find room for.
    fn seats(&self, calls: f64) -> f64 {
        let wanted: f64 = self.alike.iter().map(|a| a.count * a.most.min(calls)).sum();
        wanted.min(calls * self.batch)
    }

    /// Cost a ms at a level.
    pub(super) fn cost(&self, level: f64) -> f64 {
        let calls = self.calls(level);
        match self.per_job > 0.0 {
            true => calls * self.per_call + self.seats(calls) * self.per_job,
            false => calls * self.per_call,
        }
    }

    /// What a call for as many as it can serve costs.
    pub(super) fn full_call(&self) -> f64 {
        self.per_call + self.per_job * self.batch
    }

    /// What its jobs get at the level where it ends.
    pub(super) fn served(&self) -> Served {
        let calls = self.calls(f64::INFINITY);
        let seats = self.seats(calls);
        let runs = |level: f64| -> f64 {
            let served = Served { calls, level };
            self.alike.iter().map(|a| a.count * served.runs(a.weight, a.most)).sum()
        };
        // The first level at which nobody gains from more.
        let top = self.alike.iter().map(|a| a.most.min(calls) / a.weight).fold(0.0, f64::max);
        let level = match runs(top) <= seats * (1.0 + 1e-12) {
            true => f64::INFINITY,
            false => reach(top, seats, runs),
        };
        Served { calls, level }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alike(weight: f64, interval_s: f64, count: f64) -> Alike {
        Alike { weight, most: 1.0 / interval_s, count }
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn one_device_a_call_is_water_filling() {
        let set = Set::new(0, (2.0, 0.0), 1.0, vec![alike(1.0, 10.0, 5.0), alike(0.5, 4.0, 2.0)], 1.0);
        assert!(near(set.cost(0.08), 2.0 * (5.0 * 0.08 + 2.0 * 0.04)));
        assert!(near(set.cost(0.2), 2.0 * (5.0 * 0.1 + 2.0 * 0.1)));
        assert!(near(set.cost(9.0), 2.0));
    }

    #[test]
    fn all_that_are_due_ride_along_with_the_most_frequent() {
        // A call every 30 s: who asked 10 s gets 30 s, who asked 60 s gets 60 s.
        let mut set = Set::new(0, (1.0, 0.0), 20.0, vec![alike(1.0, 10.0, 5.0), alike(1.0, 60.0, 15.0)], 0.1);
        set.stop = 1.0 / 30.0;
        assert!(near(set.cost(1.0), 1.0 / 30.0));
        let served = set.served();
        assert!(near(served.runs(1.0, 0.1), 1.0 / 30.0) && near(served.runs(1.0, 1.0 / 60.0), 1.0 / 60.0));
    }

    #[test]
    fn a_full_call_goes_by_weight_but_takes_nobody_twice() {
        // 5 urgent ones in every call; the 15 places left for 20 others.
        let mut set = Set::new(0, (1.0, 0.0), 20.0, vec![alike(1.0, 1.0, 5.0), alike(1e-2, 1.0, 20.0)], 2.0);
        set.stop = 0.1;
        let calls = set.cost(f64::INFINITY);
        let served = set.served();
        assert!(near(calls, 0.1) && near(served.runs(1.0, 1.0), 0.1), "{calls}");
        assert!(near(served.runs(1e-2, 1.0), 0.1 * 15.0 / 20.0));
    }

    #[test]
    fn where_nothing_waits_calls_are_less_full() {
        let set = Set::new(0, (1.0, 0.0), 20.0, vec![alike(1.0, 10.0, 20.0)], 0.4);
        assert!(near(set.cost(0.1), 0.1) && near(set.cost(0.2), 0.2) && near(set.cost(9.0), 0.4));
    }
}

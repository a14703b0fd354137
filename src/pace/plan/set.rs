//! The jobs of one lane and resource, which may share calls, and the cost of those calls.
//!
//! # The model
//!
//! A *level* is the rate of a job of weight 1, in runs per ms. A job of weight w gets `min(runs_max, level · w)`, where
//! `runs_max` is what it asked. This is the result of serving the lowest `base / delay^k` first under lasting overload:
//! all jobs are served at equal scores, so at delays in proportion to `base^(1/k)`.
//!
//! A call serves up to `batch` jobs and is made as soon as its best-ranked job ranks first in the lane. So there are at
//! least as many calls as runs of the most frequent job, and enough that all runs find a place: the greater of
//! `max(runs)` and `sum(runs) / batch`. Other due jobs join the call, best rank first, but none more often than calls
//! are made or than it asked.
//!
//! Without a backlog, calls are less full: one is made at every instant at which some job is due. Between these two
//! rates of calls every job gets what it asked, and the set uses as many calls as it is given.

use super::invert::invert;

/// Jobs of a set with equal weight and rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct EqualJobs {
    /// `base^(-1/k)`, relative to the most urgent priority's.
    pub weight: f64,
    /// Upper bound of runs per ms: what was asked, or what the device's own quotas leave of it.
    pub runs_max: f64,
    /// Number of jobs.
    pub count: f64,
}

/// The jobs of one lane and resource.
#[derive(Debug, Clone)]
pub(super) struct JobSet {
    /// The resource, by its index in the provider's definition.
    pub resource: usize,
    /// Fixed cost of a call.
    pub per_call: f64,
    /// Additional cost of each job in it.
    pub per_job: f64,
    /// Jobs that a call can serve, at most the jobs of the set.
    batch: f64,
    equal_jobs: Vec<EqualJobs>,
    /// Calls per ms without a backlog.
    unlimited_calls: f64,
    /// The fewest calls per ms that serve all jobs, if calls are full.
    min_calls: f64,
    /// The level at which all jobs have their maximum.
    full_level: f64,
    /// Cost per ms of what is asked, if there were no quotas.
    pub asked: f64,
    /// Upper bound of the level.
    pub level_cap: f64,
    /// The quota that sets it, by its index in the provider's definition.
    pub capped_by: Option<usize>,
}

/// How a set's calls are divided among its jobs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allocation {
    /// Calls per ms: no job runs more often.
    calls: f64,
    /// The level of the jobs that join calls.
    level: f64,
}

impl Allocation {
    /// Runs per ms of a job.
    pub(super) fn runs(&self, weight: f64, runs_max: f64) -> f64 {
        runs_max.min(self.calls).min(self.level * weight)
    }
}

impl JobSet {
    /// A set with the cost of a call and of each job in it, the maximum of jobs per call, and the calls per ms without
    /// a backlog.
    pub(super) fn new(
        resource: usize,
        (per_call, per_job): (f64, f64),
        batch_max: f64,
        equal_jobs: Vec<EqualJobs>,
        unlimited_calls: f64,
    ) -> Self {
        let count: f64 = equal_jobs.iter().map(|a| a.count).sum();
        let runs: f64 = equal_jobs.iter().map(|a| a.count * a.runs_max).sum();
        let batch = batch_max.min(count).max(1.0);
        let min_calls = equal_jobs.iter().map(|a| a.runs_max).fold(runs / batch, f64::max);
        Self {
            resource,
            per_call,
            per_job,
            batch,
            // A device's quota may leave fewer runs than these calls.
            unlimited_calls: unlimited_calls.clamp(min_calls, runs.max(min_calls)),
            min_calls,
            full_level: equal_jobs.iter().map(|a| a.runs_max / a.weight).fold(0.0, f64::max),
            equal_jobs,
            asked: per_call * unlimited_calls + per_job * runs,
            level_cap: f64::INFINITY,
            capped_by: None,
        }
    }

    /// Above this level nothing changes.
    pub(super) fn max_level(&self) -> f64 {
        (self.full_level * self.unlimited_calls / self.min_calls).min(self.level_cap)
    }

    /// Calls per ms at a level.
    fn calls(&self, level: f64) -> f64 {
        let level = level.min(self.level_cap);
        if level >= self.full_level {
            return (self.min_calls * level / self.full_level).min(self.unlimited_calls);
        }
        let (mut sum, mut max) = (0.0, 0.0_f64);
        for a in &self.equal_jobs {
            let runs = a.runs_max.min(level * a.weight);
            sum += a.count * runs;
            max = max.max(runs);
        }
        max.max(sum / self.batch)
    }

    /// Runs per ms that this many calls have room for.
    fn runs_with(&self, calls: f64) -> f64 {
        let needed: f64 = self.equal_jobs.iter().map(|a| a.count * a.runs_max.min(calls)).sum();
        needed.min(calls * self.batch)
    }

    /// Cost per ms at a level.
    pub(super) fn cost(&self, level: f64) -> f64 {
        let calls = self.calls(level);
        match self.per_job > 0.0 {
            true => calls * self.per_call + self.runs_with(calls) * self.per_job,
            false => calls * self.per_call,
        }
    }

    /// Cost of a full call.
    pub(super) fn full_call_cost(&self) -> f64 {
        self.per_call + self.per_job * self.batch
    }

    /// How calls are divided among the jobs at the set's level cap.
    pub(super) fn allocation(&self) -> Allocation {
        let calls = self.calls(f64::INFINITY);
        let runs_total = self.runs_with(calls);
        let runs = |level: f64| -> f64 {
            let allocation = Allocation { calls, level };
            self.equal_jobs.iter().map(|a| a.count * allocation.runs(a.weight, a.runs_max)).sum()
        };
        // The lowest level above which no job gains.
        let max_level = self.equal_jobs.iter().map(|a| a.runs_max.min(calls) / a.weight).fold(0.0, f64::max);
        let level = match runs(max_level) <= runs_total * (1.0 + 1e-12) {
            true => f64::INFINITY,
            false => invert(max_level, runs_total, runs),
        };
        Allocation { calls, level }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equal_jobs(weight: f64, interval_s: f64, count: f64) -> EqualJobs {
        EqualJobs { weight, runs_max: 1.0 / interval_s, count }
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn one_device_per_call_is_water_filling() {
        let set =
            JobSet::new(0, (2.0, 0.0), 1.0, vec![equal_jobs(1.0, 10.0, 5.0), equal_jobs(0.5, 4.0, 2.0)], 1.0);
        assert!(near(set.cost(0.08), 2.0 * (5.0 * 0.08 + 2.0 * 0.04)));
        assert!(near(set.cost(0.2), 2.0 * (5.0 * 0.1 + 2.0 * 0.1)));
        assert!(near(set.cost(9.0), 2.0));
    }

    #[test]
    fn due_jobs_join_the_calls_of_the_most_frequent_job() {
        // A call every 30 s: jobs that asked 10 s get 30 s, jobs that asked 60 s get 60 s.
        let mut set = JobSet::new(
            0,
            (1.0, 0.0),
            20.0,
            vec![equal_jobs(1.0, 10.0, 5.0), equal_jobs(1.0, 60.0, 15.0)],
            0.1,
        );
        set.level_cap = 1.0 / 30.0;
        assert!(near(set.cost(1.0), 1.0 / 30.0));
        let allocation = set.allocation();
        assert!(
            near(allocation.runs(1.0, 0.1), 1.0 / 30.0) && near(allocation.runs(1.0, 1.0 / 60.0), 1.0 / 60.0)
        );
    }

    #[test]
    fn full_call_is_shared_by_weight_and_serves_no_job_twice() {
        // 5 urgent jobs are in every call; 20 others share the remaining 15 places.
        let mut set = JobSet::new(
            0,
            (1.0, 0.0),
            20.0,
            vec![equal_jobs(1.0, 1.0, 5.0), equal_jobs(1e-2, 1.0, 20.0)],
            2.0,
        );
        set.level_cap = 0.1;
        let calls = set.cost(f64::INFINITY);
        let allocation = set.allocation();
        assert!(near(calls, 0.1) && near(allocation.runs(1.0, 1.0), 0.1), "{calls}");
        assert!(near(allocation.runs(1e-2, 1.0), 0.1 * 15.0 / 20.0));
    }

    #[test]
    fn calls_are_less_full_without_a_backlog() {
        let set = JobSet::new(0, (1.0, 0.0), 20.0, vec![equal_jobs(1.0, 10.0, 20.0)], 0.4);
        assert!(near(set.cost(0.1), 0.1) && near(set.cost(0.2), 0.2) && near(set.cost(9.0), 0.4));
    }
}

//! What a batch of ended calls changes, collected before anything is written.

use super::{Decision, Ended, past};
use crate::cache::Slot;
use crate::provider::Provider;
use crate::record::{Failure, Observation, Written};
use crate::take::{FailureKind, Settlement, Verdict};
use crate::watch::Stats;
use crate::words::{ConnectionId, DeviceId, JobId, Outcome, TenantId};
use std::collections::{HashMap, HashSet};

/// What a batch of ended calls changes.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) observations: Vec<Observation>,
    pub(super) failures: Vec<Failure>,
    pub(super) recovered: Vec<i64>,
    /// Connections whose credentials are accepted again.
    pub(super) restored: Vec<i64>,
    /// By connection and version of its secrets: why, and the jobs that were to leave the schedule.
    pub(super) refused: HashMap<(ConnectionId, i64), (String, HashSet<JobId>)>,
    /// Devices with a job that is probing from now on.
    pub(super) probing: Vec<(TenantId, DeviceId)>,
    pub(super) settlements: Vec<Settlement>,
    pub(super) stats: Stats,
}

impl Batch {
    /// Readings that Postgres rejected count as failures.
    pub(super) fn reject(&mut self, rejected: Vec<Failure>) {
        let jobs: HashSet<JobId> = rejected.iter().map(|failure| failure.job).collect();
        self.recovered.retain(|job| !jobs.contains(&JobId(*job)));
        self.redirect(&jobs, Verdict::Miss(1, FailureKind::Broken));
        self.failures.extend(rejected);
    }

    pub(super) fn redirect(&mut self, jobs: &HashSet<JobId>, to: Verdict) {
        for (job, verdict) in self.settlements.iter_mut().flat_map(|s| &mut s.jobs) {
            if jobs.contains(job) {
                *verdict = to;
            }
        }
    }

    /// Adds what one outcome of a call changes.
    pub(super) fn note(
        &mut self,
        provider: &Provider,
        call: &Ended,
        job: JobId,
        outcome: &Outcome,
        decision: Decision,
    ) {
        let Some(wanted) = call.wanted.get(&job) else { return };
        let observed = match outcome {
            Outcome::Fresh(record) => {
                let record = past(record, call.fetched_at, &mut self.stats.rejected);
                let online = record.online;
                Some((Some(record), Some(online)))
            }
            Outcome::Unchanged => Some((None, None)),
            Outcome::DeviceOffline => Some((None, Some(false))),
            _ => None,
        };
        let source = provider.resource(call.grant.resource.as_str());
        let offline_after = source.and_then(|resource| resource.offline_after);
        let has_data = observed.is_some();
        let is_accepted = has_data || matches!(outcome, Outcome::NoData { .. });
        self.restored.extend(call.was_refused.filter(|_| is_accepted).map(|connection| connection.0));
        // What the value's age says of the device holds without data too.
        let silent = offline_after.filter(|_| is_accepted).map(|_| (None, None));
        if let Some((record, online)) = observed.or(silent) {
            self.observations.push(Observation {
                tenant: wanted.tenant,
                device: wanted.device,
                resource: call.grant.resource.clone(),
                job,
                call: call.grant.call,
                fetched_at: call.fetched_at,
                record,
                has_data,
                online,
                validator: call.validators.of(job).cloned().filter(|_| has_data),
                stale_after: source.and_then(|resource| resource.stale_after),
                offline_after,
                older_replaces: source.is_some_and(|resource| resource.older_replaces),
            });
        }
        if has_data {
            if wanted.failing || wanted.granted.attempts > 0 {
                self.recovered.push(job.0);
            }
            return;
        }
        if matches!(outcome, Outcome::NotSent { .. }) {
            return;
        }
        if decision.reauth
            && let Some(connection) = call.connection()
        {
            let refused = self.refused.entry((connection, call.secrets_version));
            refused.or_insert_with(|| (outcome.detail(), HashSet::new())).1.insert(job);
        }
        if decision.probing {
            let (job, outcome) = (job.0, outcome.describe());
            tracing::warn!(job, outcome, "job keeps failing, and is tried again ever more rarely");
            self.probing.push((wanted.tenant, wanted.device));
        }
        self.failures.push(Failure {
            tenant: wanted.tenant,
            job,
            call: call.grant.call,
            at: call.fetched_at,
            outcome: outcome.as_str(),
            detail: outcome.detail(),
            failing: decision.failing,
            probing: decision.probing,
        });
    }
}

/// A reading as the cache holds it.
pub(super) fn slot(written: &Written) -> Option<Slot> {
    Some(Slot {
        tenant: written.tenant,
        device: written.device,
        field: written.resource.clone(),
        version: written.fence,
        json: serde_json::to_string(&written.latest).ok()?,
        // What only confirms what was there is none.
        is_change: written.latest.changed_at == written.latest.fetched_at,
    })
}

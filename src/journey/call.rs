//! One call: wait for its instant, pass the local governor, send, or hand the grant back.

use super::{Ended, Wanted, refused};
use crate::authorise::{Authoriser, BootstrapState, Lookup, Ready};
use crate::clock::Clock;
use crate::fetch::{Call, CallResult, Fetcher};
use crate::pace::{Gate, GateCall};
use crate::words::{End, Hold, JobId, Outcome, QuotaInputs, Scope, UnixMs};
use std::sync::Arc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Hold of a connection whose refused token could not be recorded, ms.
const UNRECORDED_MS: i64 = 5_000;

/// Hold of a connection while another call looks its account up, ms.
const LOOKUP_MS: i64 = 500;

/// The interval within which a call may be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Instants {
    /// Not before.
    pub(super) send_at: Instant,
    /// Not after.
    pub(super) latest: Instant,
}

/// What a call needs to be sent.
pub(super) struct Flight {
    pub(super) fetcher: Arc<Fetcher>,
    pub(super) authoriser: Arc<Authoriser>,
    pub(super) gate: Arc<Gate>,
    pub(super) clock: Clock,
    pub(super) cost: u32,
    pub(super) quota_inputs: QuotaInputs,
    pub(super) stop: CancellationToken,
    pub(super) cut: CancellationToken,
}

impl Flight {
    /// Makes the call at its instant. A call that was sent is finished even if the process stops, until it is cut off.
    pub(super) async fn run(self, mut call: Call, mut ended: Ended, instants: Instants) -> Ended {
        // Ahead of the call's instant: a renewal that takes longer hands the grant back instead of sending late.
        match self.authoriser.ready(&call.connection).await {
            Ready::Go(connection) => call.connection = connection,
            Ready::NotYet(until, reason) => {
                ended.outcomes = not_sent(&call, &reason);
                ended.holds = vec![(held(until, reason), None)];
                return ended;
            }
            // The renewal marked the connection and dropped its jobs, but for the one that probes it: that asks again,
            // ever more rarely.
            Ready::Refused(_) => {
                let later = |(job, wanted): (&JobId, &Wanted)| (*job, refused(&wanted.granted));
                ended.unserved.extend(ended.wanted.iter().map(later));
                ended.token_refused = true;
                return ended;
            }
        }
        let lookup = match self.authoriser.bootstrap_state(&call.connection).await {
            BootstrapState::Yes(connection) => {
                call.connection = connection;
                None
            }
            BootstrapState::Ask(lookup) => Some(lookup),
            BootstrapState::NotYet(reason) => {
                let until = self.clock.now().plus_ms(LOOKUP_MS);
                ended.outcomes = not_sent(&call, &reason);
                ended.holds = vec![(held(until, reason), None)];
                return ended;
            }
        };
        if let Err(reason) = self.pace(&call, &ended.grant.lane, instants).await {
            ended.outcomes = not_sent(&call, &reason);
            return ended;
        }
        ended.secrets_version = call.connection.secrets_version;
        let (sent_at, looked_up) = (self.clock.now(), lookup.is_some());
        let asked = async {
            match lookup {
                Some(lookup) => self.look_up(&call, sent_at, lookup).await,
                None => self.fetcher.fetch(&call, sent_at).await,
            }
        };
        let mut answer = self.cut.run_until_cancelled(asked).await.unwrap_or_else(|| CallResult {
            end: End::Lost,
            outcomes: not_sent(&call, "cut off at shutdown"),
            ..CallResult::default()
        });
        self.authoriser.learn(&call.connection, &answer.bootstrap_values, false, sent_at).await;
        let refused = |(_, outcome): &(JobId, Outcome)| matches!(outcome, Outcome::Unauthorized { .. });
        if answer.outcomes.iter().any(refused) && !self.authoriser.refused(&call.connection).await {
            // The next call may carry the same token: its refusal must not count as the second in a row.
            let reason = "its token was refused, but the refusal could not be recorded".to_owned();
            for (_, outcome) in answer.outcomes.iter_mut().filter(|one| refused(one)) {
                *outcome = Outcome::NotSent { reason: reason.clone() };
            }
            let until = self.clock.now().plus_ms(UNRECORDED_MS);
            answer.holds.push((held(until, reason), None));
        }
        Ended {
            // A lookup in place of the call does not count as a call for its jobs.
            sent_at: (answer.end != End::Unsent && !looked_up).then_some(sent_at),
            fetched_at: self.clock.now(),
            end: answer.end,
            outcomes: answer.outcomes,
            holds: answer.holds,
            unsolicited: answer.others,
            rejected: answer.rejected,
            validators: answer.validators,
            ..ended
        }
    }

    /// Asks for the account's bootstrap values in place of the call, on its grant.
    async fn look_up(&self, call: &Call, now: UnixMs, lookup: Lookup) -> CallResult {
        let found = self.fetcher.bootstrap(call.connection.clone(), now).await;
        let outcome = match found.values {
            Ok(values) => {
                self.authoriser.learn(&call.connection, &values, true, now).await;
                Outcome::NotSent { reason: "the grant was spent on looking its account up".to_owned() }
            }
            Err(outcome) => of_account(outcome),
        };
        drop(lookup);
        let outcomes = call.targets.iter().map(|target| (target.job, outcome.clone())).collect();
        CallResult {
            end: found.end,
            outcomes,
            holds: found.holds,
            bootstrap_values: found.corrected,
            ..CallResult::default()
        }
    }

    /// Waits for the call's instant. An error says why the call must not be sent any more.
    async fn pace(&self, call: &Call, lane: &str, instants: Instants) -> Result<(), String> {
        let Instants { send_at, latest } = instants;
        let devices: Vec<_> = call.targets.iter().map(|t| t.device).collect();
        let gate_call = GateCall {
            tenant: call.connection.tenant,
            lane,
            resource: &call.resource,
            cost: self.cost,
            quota_inputs: &self.quota_inputs,
            devices: &devices,
        };
        let mut at = send_at;
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err("shutting down".to_owned()),
                () = sleep_until(at) => {}
            }
            // After a pause of the process the instant may be past, and the lease may have expired.
            if Instant::now() > latest {
                return Err("its instant was missed".to_owned());
            }
            match self.gate.pass(&gate_call) {
                Ok(()) => return Ok(()),
                Err(wait) => at = Instant::now() + wait,
            }
            if at > latest {
                return Err("this process has spent the quota".to_owned());
            }
        }
    }
}

fn not_sent(call: &Call, reason: &str) -> Vec<(JobId, Outcome)> {
    let outcome = Outcome::NotSent { reason: reason.to_owned() };
    call.targets.iter().map(|target| (target.job, outcome.clone())).collect()
}

/// The outcome of an account lookup for the call's jobs. It says nothing about devices: none is gone or offline by it.
fn of_account(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Unauthorized { .. }
        | Outcome::Throttled
        | Outcome::Transient { .. }
        | Outcome::NotSent { .. } => outcome,
        Outcome::Fresh(_)
        | Outcome::Unchanged
        | Outcome::DeviceOffline
        | Outcome::NoData { .. }
        | Outcome::Gone { .. }
        | Outcome::Broken { .. } => {
            let why = outcome.describe();
            Outcome::Transient { reason: format!("its account could not be looked up: {why}") }
        }
    }
}

/// A hold of the call's connection that keeps calls from failing; nothing was refused.
fn held(until: UnixMs, reason: String) -> Hold {
    Hold { scope: Scope::Connection, until, reason, refusal: None }
}

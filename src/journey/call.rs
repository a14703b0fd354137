//! One call: wait for its instant, pass the last line, send, or hand it back.

use super::{Ended, Wanted};
use crate::authorise::{Asking, Authoriser, BootstrapState, Ready};
use crate::clock::Clock;
use crate::fetch::{Call, CallResult, Fetcher};
use crate::pace::{Gate, GateCall};
use crate::take::Verdict;
use crate::words::{End, Hold, JobId, Outcome, QuotaInputs, Scope, UnixMs};
use std::sync::Arc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// A connection waits so long when the refusal of its token could not be noted.
const UNNOTED_MS: i64 = 5_000;

/// How often whoever waits until an account is looked up looks again, ms.
const LOOK_AGAIN_MS: i64 = 500;

/// When a call may be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Instants {
    /// Not before.
    pub(super) send_at: Instant,
    /// Not after.
    pub(super) latest: Instant,
}

/// What a call needs on its way.
pub(super) struct Flight {
    pub(super) fetcher: Arc<Fetcher>,
    pub(super) authoriser: Arc<Authoriser>,
    pub(super) gate: Arc<Gate>,
    pub(super) clock: Clock,
    pub(super) cost: u32,
    pub(super) terms: QuotaInputs,
    pub(super) stop: CancellationToken,
}

impl Flight {
    /// Makes the call at its instant. Once it is sent it is seen through, whatever stops.
    pub(super) async fn run(self, mut call: Call, mut ended: Ended, instants: Instants) -> Ended {
        // Before its instant: a renewal that takes longer costs the grant, which is handed back, and no call.
        match self.authoriser.ready(&call.connection).await {
            Ready::Go(connection) => call.connection = connection,
            Ready::NotYet(until, reason) => {
                ended.outcomes = not_sent(&call, &reason);
                ended.holds = vec![(Hold { scope: Scope::Connection, until, reason }, None)];
                return ended;
            }
            // The connection is marked, and what it had on the schedule is gone.
            Ready::Refused(_) => {
                let off = |(job, wanted): (&JobId, &Wanted)| (*job, Verdict::Drop(wanted.granted.version));
                ended.aside.extend(ended.wanted.iter().map(off));
                return ended;
            }
        }
        let asking = match self.authoriser.known(&call.connection).await {
            BootstrapState::Yes(connection) => {
                call.connection = connection;
                None
            }
            BootstrapState::Ask(asking) => Some(asking),
            BootstrapState::NotYet(reason) => {
                let until = self.clock.now().plus_ms(LOOK_AGAIN_MS);
                ended.outcomes = not_sent(&call, &reason);
                ended.holds = vec![(Hold { scope: Scope::Connection, until, reason }, None)];
                return ended;
            }
        };
        if let Err(reason) = self.pace(&call, &ended.grant.lane, instants).await {
            ended.outcomes = not_sent(&call, &reason);
            return ended;
        }
        ended.secrets_version = call.connection.secrets_version;
        let (sent_at, looked_up) = (self.clock.now(), asking.is_some());
        let mut answer = match asking {
            Some(asking) => self.look_up(&call, sent_at, asking).await,
            None => self.fetcher.fetch(&call, sent_at).await,
        };
        self.authoriser.learn(&call.connection, &answer.bootstrap_values, false, sent_at).await;
        let refused = |(_, outcome): &(JobId, Outcome)| matches!(outcome, Outcome::Unauthorized { .. });
        if answer.outcomes.iter().any(refused) && !self.authoriser.refused(&call.connection).await {
            // The next call may carry the same token: its refusal must not be the second in a row.
            let reason = "its token was refused, which could not be noted".to_owned();
            for (_, outcome) in answer.outcomes.iter_mut().filter(|told| refused(told)) {
                *outcome = Outcome::NotSent { reason: reason.clone() };
            }
            let until = self.clock.now().plus_ms(UNNOTED_MS);
            answer.holds.push((Hold { scope: Scope::Connection, until, reason }, None));
        }
        Ended {
            // A request in its place is no call for its jobs.
            sent_at: (answer.end != End::Unsent && !looked_up).then_some(sent_at),
            fetched_at: self.clock.now(),
            end: answer.end,
            outcomes: answer.outcomes,
            holds: answer.holds,
            others: answer.others,
            validators: answer.validators,
            ..ended
        }
    }

    /// Asks, in the place of the call and for what that was granted, what must be known of the account first.
    async fn look_up(&self, call: &Call, now: UnixMs, asking: Asking) -> CallResult {
        let found = self.fetcher.bootstrap(call.connection.clone(), now).await;
        let outcome = match found.values {
            Ok(values) => {
                self.authoriser.learn(&call.connection, &values, true, now).await;
                Outcome::NotSent { reason: "its account was looked up first".to_owned() }
            }
            Err(outcome) => of_account(outcome),
        };
        drop(asking);
        let outcomes = call.targets.iter().map(|target| (target.job, outcome.clone())).collect();
        CallResult {
            end: found.end,
            outcomes,
            holds: found.holds,
            bootstrap_values: found.corrected,
            ..CallResult::default()
        }
    }

    /// Waits for the instant; an error says why the call must not be sent any more.
    async fn pace(&self, call: &Call, lane: &str, instants: Instants) -> Result<(), String> {
        let Instants { send_at, latest } = instants;
        let devices: Vec<_> = call.targets.iter().map(|t| t.device).collect();
        let gate_call = GateCall {
            tenant: call.connection.tenant,
            lane,
            resource: &call.resource,
            cost: self.cost,
            quota_inputs: &self.terms,
            devices: &devices,
        };
        let mut at = send_at;
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err("shutting down".to_owned()),
                () = sleep_until(at) => {}
            }
            // A process that was paused finds its instant gone, and its lease perhaps with it.
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

/// What the account's own request came to says nothing of its devices: none of them is gone, offline or seen by it.
fn of_account(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Unauthorized { .. }
        | Outcome::Throttled
        | Outcome::Transient { .. }
        | Outcome::NotSent { .. } => outcome,
        Outcome::Fresh(_)
        | Outcome::Unchanged
        | Outcome::DeviceOffline
        | Outcome::Gone { .. }
        | Outcome::Broken { .. } => {
            let why = outcome.describe();
            Outcome::Transient { reason: format!("its account could not be looked up: {why}") }
        }
    }
}

//! One call: wait for its instant, pass the last line, send, or hand it back.

use super::{Ended, Wanted};
use crate::authorise::{Authoriser, Ready};
use crate::clock::Clock;
use crate::fetch::{Call, Fetcher, Target};
use crate::pace::{Counted, Gate};
use crate::take::Verdict;
use crate::words::{End, Hold, JobId, Outcome, Scope};
use std::sync::Arc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// A connection waits so long when the refusal of its token could not be noted.
const UNNOTED_MS: i64 = 5_000;

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
    pub(super) stop: CancellationToken,
}

impl Flight {
    /// Makes the call at its instant. Once it is sent it is seen through, whatever stops.
    pub(super) async fn run(self, mut call: Call, mut ended: Ended, instants: Instants) -> Ended {
        // Before its instant: a renewal that takes longer costs the grant, which is handed back, and no call.
        match self.authoriser.ready(&call.connection).await {
            Ready::Go(connection) => call.connection = connection,
            Ready::NotYet(until, reason) => {
                let not_sent = |t: &Target| (t.job, Outcome::NotSent { reason: reason.clone() });
                ended.outcomes = call.targets.iter().map(not_sent).collect();
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
        if let Err(reason) = self.pace(&call, &ended.grant.lane, instants).await {
            let not_sent = |t: &Target| (t.job, Outcome::NotSent { reason: reason.clone() });
            ended.outcomes = call.targets.iter().map(not_sent).collect();
            return ended;
        }
        let sent_at = self.clock.now();
        let mut answer = self.fetcher.fetch(&call, sent_at).await;
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
            sent_at: (answer.end != End::Unsent).then_some(sent_at),
            fetched_at: self.clock.now(),
            end: answer.end,
            outcomes: answer.outcomes,
            holds: answer.holds,
            others: answer.others,
            ..ended
        }
    }

    /// Waits for the instant; an error says why the call must not be sent any more.
    async fn pace(&self, call: &Call, lane: &str, instants: Instants) -> Result<(), String> {
        let Instants { send_at, latest } = instants;
        let devices: Vec<_> = call.targets.iter().map(|t| t.device).collect();
        let counted = Counted {
            tenant: call.connection.tenant,
            lane,
            resource: &call.resource,
            cost: self.cost,
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
            match self.gate.pass(&counted) {
                Ok(()) => return Ok(()),
                Err(wait) => at = Instant::now() + wait,
            }
            if at > latest {
                return Err("this process has spent the quota".to_owned());
            }
        }
    }
}

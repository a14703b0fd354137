//! Waiting for a reservation and for its instant.

use super::reserve::{Reservation, ReserveRequest};
use super::settle::Settlement;
use super::taker::Taker;
use crate::redis::RedisError;
use crate::words::CallId;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// What came of waiting for a reservation.
#[derive(Debug)]
pub enum ReserveOutcome {
    /// Its instant has come: it may be sent until `latest`.
    Go {
        /// The call's number.
        call: CallId,
        /// Later than this it is handed back.
        latest: Instant,
    },
    /// It would have to wait beyond the timeout.
    NotYet {
        /// The quota's name, or `hold: ` and its reason.
        by: String,
        /// For how long still, for people: "for another 3s".
        when: String,
        /// The same, ms; none: not before a call ends.
        wait_ms: Option<f64>,
    },
    /// The provider has an incident, and the next call that may probe it is beyond the timeout.
    Incident {
        /// For how long still, ms.
        wait_ms: f64,
    },
    /// Nobody wants the call any more.
    Abandoned,
}

impl Taker {
    /// Reserves a call, waiting for at most `timeout`, and then for its instant.
    ///
    /// `abandoned`: cancelled when nobody wants the call any more; a grant is then handed back.
    pub async fn reserve_within(
        &self,
        request: &ReserveRequest,
        timeout: Duration,
        abandoned: &CancellationToken,
    ) -> Result<ReserveOutcome, RedisError> {
        let deadline = Instant::now() + timeout;
        loop {
            let asked = Instant::now();
            let (by, wait_ms) = match self.reserve(request, None).await? {
                Reservation::Granted { call, in_ms, late_ms } => {
                    let wait = Duration::from_secs_f64(in_ms / 1000.0);
                    let latest = asked + wait + self.tolerance(late_ms);
                    if abandoned.run_until_cancelled(sleep(wait)).await.is_none() {
                        self.settle(&[Settlement::unsent(call)], None).await?;
                        return Ok(ReserveOutcome::Abandoned);
                    }
                    if Instant::now() <= latest {
                        return Ok(ReserveOutcome::Go { call, latest });
                    }
                    // Redis is far, which is taken into account once it was measured.
                    self.settle(&[Settlement::unsent(call)], None).await?;
                    (Some("an answer of Redis in time".to_owned()), Some(0.0))
                }
                Reservation::NotYet { by, wait_ms } => (Some(by), wait_ms),
                Reservation::Incident { wait_ms } => (None, Some(wait_ms)),
                Reservation::NotBuilt => (Some("a schedule that is not built".to_owned()), Some(1_000.0)),
            };
            // The end of a call is not announced: look often enough.
            let wait = wait_ms.map_or(Duration::from_millis(500), |ms| Duration::from_secs_f64(ms / 1000.0));
            if Instant::now() + wait > deadline {
                return Ok(match by {
                    Some(by) => ReserveOutcome::NotYet { by, when: when(wait_ms), wait_ms },
                    None => ReserveOutcome::Incident { wait_ms: wait_ms.unwrap_or_default() },
                });
            }
            if abandoned.run_until_cancelled(sleep(wait)).await.is_none() {
                return Ok(ReserveOutcome::Abandoned);
            }
        }
    }
}

fn when(wait_ms: Option<f64>) -> String {
    match wait_ms {
        Some(ms) => {
            let wait = Duration::from_secs_f64((ms / 1000.0).ceil());
            format!("for another {}", humantime::format_duration(wait))
        }
        None => "before another call has ended".to_owned(),
    }
}

//! Reservation for one call outside of the schedule: a trial, the listing of a connection's devices, or a
//! request for a token.

use super::Taker;
use crate::redis::RedisError;
use crate::words::{CallId, DeviceId, ResourceName, UnixMs};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// For what leave is asked.
#[derive(Debug, Clone, Serialize)]
pub struct ReserveRequest {
    /// `<connection>` or `<connection>.<group>`.
    pub lane: String,
    /// What is asked for: a resource, or the listing of devices.
    pub resource: ResourceName,
    /// What the call costs.
    pub cost: u32,
    /// The devices in the call.
    pub devices: Vec<DeviceId>,
}

/// What `leave.lua` says.
#[derive(Debug, Clone, PartialEq)]
pub enum Reservation {
    /// The call may be sent in so many ms. It is settled like any other; it holds no jobs.
    Granted(CallId, f64),
    /// Not yet.
    NotYet {
        /// The quota's name, or `hold: ` and its reason.
        by: String,
        /// In so many ms it may be; none: not before a call ends.
        wait_ms: Option<f64>,
    },
    /// The schedule was not built on this run of the server: nobody knows what is spent.
    NotBuilt,
}

/// The same, as the script says it.
#[derive(Deserialize)]
pub(super) struct ReserveReply {
    live: bool,
    pub(super) now: UnixMs,
    call: CallId,
    in_ms: f64,
    by: String,
}

impl From<ReserveReply> for Reservation {
    fn from(said: ReserveReply) -> Self {
        match said {
            ReserveReply { live: false, .. } => Self::NotBuilt,
            ReserveReply { call: CallId(0), in_ms, by, .. } => {
                Self::NotYet { by, wait_ms: (in_ms >= 0.0).then_some(in_ms) }
            }
            ReserveReply { call, in_ms, .. } => Self::Granted(call, in_ms),
        }
    }
}

/// What came of waiting for leave.
#[derive(Debug)]
pub enum ReserveOutcome {
    /// Its instant has come: it may be sent until `latest`.
    Go {
        /// The call's number.
        call: CallId,
        /// Later than this it is handed back.
        latest: Instant,
    },
    /// It would have to wait for longer than there is patience.
    NotYet {
        /// The quota's name, or `hold: ` and its reason.
        by: String,
        /// For how long still, for people: "for another 3s".
        when: String,
        /// The same, ms; none: not before a call ends.
        wait_ms: Option<f64>,
    },
}

impl Taker {
    /// Waits for leave and for its instant. `tolerance`: how long after that the call may still be sent.
    pub async fn reserve_within(
        &self,
        request: &ReserveRequest,
        patience: Duration,
        tolerance: Duration,
    ) -> Result<ReserveOutcome, RedisError> {
        let deadline = Instant::now() + patience;
        loop {
            let asked = Instant::now();
            let (by, wait_ms) = match self.reserve(request, None).await? {
                Reservation::Granted(call, in_ms) => {
                    let wait = Duration::from_secs_f64(in_ms / 1000.0);
                    sleep_until(Instant::now() + wait).await;
                    return Ok(ReserveOutcome::Go { call, latest: asked + wait + tolerance });
                }
                Reservation::NotYet { by, wait_ms } => (by, wait_ms),
                Reservation::NotBuilt => ("a schedule that is not built".to_owned(), Some(1_000.0)),
            };
            // Whose turn comes with the end of a call is not told in time: looked for often enough.
            let wait = wait_ms.map_or(Duration::from_millis(500), |ms| Duration::from_secs_f64(ms / 1000.0));
            if Instant::now() + wait > deadline {
                return Ok(ReserveOutcome::NotYet { by, when: when(wait_ms), wait_ms });
            }
            sleep(wait).await;
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

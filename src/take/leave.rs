//! Leave for one call outside of the schedule: a trial.

use crate::words::{CallId, DeviceId, ResourceName, UnixMs};
use serde::{Deserialize, Serialize};

/// For what leave is asked.
#[derive(Debug, Clone, Serialize)]
pub struct Wish {
    /// `<connection>` or `<connection>.<group>`.
    pub lane: String,
    /// The resource.
    pub resource: ResourceName,
    /// The devices in the call.
    pub devices: Vec<DeviceId>,
}

/// What `leave.lua` says.
#[derive(Debug, Clone, PartialEq)]
pub enum Leave {
    /// The call may be sent in so many ms. It is settled like any other; it holds no jobs.
    Given(CallId, f64),
    /// Not yet.
    NotYet {
        /// The quota's name, or `hold: ` and its reason.
        by: String,
        /// In so many ms it may be; none: not before a call ends.
        wait_ms: Option<f64>,
    },
    /// The schedule was not built on this run of the server: nobody knows what is spent.
    NotLive,
}

/// The same, as the script says it.
#[derive(Deserialize)]
pub(super) struct Said {
    live: bool,
    pub(super) now: UnixMs,
    call: CallId,
    in_ms: f64,
    by: String,
}

impl From<Said> for Leave {
    fn from(said: Said) -> Self {
        match said {
            Said { live: false, .. } => Self::NotLive,
            Said { call: CallId(0), in_ms, by, .. } => {
                Self::NotYet { by, wait_ms: (in_ms >= 0.0).then_some(in_ms) }
            }
            Said { call, in_ms, .. } => Self::Given(call, in_ms),
        }
    }
}

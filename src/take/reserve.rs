//! Reserving one ad-hoc call: `provider try`, the listing of a connection's devices, or a request for a token.

use crate::words::{CallId, DeviceId, ResourceName, UnixMs};
use serde::{Deserialize, Serialize};

/// The call to reserve.
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
    /// For how long after its instant limits keep a place for a call that must wait, so that jobs do not take all that
    /// a saturated limit gives; 0: they keep none.
    pub keep_ms: u32,
    /// Whether the call waits for its turn while an incident lasts, as one of the few that probe the provider. A
    /// request for a token does not: it is for a call that did.
    pub probes: bool,
}

/// What `reserve.lua` says.
#[derive(Debug, Clone, PartialEq)]
pub enum Reservation {
    /// The call may be sent. It is settled like any other; it holds no jobs.
    Granted {
        /// Its number.
        call: CallId,
        /// In so many ms it may be sent.
        in_ms: f64,
        /// How much later than the tolerance it may be sent, ms.
        late_ms: f64,
    },
    /// Not yet.
    NotYet {
        /// The quota's name, or `hold: ` and its reason.
        by: String,
        /// In so many ms it may be; none: not before a call ends.
        wait_ms: Option<f64>,
    },
    /// The provider has an incident, and other calls probe it.
    Incident {
        /// In so many ms the next may be sent.
        wait_ms: f64,
    },
    /// The schedule was not built on this run of the server: nobody knows what is spent.
    NotBuilt,
}

/// The same, as the script returns it.
#[derive(Deserialize)]
pub(super) struct ReserveReply {
    live: bool,
    pub(super) now: UnixMs,
    late_ms: f64,
    call: CallId,
    in_ms: f64,
    by: String,
}

impl From<ReserveReply> for Reservation {
    fn from(reply: ReserveReply) -> Self {
        match reply {
            ReserveReply { live: false, .. } => Self::NotBuilt,
            ReserveReply { call: CallId(0), in_ms, by, .. } if by.is_empty() => {
                Self::Incident { wait_ms: in_ms }
            }
            ReserveReply { call: CallId(0), in_ms, by, .. } => {
                Self::NotYet { by, wait_ms: (in_ms >= 0.0).then_some(in_ms) }
            }
            ReserveReply { call, in_ms, late_ms, .. } => Self::Granted { call, in_ms, late_ms },
        }
    }
}

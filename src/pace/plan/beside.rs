//! What all connections of a provider ask of the quotas that they share, kept for plans of a few of them.

use super::lane::Lane;
use super::{Demand, QuotaInputsByConnection, build_lanes, supplies, weights};
use crate::provider::Provider;
use crate::words::{ConnectionId, Scope};
use std::collections::HashSet;

/// Lanes of other connections, which share the provider's quotas of scope `app`. Their jobs are not told apart: a lane
/// takes some hundred bytes, whatever jobs it has.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    pub(super) lanes: Vec<Lane>,
}

/// Whether connections of a provider compete for a quota.
pub fn shares_quotas(provider: &Provider) -> bool {
    let of_app = supplies(provider, Scope::App, &QuotaInputsByConnection::new());
    of_app.iter().any(|supply| supply.counts.contains(&true))
}

impl Beside {
    /// Of all these demands; nothing where connections share no quota.
    pub fn of(
        provider: &Provider,
        demands: &[Demand],
        inputs: &QuotaInputsByConnection,
        k: f64,
        bases: &[f64; 5],
    ) -> Self {
        if !shares_quotas(provider) {
            return Self::default();
        }
        let of_devices = supplies(provider, Scope::Device, inputs);
        let (mut lanes, _) = build_lanes(provider, demands, &weights(k, bases), of_devices);
        lanes.iter_mut().for_each(|lane| lane.first = None);
        Self { lanes }
    }

    /// Without the lanes of these connections.
    pub fn without(&self, connections: &HashSet<ConnectionId>) -> Self {
        let others = self.lanes.iter().filter(|lane| !connections.contains(&ConnectionId(lane.connection)));
        Self { lanes: others.cloned().collect() }
    }
}

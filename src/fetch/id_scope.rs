//! Ids that are unique only within a part of an account, such as a home: see [`Definition::id_scope`].
//!
//! Requests and responses have the provider's own ids. Everywhere else a device has the part's name before its id.
//!
//! [`Definition::id_scope`]: crate::provider::Definition::id_scope

use super::{Call, CallResult, Fetcher, Target};
use crate::words::{Connection, ListedDevice, Outcome, UnixMs};

/// What stands before the ids of a connection's devices, with the slash after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IdScope(String);

impl IdScope {
    /// The call with the provider's own ids. A device of another part keeps its whole id, which no response has.
    pub(super) fn strip(&self, call: &Call) -> Call {
        let target = |target: &Target| Target {
            external_id: target.external_id.strip_prefix(&self.0).unwrap_or(&target.external_id).to_owned(),
            ..target.clone()
        };
        Call { targets: call.targets.iter().map(target).collect(), ..call.clone() }
    }

    /// Puts the part before the ids in a result.
    pub(super) fn restore(&self, result: &mut CallResult) {
        let outcomes = result.outcomes.iter_mut().filter_map(|(_, outcome)| match outcome {
            Outcome::Fresh(record) => record.external_id.as_mut(),
            _ => None,
        });
        let others = result.others.iter_mut().filter_map(|record| record.external_id.as_mut());
        let rejected = result.rejected.iter_mut().filter_map(|rejected| rejected.external_id.as_mut());
        outcomes.chain(others).chain(rejected).for_each(|id| id.insert_str(0, &self.0));
    }

    /// Likewise in a list of devices.
    pub(super) fn restore_listed(&self, devices: &mut [ListedDevice]) {
        devices.iter_mut().for_each(|device| device.external_id.insert_str(0, &self.0));
    }

    pub(super) fn prefix(&self) -> &str {
        &self.0
    }
}

impl Fetcher {
    /// What stands before the ids of the connection's devices; empty for nothing, or if that is not known yet.
    pub fn id_prefix(&self, connection: &Connection) -> String {
        let scope = self.id_scope(connection).ok().flatten();
        scope.map(|IdScope(prefix)| prefix).unwrap_or_default()
    }

    /// The scope of the ids of the connection's devices; none if they are unique as they are.
    pub(super) fn id_scope(&self, connection: &Connection) -> Result<Option<IdScope>, Outcome> {
        if self.provider.definition.id_scope.is_none() {
            return Ok(None);
        }
        let values = self.preparer.context(connection, UnixMs(0)).account_values();
        match self.preparer.requests.id_scope(&values) {
            Ok(part) if part.is_empty() => {
                let reason = "id_scope renders to nothing: set the param that it names".to_owned();
                Err(Outcome::Broken { reason, excerpt: String::new() })
            }
            Ok(part) => Ok(Some(IdScope(part + "/"))),
            Err(error) => Err(Outcome::Broken { reason: error.to_string(), excerpt: String::new() }),
        }
    }
}

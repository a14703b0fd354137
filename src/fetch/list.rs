//! Fetches the list of a connection's devices: requested, judged and paged like a resource.

use super::answer::mapping;
use super::page::PagedResult;
use super::request::{redact, redact_text};
use super::trace::Trace;
use super::{Call, CallResult, Fetcher};
use crate::provider::DISCOVERY;
use crate::words::{Connection, DeviceId, End, Hold, JobId, ListedDevice, Outcome, UnixMs};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The result of a listing.
#[derive(Debug)]
pub struct Listing {
    /// How the call ended, for quotas.
    pub end: End,
    /// Holds on later calls.
    pub holds: Vec<(Hold, Option<DeviceId>)>,
    /// The complete list, ordered by id, or why there is none; never a partial list.
    pub devices: Result<Vec<ListedDevice>, Outcome>,
    /// What stands before the provider's own ids in `devices`; empty for nothing.
    pub id_prefix: String,
    /// Bootstrap values of the account that the response corrects.
    pub bootstrap_values: BTreeMap<String, String>,
}

impl Listing {
    fn unsent(outcome: Outcome) -> Self {
        let (devices, id_prefix, bootstrap_values) = (Err(outcome), String::new(), BTreeMap::new());
        Self { end: End::Unsent, holds: Vec::new(), devices, id_prefix, bootstrap_values }
    }
}

impl Fetcher {
    /// Fetches the list of the connection's devices. `now` is the schedule's clock, for waits. Not sent if the
    /// definition has no `[discovery]`.
    pub async fn list(&self, connection: Arc<Connection>, now: UnixMs, trace: Option<&mut Trace>) -> Listing {
        let call = Call { connection, resource: DISCOVERY.clone(), targets: Vec::new() };
        let Some(resource) = self.provider.call(DISCOVERY.as_str()) else {
            let reason =
                format!("the definition of {} does not say how devices are listed", self.provider.name);
            return Listing::unsent(Outcome::NotSent { reason });
        };
        let scope = match self.id_scope(&call.connection) {
            Ok(scope) => scope,
            Err(broken) => return Listing::unsent(broken),
        };
        let PagedResult { found, ended, holds, bootstrap_values, .. } = self
            .fetch_pages(resource, &call, now, trace, |of, json| mapping::devices(&of.records, json))
            .await;
        let (end, mut devices) = match ended {
            Ok(end) => (end, self.deduplicated(found)),
            Err(ended) => (ended.end, Err(ended.outcome)),
        };
        if let (Some(scope), Ok(devices)) = (&scope, &mut devices) {
            scope.restore_listed(devices);
        }
        let id_prefix = scope.map(|scope| scope.prefix().to_owned()).unwrap_or_default();
        let bootstrap_values = self.usable_values(&call.connection, bootstrap_values);
        self.redacted(&call, Listing { end, holds, devices, id_prefix, bootstrap_values })
    }

    /// Fetches the list, and returns the HTTP exchanges too.
    pub async fn list_traced(&self, connection: Arc<Connection>, now: UnixMs) -> (Listing, Trace) {
        let mut trace = Trace::default();
        let listing = self.list(connection.clone(), now, Some(&mut trace)).await;
        let call = Call { connection, resource: DISCOVERY.clone(), targets: Vec::new() };
        let secrets = self.preparer.credentials(&call).secret_forms();
        trace.texts().into_iter().for_each(|text| redact_text(text, &secrets));
        (listing, trace)
    }

    /// Each device once; of duplicates the last. An error if one has an undeclared resource.
    fn deduplicated(&self, found: Vec<ListedDevice>) -> Result<Vec<ListedDevice>, Outcome> {
        let mut names = found.iter().flat_map(|device| device.resources.iter().flatten());
        if let Some(unknown) = names.find(|name| self.provider.resource(name.as_str()).is_none()) {
            let reason = format!("devices yields resource {:?}, which is not declared", unknown.as_str());
            return Err(Outcome::Broken { reason, excerpt: String::new() });
        }
        let by_id: BTreeMap<_, _> =
            found.into_iter().map(|device| (device.external_id.clone(), device)).collect();
        Ok(by_id.into_values().collect())
    }

    fn redacted(&self, call: &Call, listing: Listing) -> Listing {
        let Listing { end, holds, devices, id_prefix, bootstrap_values } = listing;
        let (devices, failed) = match devices {
            Ok(devices) => (devices, None),
            Err(outcome) => (Vec::new(), Some((JobId(0), outcome))),
        };
        let outcomes = failed.into_iter().collect();
        let mut result = CallResult { end, outcomes, holds, bootstrap_values, ..CallResult::default() };
        redact(&self.preparer.credentials(call).secret_forms(), &mut result);
        let failed = result.outcomes.pop().map(|(_, outcome)| outcome);
        let (holds, bootstrap_values) = (result.holds, result.bootstrap_values);
        Listing { end, holds, devices: failed.map_or(Ok(devices), Err), id_prefix, bootstrap_values }
    }
}

//! The list of a connection's devices: asked for, judged and paged as a resource is.

use super::answer::mapping;
use super::client::Pages;
use super::request::hide;
use super::trace::Trace;
use super::{Answer, Call, Fetcher};
use crate::provider::DISCOVERY;
use crate::words::{Connection, DeviceId, End, Hold, JobId, ListedDevice, Outcome, UnixMs};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What came of asking for it.
#[derive(Debug)]
pub struct Listing {
    /// How the call ended, as far as quotas are concerned.
    pub end: End,
    /// What was learned about calls to come.
    pub holds: Vec<(Hold, Option<DeviceId>)>,
    /// All of the list, by id; or why there is none. Half of one is none.
    pub devices: Result<Vec<ListedDevice>, Outcome>,
    /// Bootstrap values of the account that it corrected.
    pub learned: BTreeMap<String, String>,
}

impl Fetcher {
    /// Asks for the connection's devices. `now` is the schedule's clock, for waits. The provider must declare how.
    pub async fn list(&self, connection: Arc<Connection>, now: UnixMs, trace: Option<&mut Trace>) -> Listing {
        let call = Call { connection, resource: DISCOVERY.clone(), targets: Vec::new() };
        let Some(resource) = self.provider.call(DISCOVERY.as_str()) else {
            let reason = format!("{} does not say how devices are listed", self.provider.name);
            let devices = Err(Outcome::NotSent { reason });
            return Listing { end: End::Unsent, holds: Vec::new(), devices, learned: BTreeMap::new() };
        };
        let Pages { found, ended, holds, learned, .. } =
            self.pages(resource, &call, now, trace, mapping::devices).await;
        let (end, devices) = match ended {
            Ok(end) => (end, self.known_resources(found)),
            Err(ended) => (ended.end, Err(ended.outcome)),
        };
        let learned = self.checked(&call.connection, learned);
        self.hidden(&call, Listing { end, holds, devices, learned })
    }

    /// Each device once; or what is not to be had of one.
    fn known_resources(&self, found: Vec<ListedDevice>) -> Result<Vec<ListedDevice>, Outcome> {
        let mut names = found.iter().flat_map(|device| device.resources.iter().flatten());
        if let Some(unknown) = names.find(|name| self.provider.resource(name.as_str()).is_none()) {
            let reason = format!("devices yields resource {:?}, which is not declared", unknown.as_str());
            return Err(Outcome::Broken { reason, excerpt: String::new() });
        }
        let by_id: BTreeMap<_, _> =
            found.into_iter().map(|device| (device.external_id.clone(), device)).collect();
        Ok(by_id.into_values().collect())
    }

    fn hidden(&self, call: &Call, listing: Listing) -> Listing {
        let Listing { end, holds, devices, learned } = listing;
        let (devices, failed) = match devices {
            Ok(devices) => (devices, None),
            Err(outcome) => (Vec::new(), Some((JobId(0), outcome))),
        };
        let outcomes = failed.into_iter().collect();
        let mut told = Answer { end, outcomes, holds, learned, ..Answer::default() };
        hide(&self.preparer.credentials(call).forms(), &mut told);
        let failed = told.outcomes.pop().map(|(_, outcome)| outcome);
        Listing { end, holds: told.holds, devices: failed.map_or(Ok(devices), Err), learned: told.learned }
    }
}

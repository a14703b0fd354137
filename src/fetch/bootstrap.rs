//! What a cloud tells of an account that its calls need: asked for and judged as a resource is.

use super::call::{Answer, Call};
use super::client::Pages;
use super::hide::hide;
use super::{Fetcher, mapping};
use crate::provider::BOOTSTRAP;
use crate::words::{Connection, DeviceId, End, Hold, JobId, Outcome, UnixMs};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What came of asking for it.
#[derive(Debug)]
pub struct Bootstrapped {
    /// How the request ended, as far as quotas are concerned.
    pub end: End,
    /// What was learned about calls to come.
    pub holds: Vec<(Hold, Option<DeviceId>)>,
    /// The values, by name; or why there are none.
    pub values: Result<BTreeMap<String, String>, Outcome>,
    /// What a failure corrected.
    pub learned: BTreeMap<String, String>,
}

impl Fetcher {
    /// Whether the connection's calls need something that was not asked for yet.
    pub fn needs_bootstrap(&self, connection: &Connection) -> bool {
        self.provider.definition.bootstrap.is_some() && connection.bootstrap_at.is_none()
    }

    /// Asks for it, in the place of a call that was granted. `now` is the schedule's clock, for waits.
    pub async fn bootstrap(&self, connection: Arc<Connection>, now: UnixMs) -> Bootstrapped {
        let call = Call { connection, resource: BOOTSTRAP.clone(), targets: Vec::new() };
        let Some(resource) = self.provider.call(BOOTSTRAP.as_str()) else {
            let (holds, learned) = (Vec::new(), BTreeMap::new());
            return Bootstrapped { end: End::Unsent, holds, values: Ok(BTreeMap::new()), learned };
        };
        let Pages { found, ended, holds, learned, .. } =
            self.pages(resource, &call, now, None, mapping::bootstrap).await;
        let (end, failed) = match ended {
            Ok(end) => (end, None),
            Err(ended) => (ended.end, Some((JobId(0), ended.outcome))),
        };
        let outcomes = failed.into_iter().collect();
        let mut told = Answer { end, outcomes, holds, ..Answer::default() };
        hide(&self.credentials(&call).forms(), &mut told);
        let failed = told.outcomes.pop().map(|(_, outcome)| outcome);
        let values = failed.map_or_else(|| Ok(found.into_iter().flatten().collect()), Err);
        Bootstrapped { end, holds: told.holds, values, learned }
    }
}

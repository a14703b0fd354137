//! What a cloud tells of an account that its calls need: asked for and judged as a resource is.

use super::Fetcher;
use super::answer::mapping;
use super::answer::validate::question;
use super::call::{Answer, Call};
use super::client::Pages;
use super::jq::Program;
use super::request::{hide, tells, usable};
use crate::provider::BOOTSTRAP;
use crate::words::{Connection, DeviceId, End, Hold, JobId, Outcome, UnixMs};
use jaq_json::Val;
use serde_json::Value;
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
        self.bootstrap_question().is_some_and(|of| connection.bootstrap_of.as_ref() != Some(&of))
    }

    /// What is asked for it, as a hash: what another question brought is of no use.
    pub fn bootstrap_question(&self) -> Option<String> {
        self.provider.definition.bootstrap.as_ref().map(|asked| question(asked.call().get_ref(), None))
    }

    /// Whether calls may still go where the definition says, with these values over those that are known. A value that
    /// leads them elsewhere would be refused by the guard with every call, and none could correct it.
    fn leads_home(&self, connection: &Connection, values: &BTreeMap<String, String>) -> bool {
        let bootstrap = connection.bootstrap.clone().into_iter().chain(values.clone()).collect();
        let connection = Connection { bootstrap, ..connection.clone() };
        let base_url =
            self.preparer.requests.base_url(&self.preparer.context(&connection, UnixMs(0)).values());
        // Where something is missing yet, nothing is called.
        base_url.ok().is_none_or(|url| usable(&url).is_ok_and(|url| self.wire.lets(&url)))
    }

    /// Leaves out what was learned if calls could not be made with it.
    pub(super) fn checked(
        &self,
        connection: &Connection,
        learned: BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        if learned.is_empty() || self.leads_home(connection, &learned) { learned } else { BTreeMap::new() }
    }

    /// Asks for it, in the place of a call that was granted. `now` is the schedule's clock, for waits.
    pub async fn bootstrap(&self, connection: Arc<Connection>, now: UnixMs) -> Bootstrapped {
        let call = Call { connection, resource: BOOTSTRAP.clone(), targets: Vec::new() };
        let Some(resource) = self.provider.call(BOOTSTRAP.as_str()) else {
            let (holds, learned) = (Vec::new(), BTreeMap::new());
            return Bootstrapped { end: End::Unsent, holds, values: Ok(BTreeMap::new()), learned };
        };
        let Pages { found, ended, holds, learned, .. } = self.pages(resource, &call, now, None, values).await;
        let (end, failed) = match ended {
            Ok(end) => (end, None),
            Err(ended) => (ended.end, Some((JobId(0), ended.outcome))),
        };
        let outcomes = failed.into_iter().collect();
        let mut told = Answer { end, outcomes, holds, learned, ..Answer::default() };
        let forms = self.preparer.credentials(&call).forms();
        hide(&forms, &mut told);
        let failed = told.outcomes.pop().map(|(_, outcome)| outcome);
        let found: BTreeMap<_, _> = found.into_iter().flatten().collect();
        let values = match failed {
            Some(failed) => Err(failed),
            None if found.values().any(|value| tells(value, &forms)) => {
                let reason = "values yields a secret, which would be kept where anybody reads it".to_owned();
                Err(Outcome::Broken { reason, excerpt: String::new() })
            }
            None if !self.leads_home(&call.connection, &found) => {
                let reason = "values yields what base_url cannot be made of: see http.hosts".to_owned();
                Err(Outcome::Broken { reason, excerpt: String::new() })
            }
            None => Ok(found),
        };
        let learned = self.checked(&call.connection, told.learned);
        Bootstrapped { end, holds: told.holds, values, learned }
    }
}

/// The bootstrap values of an answer: one object of them.
pub(super) fn values(program: &Program, answer: &Val) -> Result<Vec<BTreeMap<String, String>>, String> {
    let said = program.first(answer, mapping::value).map_err(|error| format!("values failed: {error}"))?;
    let Some(Some(Value::Object(found))) = said else {
        return Err("values yields no object: it is one of texts and numbers".to_owned());
    };
    let text = |(name, value): (String, Value)| match value {
        Value::String(text) if !text.is_empty() => Ok((name, text)),
        Value::Number(number) => Ok((name, number.to_string())),
        other => Err(format!("values yields {other} for {name:?}, where a text or number must be")),
    };
    Ok(vec![found.into_iter().map(text).collect::<Result<_, String>>()?])
}

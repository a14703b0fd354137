//! Fetches bootstrap values: account data that calls need, such as an id. Requested and judged like a resource.

use super::Fetcher;
use super::answer::elements::Mapping;
use super::answer::mapping::value;
use super::answer::validate::request_hash;
use super::call::{Call, CallResult};
use super::page::PagedResult;
use super::request::{contains_secret, parse_url, redact};
use crate::provider::BOOTSTRAP;
use crate::words::{Connection, DeviceId, End, Hold, JobId, Outcome, UnixMs};
use jaq_json::Val;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The result of a bootstrap call.
#[derive(Debug)]
pub struct Bootstrapped {
    /// How the call ended, for quotas.
    pub end: End,
    /// Holds on later calls.
    pub holds: Vec<(Hold, Option<DeviceId>)>,
    /// The values by name, or why there are none.
    pub values: Result<BTreeMap<String, String>, Outcome>,
    /// Bootstrap values that a failure's response corrects.
    pub corrected: BTreeMap<String, String>,
}

impl Fetcher {
    /// Whether the connection's bootstrap values are missing or outdated.
    pub fn needs_bootstrap(&self, connection: &Connection) -> bool {
        self.bootstrap_request_hash().is_some_and(|hash| connection.bootstrap_of.as_ref() != Some(&hash))
    }

    /// Hash of the bootstrap request. Values of another request are outdated.
    pub fn bootstrap_request_hash(&self) -> Option<String> {
        self.provider
            .definition
            .bootstrap
            .as_ref()
            .map(|bootstrap| request_hash(bootstrap.call().get_ref(), None))
    }

    /// Whether the egress guard allows the base URL with these values, merged over the known ones. With other values
    /// every call would be refused before it is sent, so no response could correct them.
    fn is_base_url_allowed(&self, connection: &Connection, values: &BTreeMap<String, String>) -> bool {
        let bootstrap = connection.bootstrap.clone().into_iter().chain(values.clone()).collect();
        let connection = Connection { bootstrap, ..connection.clone() };
        let base_url =
            self.preparer.requests.base_url(&self.preparer.context(&connection, UnixMs(0)).values());
        // A base URL that does not render yet is not called.
        base_url.ok().is_none_or(|url| parse_url(&url).is_ok_and(|url| self.wire.allows(&url)))
    }

    /// The values, or none if calls could not be sent with them.
    pub(super) fn usable_values(
        &self,
        connection: &Connection,
        values: BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        if values.is_empty() || self.is_base_url_allowed(connection, &values) {
            values
        } else {
            BTreeMap::new()
        }
    }

    /// Fetches the values, with the grant of another call. `now` is the schedule's clock, for waits.
    pub async fn bootstrap(&self, connection: Arc<Connection>, now: UnixMs) -> Bootstrapped {
        let call = Call { connection, resource: BOOTSTRAP.clone(), targets: Vec::new() };
        let Some(resource) = self.provider.call(BOOTSTRAP.as_str()) else {
            let (holds, corrected) = (Vec::new(), BTreeMap::new());
            return Bootstrapped { end: End::Unsent, holds, values: Ok(BTreeMap::new()), corrected };
        };
        let PagedResult { found, ended, holds, bootstrap_values, .. } =
            self.fetch_pages(resource, &call, now, None, values).await;
        let (end, failed) = match ended {
            Ok(end) => (end, None),
            Err(ended) => (ended.end, Some((JobId(0), ended.outcome))),
        };
        let outcomes = failed.into_iter().collect();
        let mut result = CallResult { end, outcomes, holds, bootstrap_values, ..CallResult::default() };
        let secrets = self.preparer.credentials(&call).secret_forms();
        redact(&secrets, &mut result);
        let failed = result.outcomes.pop().map(|(_, outcome)| outcome);
        let found: BTreeMap<_, _> = found.into_iter().flatten().collect();
        let values = match failed {
            Some(failed) => Err(failed),
            None if found.values().any(|value| contains_secret(value, &secrets)) => {
                let reason = "values yields a secret: bootstrap values are stored in plain text".to_owned();
                Err(Outcome::Broken { reason, excerpt: String::new() })
            }
            None if !self.is_base_url_allowed(&call.connection, &found) => {
                let reason =
                    "base_url is not allowed with the bootstrap values that `values` yields: see http.hosts"
                        .to_owned();
                Err(Outcome::Broken { reason, excerpt: String::new() })
            }
            None => Ok(found),
        };
        let corrected = self.usable_values(&call.connection, result.bootstrap_values);
        Bootstrapped { end, holds: result.holds, values, corrected }
    }
}

/// The bootstrap values of a response: one object.
pub(super) fn values(mapping: &Mapping, response: &Val) -> Result<Vec<BTreeMap<String, String>>, String> {
    let first = mapping.records.first(response, value).map_err(|error| format!("values failed: {error}"))?;
    let Some(Some(Value::Object(found))) = first else {
        return Err("values yields no object: it must yield an object of texts and numbers".to_owned());
    };
    let text = |(name, value): (String, Value)| match value {
        Value::String(text) if !text.is_empty() => Ok((name, text)),
        Value::Number(number) => Ok((name, number.to_string())),
        other => Err(format!("values yields {other} for {name:?}, but it must be a text or number")),
    };
    Ok(vec![found.into_iter().map(text).collect::<Result<_, String>>()?])
}

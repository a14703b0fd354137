//! Access to single parts of a call, for `benches/` and `fuzz/` only.

use super::answer::elements::Mapping;
use super::answer::mapping;
use super::wire::{Body, Response, ScriptedResponses};
use super::{Call, CallResult, Fetcher, bootstrap, probe};
use crate::provider::{BOOTSTRAP, DISCOVERY, LoadError, Provider};
use crate::words::{ResourceName, Secrets, UnixMs};
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use std::sync::Arc;
use std::time::Duration;

impl Fetcher {
    /// A fetcher without network.
    #[doc(hidden)]
    pub fn offline(provider: Arc<Provider>) -> Result<Self, LoadError> {
        Self::scripted(provider, ScriptedResponses::default(), Secrets::default())
    }

    /// All texts that a body yields when it is read as a list of devices, as bootstrap values or as a probe's
    /// revisions.
    #[doc(hidden)]
    pub fn texts_besides_records(&self, body: &[u8]) -> Vec<String> {
        let Ok(json) = mapping::parse(body) else { return Vec::new() };
        let read = |(name, of): (&ResourceName, &Mapping)| match name {
            name if *name == *DISCOVERY => {
                let found = mapping::devices(&of.records, &json).unwrap_or_default().into_iter();
                found.flat_map(|one| [one.external_id, one.name, one.group, one.model]).collect()
            }
            name if *name == *BOOTSTRAP => {
                let found = bootstrap::values(of, &json).unwrap_or_default().into_iter();
                found.flatten().flat_map(|(name, value)| [name, value]).collect()
            }
            name if name.scheduled() != name.as_str() => {
                let found = probe::revisions(of, &json).unwrap_or_default().into_iter();
                found.flat_map(|one| [Some(one.external_id), one.revision]).flatten().collect()
            }
            _ => Vec::new(),
        };
        self.mappings.iter().flat_map(read).collect()
    }

    /// The result of a call for a response of one page. Invalid headers are left out.
    #[doc(hidden)]
    pub fn result_from(
        &self,
        call: &Call,
        status: u16,
        headers: &[(&[u8], &[u8])],
        body: &[u8],
        now: UnixMs,
    ) -> Option<CallResult> {
        let header = |(name, value): &(&[u8], &[u8])| {
            Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
        };
        let headers = HeaderMap::from_iter(headers.iter().filter_map(header));
        let url = Url::parse("https://api.example.com/").ok()?;
        let body = Body { bytes: body.to_owned(), error: None };
        self.result_of(call, &Response { url, status, headers, body, took: Duration::ZERO }, now)
    }
}

//! A call's parts by themselves, for what measures them (`benches/`) and what throws anything at them (`fuzz/`).
//! Nothing else calls these.

use super::answer::mapping;
use super::jq::Program;
use super::wire::{Body, Reply, Script};
use super::{Answer, Call, Fetcher, bootstrap, probe};
use crate::provider::{BOOTSTRAP, DISCOVERY, LoadError, Provider};
use crate::words::{ResourceName, Secrets, UnixMs};
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use std::sync::Arc;
use std::time::Duration;

impl Fetcher {
    /// One that reaches nobody.
    #[doc(hidden)]
    pub fn offline(provider: Arc<Provider>) -> Result<Self, LoadError> {
        Self::scripted(provider, Script::default(), Secrets::default())
    }

    /// All texts that this body holds as a list of devices, as bootstrap values or as a probe's revisions.
    #[doc(hidden)]
    pub fn texts_beside(&self, body: &[u8]) -> Vec<String> {
        let Ok(answer) = mapping::read(body) else { return Vec::new() };
        let read = |(name, program): (&ResourceName, &Program)| match name {
            name if *name == *DISCOVERY => {
                let told = mapping::devices(program, &answer).unwrap_or_default().into_iter();
                told.flat_map(|one| [one.external_id, one.name, one.group, one.model]).collect()
            }
            name if *name == *BOOTSTRAP => {
                let told = bootstrap::values(program, &answer).unwrap_or_default().into_iter();
                told.flatten().flat_map(|(name, value)| [name, value]).collect()
            }
            name if name.scheduled() != name.as_str() => {
                let told = probe::revisions(program, &answer).unwrap_or_default().into_iter();
                told.flat_map(|one| [Some(one.external_id), one.revision]).flatten().collect()
            }
            _ => Vec::new(),
        };
        self.programs.iter().flat_map(read).collect()
    }

    /// What an answer of one page comes to that nobody sent. Headers that are none are left out.
    #[doc(hidden)]
    pub fn conclude_from(
        &self,
        call: &Call,
        status: u16,
        headers: &[(&[u8], &[u8])],
        body: &[u8],
        now: UnixMs,
    ) -> Option<Answer> {
        let header = |(name, value): &(&[u8], &[u8])| {
            Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
        };
        let headers = HeaderMap::from_iter(headers.iter().filter_map(header));
        let url = Url::parse("https://api.example.com/").ok()?;
        let body = Body { bytes: body.to_owned(), flaw: None };
        self.outcome_of(call, &Reply { url, status, headers, body, took: Duration::ZERO }, now)
    }
}

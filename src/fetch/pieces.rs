//! A call's parts by themselves, for what measures them (`benches/`) and what throws anything at them (`fuzz/`).
//! Nothing else calls these.

use super::body::Body;
use super::wire::{Reply, Script};
use super::{Answer, Call, Fetcher};
use crate::provider::{LoadError, Provider};
use crate::words::{Secrets, UnixMs};
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

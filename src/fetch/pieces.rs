//! A call's parts by themselves, for what measures them (`benches/`). Nothing else calls these.

use super::body::Body;
use super::wire::Reply;
use super::{Answer, Call, Fetcher};
use crate::words::UnixMs;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use std::time::Duration;

impl Fetcher {
    /// What an answer comes to that nobody sent. Headers that are none are left out.
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

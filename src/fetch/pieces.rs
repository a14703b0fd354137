//! A call's parts by themselves, for what measures and fuzzes them (`benches/`, `fuzz/`). Nothing else calls these.

use super::body::Body;
use super::wire::Reply;
use super::{Answer, Call, Fetcher, wait};
use crate::provider::{Wait, WaitUnit};
use crate::words::UnixMs;
use reqwest::Url;
use reqwest::header::{DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};

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
        self.outcome_of(call, &Reply { url, status, headers, body }, now)
    }
}

/// The end of a wait that `Retry-After`, a rule's own header and its jq tell alike.
#[doc(hidden)]
pub fn wait_until(told: &[u8], date: &[u8], unit: WaitUnit, now: UnixMs) -> UnixMs {
    let name = HeaderName::from_static("x-wait");
    let mut headers = HeaderMap::new();
    for (name, value) in [(RETRY_AFTER, told), (name.clone(), told), (DATE, date)] {
        headers.extend(HeaderValue::from_bytes(value).ok().map(|value| (name, value)));
    }
    let in_body = String::from_utf8_lossy(told).into_owned();
    let rule = Wait { header: Some(name.to_string()), unit, ..Wait::default() };
    wait::until(&headers, &rule, Some(in_body), now)
}

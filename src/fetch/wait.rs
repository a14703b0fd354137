//! How long a provider asks us to wait. Pure.

use crate::provider::Wait;
use crate::words::UnixMs;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use std::time::UNIX_EPOCH;

/// A provider that says nothing is left alone for this long.
const DEFAULT_MS: i64 = 60_000;
/// "At once" is not what a refusal means.
const FLOOR_MS: i64 = 1_000;
/// The longest seen from a real cloud was about 15 days (daikin_onecta); past a month it is a mistake.
const CAP_MS: i64 = 31 * 24 * 60 * 60 * 1000;

/// The end of the wait that an answer asks for: by the rule's header, else `Retry-After`, else the rule's default.
pub(super) fn until(headers: &HeaderMap, rule: Option<&Wait>, now: UnixMs) -> UnixMs {
    let named = rule.and_then(|wait| wait.header.as_deref()).and_then(|name| headers.get(name));
    let told = named
        .or_else(|| headers.get(RETRY_AFTER))
        .and_then(|value| value.to_str().ok())
        .and_then(|text| wait_ms(text, now));
    let fallback = rule
        .and_then(|wait| wait.default)
        .map_or(DEFAULT_MS, |wait| i64::try_from(wait.as_ms()).unwrap_or(CAP_MS));
    now.plus_ms(told.unwrap_or(fallback).clamp(FLOOR_MS, CAP_MS))
}

/// Seconds, whole or not, or an HTTP-date (RFC 9110, 10.2.3). A negative or unreadable one tells nothing.
fn wait_ms(text: &str, now: UnixMs) -> Option<i64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return (seconds.is_finite() && seconds >= 0.0).then_some((seconds * 1000.0) as i64);
    }
    let date = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(i64::try_from(date.as_millis()).ok()?.saturating_sub(now.0).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    fn wait_for(value: &str) -> i64 {
        let now = UnixMs(1_767_225_600_000); // Thu, 01 Jan 2026 00:00:00 GMT
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(value).unwrap())]);
        until(&headers, None, now).since_ms(now)
    }

    #[test]
    fn reads_every_form_and_bounds_it() {
        for (value, ms) in [
            ("52", 52_000),
            ("1.5", 1_500),
            ("Thu, 01 Jan 2026 00:02:00 GMT", 120_000),
            ("Thu, 01 Jan 2015 00:00:00 GMT", FLOOR_MS),
            ("0", FLOOR_MS),
            ("86400000000", CAP_MS),
            ("1e300", CAP_MS),
            ("-5", DEFAULT_MS),
            ("soon", DEFAULT_MS),
            ("NaN", DEFAULT_MS),
            ("", DEFAULT_MS),
        ] {
            assert_eq!(wait_for(value), ms, "{value:?}");
        }
    }
}

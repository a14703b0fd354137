//! How long a response asks to wait. Pure.

use crate::provider::{Wait, WaitUnit};
use crate::words::{Interval, UnixMs};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use std::time::UNIX_EPOCH;

/// Used if the response does not say how long.
const DEFAULT_MS: i64 = 60_000;
/// A throttled call is never repeated at once.
const FLOOR_MS: i64 = 1_000;
/// The longest wait seen from a real cloud was about 15 days (daikin_onecta); more than a month is a mistake.
const CAP_MS: i64 = 31 * DAY_MS;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// The longest reported wait that is shown to people; beyond it an instant has no year.
const REPORTED_MAX_MS: i64 = 100 * 365 * DAY_MS;

/// The wait that a response asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AskedWait {
    /// When a call may be tried.
    pub(crate) until: UnixMs,
    /// What the response says, however far away; none if it says nothing.
    pub(crate) reported_until: Option<UnixMs>,
}

/// The wait that a response asks for: by the rule's header, else by the rule's program over the body, else by
/// `Retry-After`, else by the rule's default. Unless the rule has a cap, a reported wait is cut to `longest_ms`, the
/// longest window of the limits: no more can be used up.
///
/// Instants are by the provider's clock, which may differ from ours. They are therefore counted from the response's
/// `Date` (RFC 9110, 6.6.1), if it has one.
pub(crate) fn asked(
    headers: &HeaderMap,
    rule: &Wait,
    in_body: Option<String>,
    longest_ms: i64,
    now: UnixMs,
) -> AskedWait {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let provider_now = provider_now(headers, now);
    let wait =
        rule.header.as_deref().and_then(header).and_then(|text| wait_ms(text, rule.unit, provider_now));
    let reported = wait
        .or_else(|| wait_ms(&in_body?, rule.unit, provider_now))
        .or_else(|| reported_retry_after_ms(headers, now));
    let floor = rule.floor.map_or(FLOOR_MS, bounded);
    let wait = match (reported, rule.cap.map(bounded)) {
        (reported, Some(cap)) => {
            reported.unwrap_or_else(|| default_ms(rule)).max(floor).min(cap.max(FLOOR_MS))
        }
        (Some(reported), None) => reported.min(longest_ms.min(CAP_MS)).max(floor),
        (None, None) => default_ms(rule).max(floor),
    };
    let reported_until = reported.map(|reported| now.plus_ms(reported.min(REPORTED_MAX_MS)));
    AskedWait { until: now.plus_ms(wait), reported_until }
}

fn default_ms(rule: &Wait) -> i64 {
    rule.default.map_or(DEFAULT_MS, bounded)
}

/// The wait of `Retry-After`, at most a day: nobody can lift the wait of a request for a token.
pub(crate) fn retry_after_ms(headers: &HeaderMap, now: UnixMs) -> Option<i64> {
    Some(reported_retry_after_ms(headers, now)?.min(DAY_MS))
}

fn reported_retry_after_ms(headers: &HeaderMap, now: UnixMs) -> Option<i64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    wait_ms(text, WaitUnit::Seconds, provider_now(headers, now))
}

/// The time of the provider's clock.
pub(crate) fn provider_now(headers: &HeaderMap, now: UnixMs) -> UnixMs {
    headers.get(DATE).and_then(|value| date(value.to_str().ok()?)).unwrap_or(now)
}

fn bounded(interval: Interval) -> i64 {
    i64::try_from(interval.as_ms()).unwrap_or(CAP_MS).min(CAP_MS)
}

/// The wait in a text: a number in the unit, or an HTTP-date (RFC 9110, 10.2.3). A past instant is a wait of 0; none if
/// the text is negative or unreadable.
pub(crate) fn wait_ms(text: &str, unit: WaitUnit, now: UnixMs) -> Option<i64> {
    let text = text.trim();
    let number = || text.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
    // `as` saturates; the caller's cap bounds the rest.
    let from_now = |at_ms: f64| (at_ms as i64).saturating_sub(now.0).max(0);
    match unit {
        WaitUnit::Seconds => number().map(|s| (s * 1000.0) as i64).or_else(|| date_ms(text, now)),
        WaitUnit::Ms => number().map(|ms| ms as i64),
        WaitUnit::EpochS => number().map(|s| from_now(s * 1000.0)),
        WaitUnit::EpochMs => number().map(from_now),
        WaitUnit::HttpDate => date_ms(text, now),
    }
}

fn date_ms(text: &str, now: UnixMs) -> Option<i64> {
    Some(date(text)?.0.saturating_sub(now.0).max(0))
}

fn date(text: &str) -> Option<UnixMs> {
    let date = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(date.as_millis()).ok().map(UnixMs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderName, HeaderValue};

    /// Thu, 01 Jan 2026 00:00:00 GMT.
    const NOW: UnixMs = UnixMs(1_767_225_600_000);

    fn wait_for(value: &str) -> i64 {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(value).unwrap())]);
        asked(&headers, &Wait::default(), None, CAP_MS, NOW).until.since_ms(NOW)
    }

    fn wait_in(value: &str, unit: WaitUnit) -> i64 {
        let name = HeaderName::from_static("x-ratelimit-reset");
        let headers = HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())]);
        let rule = Wait { header: Some("X-RateLimit-Reset".to_owned()), unit, ..Wait::default() };
        let in_header = asked(&headers, &rule, None, CAP_MS, NOW);
        let in_body = asked(&HeaderMap::new(), &rule, Some(value.to_owned()), CAP_MS, NOW);
        assert_eq!(in_header, in_body, "{value:?}");
        in_header.until.since_ms(NOW)
    }

    #[test]
    fn waits_are_read_in_every_unit_and_bounded() {
        for (value, unit, ms) in [
            ("13933", WaitUnit::Ms, 13_933),
            ("1767225652", WaitUnit::EpochS, 52_000),
            ("1767225652.5", WaitUnit::EpochS, 52_500),
            ("1767225600", WaitUnit::EpochS, FLOOR_MS),
            ("1467225600", WaitUnit::EpochS, FLOOR_MS),
            ("1767225652000", WaitUnit::EpochS, CAP_MS),
            ("1767225652000", WaitUnit::EpochMs, 52_000),
            ("Thu, 01 Jan 2026 00:02:00 GMT", WaitUnit::HttpDate, 120_000),
            ("120", WaitUnit::HttpDate, DEFAULT_MS),
            ("-1", WaitUnit::EpochS, DEFAULT_MS),
            ("tomorrow", WaitUnit::EpochMs, DEFAULT_MS),
        ] {
            assert_eq!(wait_in(value, unit), ms, "{value:?} in {unit:?}");
        }
    }

    #[test]
    fn rule_bounds_the_wait() {
        let wait = |rule: Wait, text: &str| {
            asked(&HeaderMap::new(), &rule, Some(text.to_owned()), CAP_MS, NOW).until.since_ms(NOW)
        };
        let interval = |text: &str| Some(text.parse::<Interval>().unwrap());
        assert_eq!(wait(Wait { floor: interval("30s"), ..Wait::default() }, "5"), 30_000);
        assert_eq!(wait(Wait { cap: interval("1h"), ..Wait::default() }, "86400"), 3_600_000);
        assert_eq!(wait(Wait { default: interval("1d"), ..Wait::default() }, "soon"), 86_400_000);
    }

    #[test]
    fn reported_wait_beyond_the_longest_window_is_capped_unless_the_rule_has_a_cap() {
        let interval = |text: &str| Some(text.parse::<Interval>().unwrap());
        let year_s = 365 * DAY_MS / 1000;
        let wait = |rule: Wait, text: String| {
            let found = asked(&HeaderMap::new(), &rule, Some(text), 3_600_000, NOW);
            (found.until.since_ms(NOW), found.reported_until.map(|reported| reported.since_ms(NOW)))
        };
        let year_ms = Some(year_s * 1000);
        assert_eq!(wait(Wait::default(), year_s.to_string()), (3_600_000, year_ms));
        assert_eq!(wait(Wait::default(), "600".to_owned()), (600_000, Some(600_000)));
        let (cap, floor) = (interval("15days"), interval("2h"));
        assert_eq!(wait(Wait { cap, ..Wait::default() }, year_s.to_string()), (15 * DAY_MS, year_ms));
        assert_eq!(wait(Wait { floor, ..Wait::default() }, year_s.to_string()), (7_200_000, year_ms));
        // What the definition assumes is not reported.
        let default = interval("1d");
        assert_eq!(wait(Wait { default, ..Wait::default() }, "soon".to_owned()), (DAY_MS, None));
        assert_eq!(wait(Wait::default(), "1e300".to_owned()), (3_600_000, Some(REPORTED_MAX_MS)));
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from(year_s))]);
        assert_eq!(retry_after_ms(&headers, NOW), Some(DAY_MS));
    }

    #[test]
    fn instant_counts_from_the_date_header() {
        let wait = |date: &str, text: &str, unit: WaitUnit| {
            let of = |text: &str| HeaderValue::from_str(text).unwrap();
            let headers = HeaderMap::from_iter([(RETRY_AFTER, of(text)), (DATE, of(date))]);
            let rule = Wait { header: Some("Retry-After".to_owned()), unit, ..Wait::default() };
            asked(&headers, &rule, None, CAP_MS, NOW).until.since_ms(NOW)
        };
        // Clocks an hour ahead, and years behind.
        let ahead = "Thu, 01 Jan 2026 01:00:00 GMT";
        assert_eq!(wait(ahead, "Thu, 01 Jan 2026 01:02:00 GMT", WaitUnit::Seconds), 120_000);
        assert_eq!(wait(ahead, "1767229320", WaitUnit::EpochS), 120_000);
        assert_eq!(wait(ahead, "120", WaitUnit::Seconds), 120_000);
        let behind = "Thu, 01 Jan 1970 00:00:10 GMT";
        assert_eq!(wait(behind, "Thu, 01 Jan 1970 00:01:00 GMT", WaitUnit::HttpDate), 50_000);
        assert_eq!(wait("today", "Thu, 01 Jan 2026 00:02:00 GMT", WaitUnit::Seconds), 120_000);
    }

    #[test]
    fn retry_after_is_read_in_every_form_and_bounded() {
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

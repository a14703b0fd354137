//! Turns a response's rate-limit headers into holds. Pure.
//!
//! Headers only tighten: if the cloud has counted more than we have, such as calls of other software with the same key,
//! the quota is held until its reset; a larger remaining amount than ours changes nothing.

use super::wait::{provider_now, wait_ms};
use crate::provider::{Calendar, Provider, Quota, RateLimit, Resource, WaitUnit, Window};
use crate::words::{Hold, QuotaInputs, ResourceName, Scope, UnixMs};
use reqwest::header::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, Item, List, ListEntry, Parser};

/// "Nothing remaining" never means "retry at once".
const FLOOR_MS: i64 = 1_000;
/// Clocks differ and calendar days vary in length: a reset may be this many windows away.
const WINDOWS_MAX: f64 = 1.1;

/// The remaining amount of a quota, and the time to its reset.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Remaining {
    amount: f64,
    reset_ms: Option<i64>,
}

/// The holds that follow from the headers of a call for `devices` devices, assuming that the next call costs as much.
/// `other_calls` gives the number of other calls in flight within a scope: the cloud may not have counted them yet.
pub(crate) fn holds(
    provider: &Provider,
    ((name, resource), devices): ((&ResourceName, &Resource), usize),
    inputs: &QuotaInputs,
    headers: &HeaderMap,
    other_calls: impl Fn(Scope) -> u32,
    now: UnixMs,
) -> Vec<Hold> {
    let mut holds: Vec<Hold> = Vec::new();
    for limit in provider.rate_limits() {
        let Some(quota) = provider.quotas().find(|quota| quota.name == limit.quota && quota.counts(name))
        else {
            continue;
        };
        let Some(remaining) = remaining_of(limit, quota, headers, now) else { continue };
        let needed = f64::from(resource.cost_of(u32::try_from(devices).unwrap_or(u32::MAX)))
            * f64::from(1 + other_calls(quota.scope));
        if remaining.amount < needed {
            let until = now.plus_ms(reset_ms(remaining.reset_ms, quota, inputs, now));
            let reason = format!("the cloud reports {} remaining of quota {}", remaining.amount, quota.name);
            holds.push(Hold { scope: quota.scope, until, reason, refusal: None });
        }
    }
    holds
}

/// Adds holds; of two of one scope the longer stays, and a refusal stays a refusal.
pub(crate) fn join<T: Copy>(holds: &mut Vec<(Hold, T)>, more: Vec<Hold>, device: T) {
    for hold in more {
        match holds.iter_mut().find(|(known, _)| known.scope == hold.scope) {
            Some((known, _)) => {
                let refusal = known.refusal.or(hold.refusal);
                if known.until < hold.until {
                    *known = hold;
                }
                known.refusal = refusal;
            }
            None => holds.push((hold, device)),
        }
    }
}

fn remaining_of(limit: &RateLimit, quota: &Quota, headers: &HeaderMap, now: UnixMs) -> Option<Remaining> {
    if let Some(policy) = &limit.policy {
        return policy_remaining(&text(headers, "RateLimit")?, policy);
    }
    let number = |name: &str| number_for(&text(headers, name)?, window_s(quota));
    let amount = number(limit.remaining.as_deref()?)?;
    if let Some(name) = &limit.limit {
        // If the header lists several windows, the first is the one that the remaining amount belongs to.
        let first = text(headers, name).and_then(|text| number_for(&text, None));
        // Any amount that the quota can have for some inputs: the cloud knows them best, and a hold only tightens.
        if !first.is_some_and(|first| quota.may_allow(first)) {
            return None;
        }
    }
    let reset = limit.reset.as_deref().and_then(|name| {
        let text = text(headers, name)?;
        let chosen = number_for(&text, window_s(quota)).map_or(text, |number| number.to_string());
        wait_ms(&chosen, limit.unit, provider_now(headers, now))
    });
    Some(Remaining { amount, reset_ms: reset })
}

/// Time to the reset, ms: as reported, at most a bit more than the window; by default the quota's own pace.
fn reset_ms(reported: Option<i64>, quota: &Quota, inputs: &QuotaInputs, now: UnixMs) -> i64 {
    let (usual, longest) = match quota.window {
        Some(Window::Length(length)) => {
            let window = length.as_ms() as f64;
            (window / f64::from(quota.amount_for(inputs)), window * WINDOWS_MAX)
        }
        Some(Window::Calendar(calendar)) => {
            let window = calendar.boundaries(&quota.zone, now)[1].since_ms(now) as f64;
            let days = if calendar == Calendar::Month { 31.0 / 28.0 } else { 1.0 };
            (window, calendar.least_ms() * days * WINDOWS_MAX)
        }
        None => (0.0, 0.0),
    };
    reported.unwrap_or(usual.ceil() as i64).min(longest as i64).max(FLOOR_MS)
}

fn window_s(quota: &Quota) -> Option<f64> {
    match quota.window? {
        Window::Length(length) => Some(length.as_ms() as f64 / 1000.0),
        Window::Calendar(calendar) => Some(calendar.least_ms() / 1000.0),
    }
}

/// All values of a header, joined as in RFC 9110 (5.3). Names are compared without case, `-` and `_`: spellings differ
/// even within one vendor's documentation (`X-Rate-Limit-Reset`, `X-Ratelimit-Reset`).
fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let plain = |name: &str| name.to_ascii_lowercase().replace(['-', '_'], "");
    let wanted = plain(name);
    let named = |found: &HeaderName| plain(found.as_str()) == wanted;
    let values =
        headers.iter().filter(|(found, _)| named(found)).filter_map(|(_, value)| value.to_str().ok());
    let joined = values.collect::<Vec<_>>().join(", ");
    (!joined.trim().is_empty()).then(|| joined.trim().to_owned())
}

/// The number in a header; of a list, the item with this window, else the first.
fn number_for(text: &str, window_s: Option<f64>) -> Option<f64> {
    let plain = || text.parse::<f64>().ok().filter(|number| number.is_finite());
    let Ok(list) = Parser::new(text).parse::<List>() else { return plain() };
    let items: Vec<&Item> = list.iter().filter_map(item).collect();
    let of_window = |item: &&&Item| {
        let window = ["w", "window"].iter().find_map(|key| number(item.params.get(*key)?));
        window.is_some() && window == window_s
    };
    items.iter().find(of_window).or(items.first()).and_then(|item| number(&item.bare_item)).or_else(plain)
}

/// The remaining amount of a named policy in `RateLimit`: an item such as `"perday";r=15211;t=43200`, or an earlier
/// draft's single `remaining=50, reset=30`.
fn policy_remaining(text: &str, policy: &str) -> Option<Remaining> {
    let seconds = |number: f64| wait_ms(&number.to_string(), WaitUnit::Seconds, UnixMs(0));
    if let Ok(list) = Parser::new(text).parse::<List>() {
        let named = |item: &&Item| {
            let name = &item.bare_item;
            name.as_string().is_some_and(|name| name.as_str() == policy)
                || name.as_token().is_some_and(|name| name.as_str() == policy)
        };
        let item = list.iter().filter_map(item).find(named)?;
        let reset = item.params.get("t").and_then(number);
        return Some(Remaining { amount: number(item.params.get("r")?)?, reset_ms: reset.and_then(seconds) });
    }
    let dictionary = Parser::new(text).parse::<Dictionary>().ok()?;
    let of = |key: &str| number(&item(dictionary.get(key)?)?.bare_item);
    Some(Remaining { amount: of("remaining")?, reset_ms: of("reset").and_then(seconds) })
}

fn item(entry: &ListEntry) -> Option<&Item> {
    match entry {
        ListEntry::Item(item) => Some(item),
        ListEntry::InnerList(_) => None,
    }
}

fn number(item: &BareItem) -> Option<f64> {
    let whole = item.as_integer().map(|number| i64::from(number) as f64);
    whole.or_else(|| item.as_decimal().map(f64::from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Refusal;
    use reqwest::header::HeaderValue;

    /// Thu, 01 Jan 2026 00:00:00 GMT.
    const NOW: UnixMs = UnixMs(1_767_225_600_000);

    /// Scope and seconds of each hold for these limits and headers, with `others` other calls in flight.
    fn held(limits: &str, headers: &[(&str, &str)], others: u32) -> Vec<(Scope, i64)> {
        let text = format!(
            r#"title = "T"
[http]
base_url = "https://api.example.com"
[[quota]]
name = "minute"
scope = "connection"
amount = 100
window = "1m"
burst = 9
[[quota]]
name = "day"
kind = "aligned"
scope = "app"
amount = 10000
window = "day"
burst = 9
[resource.state]
interval_min = "10s"
interval_default = "1m"
path = "/"
records = "."
{limits}"#
        );
        let provider = Provider::parse("t".parse().unwrap(), "t.toml", &text).unwrap();
        let header = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
        };
        let headers: HeaderMap = headers.iter().map(header).collect();
        let resource = provider.find_resource("state").unwrap();
        let found = holds(&provider, (resource, 1), &QuotaInputs::default(), &headers, |_| others, NOW);
        found.iter().map(|hold| (hold.scope, hold.until.since_ms(NOW) / 1000)).collect()
    }

    const MINUTE: &str = r#"
[[rate_limit]]
quota = "minute"
remaining = "X-RateLimit-Remaining"
reset = "X-RateLimit-Reset"
"#;

    #[test]
    fn too_little_remaining_for_calls_in_flight_holds_until_reset() {
        let held_for = |remaining, others| {
            held(MINUTE, &[("x-ratelimit-remaining", remaining), ("x-ratelimit-reset", "42")], others)
        };
        assert_eq!(held_for("1", 0), []);
        assert_eq!(held_for("0", 0), [(Scope::Connection, 42)]);
        assert_eq!(held_for("3", 3), [(Scope::Connection, 42)]);
        assert_eq!(held_for("4", 3), []);
        assert_eq!(held_for("0.5", 0), [(Scope::Connection, 42)]);
        assert_eq!(held_for("-1", 0), [(Scope::Connection, 42)]);
        for unreadable in ["", "soon", "NaN", "(1 2)", "?1"] {
            assert_eq!(held_for(unreadable, 9), [], "{unreadable:?}");
        }
    }

    #[test]
    fn header_names_match_loosely_and_are_optional() {
        for (remaining, reset) in [
            ("X-Rate-Limit-Remaining", "X-Rate-Limit-Reset"),
            ("X-RATELIMIT-REMAINING", "x-ratelimit-reset"),
            ("x_ratelimit_remaining", "X-RateLimit_Reset"),
        ] {
            assert_eq!(held(MINUTE, &[(remaining, "0"), (reset, "7")], 0), [(Scope::Connection, 7)]);
        }
        assert_eq!(held(MINUTE, &[("RateLimit-Remaining", "0")], 0), []);
        assert_eq!(held(MINUTE, &[("X-RateLimit-Reset", "7")], 0), []);
        assert_eq!(held("", &[("X-RateLimit-Remaining", "0")], 0), []);
    }

    #[test]
    fn reset_is_read_in_its_unit_and_bounded_by_the_window() {
        let unit = |unit: &str, reset: &str| {
            let limits = format!("{MINUTE}unit = \"{unit}\"\n");
            held(&limits, &[("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", reset)], 0)[0].1
        };
        assert_eq!(unit("seconds", "1.5"), 1);
        assert_eq!(unit("ms", "13933"), 13);
        assert_eq!(unit("epoch_s", "1767225652"), 52);
        assert_eq!(unit("epoch_ms", "1767225652000"), 52);
        assert_eq!(unit("http_date", "Thu, 01 Jan 2026 00:00:30 GMT"), 30);
        // A wrong clock or unit does not hold a minute's quota for a month.
        assert_eq!(unit("epoch_s", "1767225652000"), 66);
        assert_eq!(unit("epoch_s", "1"), 1);
    }

    #[test]
    fn without_reset_the_hold_follows_the_quotas_pace() {
        assert_eq!(held(MINUTE, &[("X-RateLimit-Remaining", "0")], 0), [(Scope::Connection, 1)]);
        let day = "[[rate_limit]]\nquota = \"day\"\npolicy = \"perday\"\n";
        assert_eq!(held(day, &[("RateLimit", "\"perday\";r=0")], 0), [(Scope::App, 86_400)]);
    }

    #[test]
    fn rate_limit_policies_are_found_by_name() {
        let day = "[[rate_limit]]\nquota = \"day\"\npolicy = \"perday\"\n";
        for (header, holds) in [
            ("\"perday\";r=15211;t=43200", None),
            ("\"perday\";r=0;t=43200", Some(43_200)),
            ("\"burst\";r=0;t=5, perday;r=0;t=60", Some(60)),
            ("\"burst\";r=0;t=5", None),
            ("\"perday\";t=5", None),
            ("limit=100, remaining=0, reset=30", Some(30)),
            ("limit=100, remaining=9, reset=30", None),
            ("perday r=0", None),
        ] {
            let found = held(day, &[("ratelimit", header)], 0);
            assert_eq!(found, holds.map(|s| (Scope::App, s)).into_iter().collect::<Vec<_>>(), "{header}");
        }
    }

    #[test]
    fn header_with_several_windows_holds_the_matching_quota() {
        let both = format!("{MINUTE}limit = \"X-RateLimit-Limit\"\n{}", MINUTE.replace("minute", "day"))
            + "limit = \"X-RateLimit-Limit\"\n";
        let held_for = |limit: &str| {
            let headers =
                [("X-RateLimit-Limit", limit), ("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "3")];
            held(&both, &headers, 0)
        };
        assert_eq!(held_for("100, 100;window=60, 10000;window=86400"), [(Scope::Connection, 3)]);
        assert_eq!(held_for("10000, 100;window=60, 10000;window=86400"), [(Scope::App, 3)]);
        assert_eq!(held_for("50"), []);
        let day = "[[rate_limit]]\nquota = \"day\"\nremaining = \"X-Left\"\n";
        assert_eq!(held(day, &[("X-Left", "9;w=60, 0;w=86400")], 0), [(Scope::App, 86_400)]);
        assert_eq!(held(day, &[("X-Left", "0;w=60, 9;w=86400")], 0), []);
    }

    #[test]
    fn longer_of_two_holds_of_a_scope_stays() {
        let hold = |scope, s: i64| Hold {
            scope,
            until: NOW.plus_ms(s * 1000),
            reason: s.to_string(),
            refusal: (s < 6).then_some(Refusal { reported_until: None }),
        };
        let mut holds = vec![(hold(Scope::Device, 50), 1), (hold(Scope::Connection, 5), 1)];
        join(&mut holds, vec![hold(Scope::Device, 7), hold(Scope::Connection, 9), hold(Scope::App, 1)], 2);
        let all: Vec<_> = holds
            .iter()
            .map(|(hold, device)| (hold.reason.as_str(), *device, hold.refusal.is_some()))
            .collect();
        assert_eq!(all, [("50", 1, false), ("9", 1, true), ("1", 2, true)], "a refusal stays one");
    }
}

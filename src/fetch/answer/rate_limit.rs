//! What an answer's headers tell of what is left. Pure.
//!
//! Feedback only tightens: what a cloud has counted beyond what we have, such as calls of other software with the same
//! key, ends in a hold until its reset; more than we think is left changes nothing.

use super::wait::{there, wait_ms};
use crate::provider::{Calendar, Provider, Quota, RateLimit, Resource, WaitUnit, Window};
use crate::words::{Hold, QuotaInputs, ResourceName, Scope, UnixMs};
use reqwest::header::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, Item, List, ListEntry, Parser};

/// "At once" is not what "nothing left" means.
const FLOOR_MS: i64 = 1_000;
/// Clocks differ, and calendars have longer days: a reset may be this much further away than the window is long.
const WINDOWS_MAX: f64 = 1.1;

/// What is left, and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Left {
    amount: f64,
    reset_ms: Option<i64>,
}

/// The holds that headers ask for, after an answer of a call for so many devices: the next will need as much. `others`
/// tells how many calls beside it are on their way within a scope: the cloud may not have counted them yet.
pub(crate) fn holds(
    provider: &Provider,
    ((name, resource), devices): ((&ResourceName, &Resource), usize),
    terms: &QuotaInputs,
    headers: &HeaderMap,
    others: impl Fn(Scope) -> u32,
    now: UnixMs,
) -> Vec<Hold> {
    let mut holds: Vec<Hold> = Vec::new();
    for limit in provider.rate_limits() {
        let Some(quota) = provider.quotas().find(|quota| quota.name == limit.quota && quota.counts(name))
        else {
            continue;
        };
        let Some(left) = left(limit, quota, headers, now) else { continue };
        let needed = f64::from(resource.cost_of(u32::try_from(devices).unwrap_or(u32::MAX)))
            * f64::from(1 + others(quota.scope));
        if left.amount < needed {
            let until = now.plus_ms(reset_ms(left.reset_ms, quota, terms, now));
            let reason = format!("the cloud tells that {} is left of quota {}", left.amount, quota.name);
            holds.push(Hold { scope: quota.scope, until, reason });
        }
    }
    holds
}

/// Two holds of one scope are one: the longer.
pub(crate) fn join<T: Copy>(holds: &mut Vec<(Hold, T)>, more: Vec<Hold>, whose: T) {
    for hold in more {
        match holds.iter_mut().find(|(known, _)| known.scope == hold.scope) {
            Some((known, _)) if known.until < hold.until => *known = hold,
            Some(_) => {}
            None => holds.push((hold, whose)),
        }
    }
}

fn left(limit: &RateLimit, quota: &Quota, headers: &HeaderMap, now: UnixMs) -> Option<Left> {
    if let Some(policy) = &limit.policy {
        return policy_left(&text(headers, "RateLimit")?, policy);
    }
    let number = |name: &str| number_for(&text(headers, name)?, window_s(quota));
    let amount = number(limit.remaining.as_deref()?)?;
    if let Some(name) = &limit.limit {
        // With several windows in one header, the first is the one that the rest is about.
        let first = text(headers, name).and_then(|text| number_for(&text, None));
        // Whatever its terms are, as the cloud knows them best: a hold only tightens.
        if !first.is_some_and(|first| quota.may_allow(first)) {
            return None;
        }
    }
    let reset = limit.reset.as_deref().and_then(|name| {
        let told = text(headers, name)?;
        let chosen = number_for(&told, window_s(quota)).map_or(told, |number| number.to_string());
        wait_ms(&chosen, limit.unit, there(headers, now))
    });
    Some(Left { amount, reset_ms: reset })
}

/// How long to wait, ms.
fn reset_ms(told: Option<i64>, quota: &Quota, terms: &QuotaInputs, now: UnixMs) -> i64 {
    let (usual, longest) = match quota.window {
        Some(Window::Length(length)) => {
            let window = length.as_ms() as f64;
            (window / f64::from(quota.amount_for(terms)), window * WINDOWS_MAX)
        }
        Some(Window::Calendar(calendar)) => {
            let turn = calendar.turns(&quota.zone, now)[1].since_ms(now) as f64;
            let days = if calendar == Calendar::Month { 31.0 / 28.0 } else { 1.0 };
            (turn, calendar.least_ms() * days * WINDOWS_MAX)
        }
        None => (0.0, 0.0),
    };
    told.unwrap_or(usual.ceil() as i64).min(longest as i64).max(FLOOR_MS)
}

fn window_s(quota: &Quota) -> Option<f64> {
    match quota.window? {
        Window::Length(length) => Some(length.as_ms() as f64 / 1000.0),
        Window::Calendar(calendar) => Some(calendar.least_ms() / 1000.0),
    }
}

/// All values of the header of this name, joined as RFC 9110 (5.3) does. Spellings differ, even within one vendor's
/// documentation: `X-Rate-Limit-Reset`, `X-Ratelimit-Reset`.
fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let plain = |name: &str| name.to_ascii_lowercase().replace(['-', '_'], "");
    let wanted = plain(name);
    let named = |found: &HeaderName| plain(found.as_str()) == wanted;
    let values =
        headers.iter().filter(|(found, _)| named(found)).filter_map(|(_, value)| value.to_str().ok());
    let joined = values.collect::<Vec<_>>().join(", ");
    (!joined.trim().is_empty()).then(|| joined.trim().to_owned())
}

/// A number, or that of a list whose window is this long, else its first.
fn number_for(text: &str, window_s: Option<f64>) -> Option<f64> {
    let plain = || text.parse::<f64>().ok().filter(|number| number.is_finite());
    let Ok(list) = Parser::new(text).parse::<List>() else { return plain() };
    let items: Vec<&Item> = list.iter().filter_map(item).collect();
    let of_window = |item: &&&Item| {
        let told = ["w", "window"].iter().find_map(|key| number(item.params.get(*key)?));
        told.is_some() && told == window_s
    };
    items.iter().find(of_window).or(items.first()).and_then(|item| number(&item.bare_item)).or_else(plain)
}

/// `"perday";r=15211;t=43200` of a list; or of an earlier draft, where there is only one, `remaining=50, reset=30`.
fn policy_left(text: &str, policy: &str) -> Option<Left> {
    let seconds = |number: f64| wait_ms(&number.to_string(), WaitUnit::Seconds, UnixMs(0));
    if let Ok(list) = Parser::new(text).parse::<List>() {
        let named = |item: &&Item| {
            let name = &item.bare_item;
            name.as_string().is_some_and(|name| name.as_str() == policy)
                || name.as_token().is_some_and(|name| name.as_str() == policy)
        };
        let item = list.iter().filter_map(item).find(named)?;
        let reset = item.params.get("t").and_then(number);
        return Some(Left { amount: number(item.params.get("r")?)?, reset_ms: reset.and_then(seconds) });
    }
    let dictionary = Parser::new(text).parse::<Dictionary>().ok()?;
    let of = |key: &str| number(&item(dictionary.get(key)?)?.bare_item);
    Some(Left { amount: of("remaining")?, reset_ms: of("reset").and_then(seconds) })
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
    use reqwest::header::HeaderValue;

    /// Thu, 01 Jan 2026 00:00:00 GMT.
    const NOW: UnixMs = UnixMs(1_767_225_600_000);

    /// Seconds and scope of each hold that these limits and headers come to, with so many other calls on their way.
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
    fn too_little_left_for_what_is_on_its_way_holds_until_the_reset() {
        let told = |remaining, others| {
            held(MINUTE, &[("x-ratelimit-remaining", remaining), ("x-ratelimit-reset", "42")], others)
        };
        assert_eq!(told("1", 0), []);
        assert_eq!(told("0", 0), [(Scope::Connection, 42)]);
        assert_eq!(told("3", 3), [(Scope::Connection, 42)]);
        assert_eq!(told("4", 3), []);
        assert_eq!(told("0.5", 0), [(Scope::Connection, 42)]);
        assert_eq!(told("-1", 0), [(Scope::Connection, 42)]);
        for nothing in ["", "soon", "NaN", "(1 2)", "?1"] {
            assert_eq!(told(nothing, 9), [], "{nothing:?}");
        }
    }

    #[test]
    fn names_are_met_tolerantly_and_never_required() {
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
    fn a_reset_is_read_in_its_unit_and_bounded_by_the_window() {
        let unit = |unit: &str, reset: &str| {
            let limits = format!("{MINUTE}unit = \"{unit}\"\n");
            held(&limits, &[("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", reset)], 0)[0].1
        };
        assert_eq!(unit("seconds", "1.5"), 1);
        assert_eq!(unit("ms", "13933"), 13);
        assert_eq!(unit("epoch_s", "1767225652"), 52);
        assert_eq!(unit("epoch_ms", "1767225652000"), 52);
        assert_eq!(unit("http_date", "Thu, 01 Jan 2026 00:00:30 GMT"), 30);
        // A clock that is off, or a unit that is another one, does not hold a minute's quota for a month.
        assert_eq!(unit("epoch_s", "1767225652000"), 66);
        assert_eq!(unit("epoch_s", "1"), 1);
    }

    #[test]
    fn without_a_reset_the_quotas_own_pace_tells() {
        assert_eq!(held(MINUTE, &[("X-RateLimit-Remaining", "0")], 0), [(Scope::Connection, 1)]);
        let day = "[[rate_limit]]\nquota = \"day\"\npolicy = \"perday\"\n";
        assert_eq!(held(day, &[("RateLimit", "\"perday\";r=0")], 0), [(Scope::App, 86_400)]);
    }

    #[test]
    fn the_drafts_policies_are_found_by_name() {
        let day = "[[rate_limit]]\nquota = \"day\"\npolicy = \"perday\"\n";
        for (told, holds) in [
            ("\"perday\";r=15211;t=43200", None),
            ("\"perday\";r=0;t=43200", Some(43_200)),
            ("\"burst\";r=0;t=5, perday;r=0;t=60", Some(60)),
            ("\"burst\";r=0;t=5", None),
            ("\"perday\";t=5", None),
            ("limit=100, remaining=0, reset=30", Some(30)),
            ("limit=100, remaining=9, reset=30", None),
            ("perday r=0", None),
        ] {
            let found = held(day, &[("ratelimit", told)], 0);
            assert_eq!(found, holds.map(|s| (Scope::App, s)).into_iter().collect::<Vec<_>>(), "{told}");
        }
    }

    #[test]
    fn one_header_may_tell_of_several_windows() {
        let both = format!("{MINUTE}limit = \"X-RateLimit-Limit\"\n{}", MINUTE.replace("minute", "day"))
            + "limit = \"X-RateLimit-Limit\"\n";
        let told = |limit: &str| {
            let told =
                [("X-RateLimit-Limit", limit), ("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "3")];
            held(&both, &told, 0)
        };
        assert_eq!(told("100, 100;window=60, 10000;window=86400"), [(Scope::Connection, 3)]);
        assert_eq!(told("10000, 100;window=60, 10000;window=86400"), [(Scope::App, 3)]);
        assert_eq!(told("50"), []);
        let day = "[[rate_limit]]\nquota = \"day\"\nremaining = \"X-Left\"\n";
        assert_eq!(held(day, &[("X-Left", "9;w=60, 0;w=86400")], 0), [(Scope::App, 86_400)]);
        assert_eq!(held(day, &[("X-Left", "0;w=60, 9;w=86400")], 0), []);
    }

    #[test]
    fn the_longer_of_two_holds_of_a_scope_stays() {
        let hold = |scope, s: i64| Hold { scope, until: NOW.plus_ms(s * 1000), reason: s.to_string() };
        let mut holds = vec![(hold(Scope::Device, 50), 1), (hold(Scope::Connection, 5), 1)];
        join(&mut holds, vec![hold(Scope::Device, 7), hold(Scope::Connection, 9), hold(Scope::App, 1)], 2);
        let reasons: Vec<_> = holds.iter().map(|(hold, whose)| (hold.reason.as_str(), *whose)).collect();
        assert_eq!(reasons, [("50", 1), ("9", 1), ("1", 2)]);
    }
}

//! Compares a case's expectations with the result. Pure.

use super::case::{Case, Difference, Expected, ExpectedOutcome, ExpectedRequest, ExpectedValidators};
use super::fixtures::{SECRET, secret};
use crate::fetch::request::secret_forms;
use crate::fetch::{Bootstrapped, CallResult, Listing};
use crate::provider::BASIC;
use crate::words::{DeviceId, Hold, Outcome, Record, ResourceName, UnixMs};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use reqwest::Request;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Collected differences.
pub(crate) struct Differences(pub(super) Vec<Difference>);

impl Differences {
    pub(crate) fn note(&mut self, what: impl Into<String>, expected: impl ToString, got: impl ToString) {
        let (expected, got) = (expected.to_string(), got.to_string());
        if expected != got {
            self.0.push(Difference { what: what.into(), expected, got });
        }
    }
}

pub(crate) fn or_none(found: Option<impl ToString>) -> String {
    found.map_or_else(|| "nothing".to_owned(), |found| found.to_string())
}

/// Compares the requests that were sent with the expected ones.
pub fn compare_requests<'a>(
    expected: impl Iterator<Item = Option<&'a ExpectedRequest>> + Clone,
    sent: &[Request],
) -> Vec<Difference> {
    let mut differences = Differences(Vec::new());
    differences.note("requests", expected.clone().count(), sent.len());
    for (expected, request) in expected.zip(sent) {
        if let Some(expected) = expected {
            compare_request(expected, request, &mut differences);
        }
    }
    differences.0
}

fn compare_request(request: &ExpectedRequest, sent: &Request, differences: &mut Differences) {
    for (what, expected, got) in [
        ("request.method", &request.method, sent.method().as_str()),
        ("request.origin", &request.origin, &sent.url().origin().ascii_serialization()),
        ("request.path", &request.path, sent.url().path()),
    ] {
        if let Some(expected) = expected {
            differences.note(what, expected, got);
        }
    }
    let query: BTreeMap<_, _> = sent.url().query_pairs().collect();
    for (name, expected) in &request.query {
        differences.note(
            format!("request.query.{name}"),
            with_secrets(expected),
            or_none(query.get(name.as_str())),
        );
    }
    for (name, expected) in &request.headers {
        let got = sent.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
        differences.note(format!("request.headers.{name}"), with_secrets(expected), or_none(got));
    }
    let body = sent.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    for (key, expected) in request.json.iter().flatten() {
        let expected = match expected {
            Value::String(text) => Value::String(with_secrets(text)),
            other => other.clone(),
        };
        differences.note(format!("request.json.{key}"), expected, or_none(json.get(key)));
    }
    let form: BTreeMap<_, _> = form_urlencoded::parse(body).collect();
    for (key, expected) in &request.form {
        differences.note(
            format!("request.form.{key}"),
            with_secrets(expected),
            or_none(form.get(key.as_str())),
        );
    }
}

/// Replaces the placeholders of a case's text by secrets: `{secret}`, `{secret.NAME}`, `{operator.NAME}`, and `{basic}`
/// by the encoded user name and password of `Basic`.
fn with_secrets(text: &str) -> String {
    let pair = BASIC.map(secret).join(":");
    let text = text.replace("{secret}", SECRET).replace("{basic}", &STANDARD.encode(pair));
    let mut filled = String::new();
    let mut rest = text.as_str();
    while let Some((before, name, after)) = next_name(rest) {
        filled.extend([before, &secret(name)]);
        rest = after;
    }
    filled + rest
}

/// The text before `{secret.NAME}` or `{operator.NAME}`, the name, and the text after it.
fn next_name(text: &str) -> Option<(&str, &str, &str)> {
    let marks = ["{secret.", "{operator."];
    let (at, mark) = marks.iter().filter_map(|mark| Some((text.find(mark)?, mark))).min()?;
    let (name, after) = text[at + mark.len()..].split_once('}')?;
    Some((&text[..at], name, after))
}

impl Case {
    /// Compares the result of a call.
    pub fn compare_result(&self, result: &CallResult, now: UnixMs) -> Vec<Difference> {
        let (mut differences, expect) = (Differences(Vec::new()), &self.expect);
        let Some((job, outcome)) = result.outcomes.first() else {
            differences.note("outcome", &expect.outcome, "nothing");
            return differences.0;
        };
        if outcome.as_str() != expect.outcome {
            differences.note("outcome", &expect.outcome, outcome.describe());
            // The rest about this device follows from that; the others stand alone.
            compare_others(self, result, &mut differences);
            return differences.0;
        }
        if let Outcome::Fresh(record) = outcome {
            let Expected { online, observed_at, values, .. } = expect;
            let expect =
                ExpectedRecord { online: *online, values: values.as_ref(), observed_at: *observed_at };
            compare_record("", &expect, record, &mut differences);
        }
        compare_others(self, result, &mut differences);
        compare_bootstrap_values(self, &result.bootstrap_values, &mut differences);
        let is_stored = matches!(outcome, Outcome::Fresh(_) | Outcome::Unchanged | Outcome::DeviceOffline);
        let stored =
            result.validators.of(*job).cloned().filter(|_| is_stored).map(|stored| ExpectedValidators {
                etag: stored.etag,
                last_modified: stored.last_modified,
                since: stored.since,
                revision: stored.revision,
            });
        let shown =
            |seen: &Option<ExpectedValidators>| or_none(seen.as_ref().map(|seen| format!("{seen:?}")));
        differences.note("seen", shown(&expect.seen), shown(&stored));
        compare_holds_and_secrets(self, &result.holds, &format!("{result:?}"), now, &mut differences);
        differences.0
    }

    /// Compares the result of a bootstrap call.
    pub fn compare_bootstrapped(&self, found: &Bootstrapped, now: UnixMs) -> Vec<Difference> {
        let mut differences = Differences(Vec::new());
        let got = found.values.as_ref().map_or_else(Outcome::as_str, |_| "learned");
        differences.note("outcome", &self.expect.outcome, got);
        compare_bootstrap_values(self, found.values.as_ref().unwrap_or(&found.corrected), &mut differences);
        compare_holds_and_secrets(self, &found.holds, &format!("{found:?}"), now, &mut differences);
        differences.0
    }

    /// Compares the list of devices.
    pub fn compare_listing(&self, listing: &Listing, now: UnixMs) -> Vec<Difference> {
        let (mut differences, expect) = (Differences(Vec::new()), &self.expect);
        let got = listing.devices.as_ref().map_or_else(Outcome::describe, |_| "listed".to_owned());
        if got.split(':').next() != Some(expect.outcome.as_str()) {
            differences.note("outcome", &expect.outcome, got);
            return differences.0;
        }
        if let (Some(expected), Ok(devices)) = (&expect.devices, &listing.devices) {
            differences.note("devices", expected.len(), devices.len());
            for (expected, got) in expected.iter().zip(devices) {
                let what = |what: &str| format!("devices.{}.{what}", expected.id);
                let names = |all: &Option<Vec<ResourceName>>| {
                    or_none(
                        all.as_ref()
                            .map(|all| all.iter().map(ResourceName::as_str).collect::<Vec<_>>().join(", ")),
                    )
                };
                differences.note(what("id"), &expected.id, &got.external_id);
                differences.note(what("name"), &expected.name, &got.name);
                differences.note(what("group"), &expected.group, &got.group);
                differences.note(what("model"), &expected.model, &got.model);
                differences.note(what("resources"), names(&expected.resources), names(&got.resources));
            }
        }
        compare_holds_and_secrets(self, &listing.holds, &format!("{listing:?}"), now, &mut differences);
        differences.0
    }
}

fn compare_bootstrap_values(case: &Case, got: &BTreeMap<String, String>, differences: &mut Differences) {
    let expected = case.expect.bootstrap.clone().unwrap_or_default();
    let names: BTreeSet<_> = expected.keys().chain(got.keys()).collect();
    for name in names {
        differences.note(format!("bootstrap.{name}"), or_none(expected.get(name)), or_none(got.get(name)));
    }
}

/// Compares the hold, and checks that the printed result contains no secret.
fn compare_holds_and_secrets(
    case: &Case,
    holds: &[(Hold, Option<DeviceId>)],
    printed: &str,
    now: UnixMs,
    differences: &mut Differences,
) {
    let expect = &case.expect;
    let mut holds: Vec<_> = holds
        .iter()
        .map(|(hold, _)| format!("{} for {} ms", hold.scope.as_str(), hold.until.since_ms(now)))
        .collect();
    holds.sort();
    let expected =
        expect.scope.zip(expect.wait).map(|(s, wait)| format!("{} for {} ms", s.as_str(), wait.as_ms()));
    differences.note("hold", or_none(expected), or_none((!holds.is_empty()).then(|| holds.join(" and "))));
    // In any form; the debug output escapes quotes as JSON does.
    let has_secret = secret_forms(SECRET).iter().any(|form| printed.contains(form.as_str()));
    differences.note("secret shown", false, has_secret);
}

/// What a record is expected to be; absent parts may be anything.
struct ExpectedRecord<'a> {
    online: Option<bool>,
    values: Option<&'a Map<String, Value>>,
    observed_at: Option<DateTime<Utc>>,
}

/// `of` is put before the names of what differs.
fn compare_record(of: &str, expect: &ExpectedRecord<'_>, record: &Record, differences: &mut Differences) {
    if let Some(online) = expect.online {
        differences.note(format!("{of}online"), online, record.online);
    }
    if let Some(at) = expect.observed_at {
        let expected = UnixMs(at.timestamp_millis());
        differences.note(format!("{of}observed_at"), expected, or_none(record.observed_at));
    }
    let Some(values) = expect.values else { return };
    for (name, expected) in values {
        differences.note(format!("{of}values.{name}"), expected, or_none(record.values.get(name)));
    }
    for (name, got) in record.values.iter().filter(|(name, _)| !values.contains_key(*name)) {
        differences.note(format!("{of}values.{name}"), "nothing", got);
    }
}

/// Compares the outcomes of all devices but the first.
fn compare_others(case: &Case, result: &CallResult, differences: &mut Differences) {
    for (id, (_, outcome)) in case.devices.iter().zip(&result.outcomes).skip(1) {
        let expect = case.expect.others.get(id);
        let expected = expect.map_or(&case.expect.outcome, |expect| &expect.outcome);
        if outcome.as_str() != expected {
            differences.note(format!("others.{id}.outcome"), expected, outcome.describe());
        } else if let (Some(expect), Outcome::Fresh(record)) = (expect, outcome) {
            let ExpectedOutcome { online, values, observed_at, .. } = expect;
            let expect =
                ExpectedRecord { online: *online, values: values.as_ref(), observed_at: *observed_at };
            compare_record(&format!("others.{id}."), &expect, record, differences);
        }
    }
    for unknown in case.expect.others.keys().filter(|id| !case.devices.iter().skip(1).any(|one| one == *id)) {
        differences.note(format!("others.{unknown}"), "a further device of the case", "no such device");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::JobId;

    #[test]
    fn every_device_of_a_batch_is_compared_whatever_the_first_came_to() {
        let case = "name = \"n\"\nresource = \"state\"\ndevices = [\"a\", \"b\", \"c\"]\nanswer = { status = 200 }\n\
                    [expect]\noutcome = \"fresh\"\n[expect.others.b]\noutcome = \"device_offline\"\n\
                    [expect.others.c]\noutcome = \"gone\"";
        let case: Case = toml::from_str(case).unwrap();
        let gone = || Outcome::Gone { reason: "not listed".to_owned() };
        let outcomes = (1..).map(JobId).zip([gone(), gone(), gone()]).collect();
        let found = case.compare_result(&CallResult { outcomes, ..CallResult::default() }, UnixMs(0));
        let what: Vec<_> = found.iter().map(|difference| difference.what.as_str()).collect();
        assert_eq!(what, ["outcome", "others.b.outcome"]);
    }
}

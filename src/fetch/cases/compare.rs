//! What a case expects, beside what was. Pure.

use super::case::{Asked, Case, Difference, Seen};
use super::fixtures::{SECRET, secret};
use crate::fetch::request::forms_of;
use crate::fetch::{Answer, Bootstrapped, Listing};
use crate::provider::BASIC;
use crate::words::{DeviceId, Hold, Outcome, Record, ResourceName, UnixMs};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Request;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What differs; nothing where nothing is expected.
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

/// What of the requests is not as asked for.
pub fn these_requests<'a>(
    expected: impl Iterator<Item = Option<&'a Asked>> + Clone,
    sent: &[Request],
) -> Vec<Difference> {
    let mut differences = Differences(Vec::new());
    differences.note("requests", expected.clone().count(), sent.len());
    for (asked, request) in expected.zip(sent) {
        if let Some(asked) = asked {
            request_of(asked, request, &mut differences);
        }
    }
    differences.0
}

fn request_of(asked: &Asked, sent: &Request, differences: &mut Differences) {
    for (what, expected, got) in [
        ("request.method", &asked.method, sent.method().as_str()),
        ("request.origin", &asked.origin, &sent.url().origin().ascii_serialization()),
        ("request.path", &asked.path, sent.url().path()),
    ] {
        if let Some(expected) = expected {
            differences.note(what, expected, got);
        }
    }
    let query: BTreeMap<_, _> = sent.url().query_pairs().collect();
    for (name, expected) in &asked.query {
        differences.note(
            format!("request.query.{name}"),
            filled(expected),
            or_none(query.get(name.as_str())),
        );
    }
    for (name, expected) in &asked.headers {
        let got = sent.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
        differences.note(format!("request.headers.{name}"), filled(expected), or_none(got));
    }
    let body = sent.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    for (key, expected) in asked.json.iter().flatten() {
        differences.note(format!("request.json.{key}"), expected, or_none(json.get(key)));
    }
    let form: BTreeMap<_, _> = form_urlencoded::parse(body).collect();
    for (key, expected) in &asked.form {
        differences.note(format!("request.form.{key}"), filled(expected), or_none(form.get(key.as_str())));
    }
}

/// A text of a case, its secrets in their places: `{secret}`, `{secret.NAME}`, `{operator.NAME}`, and `{basic}` for
/// what `Basic` makes of name and password.
fn filled(text: &str) -> String {
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
    /// What of the answer did not come to what it should.
    pub fn compare_answer(&self, answer: &Answer, now: UnixMs) -> Vec<Difference> {
        let (mut differences, expect) = (Differences(Vec::new()), &self.expect);
        let Some((job, outcome)) = answer.outcomes.first() else {
            differences.note("outcome", &expect.outcome, "nothing");
            return differences.0;
        };
        if outcome.as_str() != expect.outcome {
            differences.note("outcome", &expect.outcome, outcome.describe());
            return differences.0;
        }
        if let Outcome::Fresh(record) = outcome {
            record_of(self, record, &mut differences);
        }
        learned(self, &answer.learned, &mut differences);
        let is_kept = matches!(outcome, Outcome::Fresh(_) | Outcome::Unchanged | Outcome::DeviceOffline);
        let kept = answer.validators.of(*job).cloned().filter(|_| is_kept).map(|kept| Seen {
            etag: kept.etag,
            last_modified: kept.last_modified,
            since: kept.since,
            revision: kept.revision,
        });
        let shown = |seen: &Option<Seen>| or_none(seen.as_ref().map(|seen| format!("{seen:?}")));
        differences.note("seen", shown(&expect.seen), shown(&kept));
        told(self, &answer.holds, &format!("{answer:?}"), now, &mut differences);
        differences.0
    }

    /// What of the bootstrap values is not as it should.
    pub fn compare_bootstrapped(&self, found: &Bootstrapped, now: UnixMs) -> Vec<Difference> {
        let mut differences = Differences(Vec::new());
        let got = found.values.as_ref().map_or_else(Outcome::as_str, |_| "learned");
        differences.note("outcome", &self.expect.outcome, got);
        learned(self, found.values.as_ref().unwrap_or(&found.learned), &mut differences);
        told(self, &found.holds, &format!("{found:?}"), now, &mut differences);
        differences.0
    }

    /// What of the list of devices is not as it should.
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
        told(self, &listing.holds, &format!("{listing:?}"), now, &mut differences);
        differences.0
    }
}

fn learned(case: &Case, got: &BTreeMap<String, String>, differences: &mut Differences) {
    let expected = case.expect.bootstrap.clone().unwrap_or_default();
    let names: BTreeSet<_> = expected.keys().chain(got.keys()).collect();
    for name in names {
        differences.note(format!("bootstrap.{name}"), or_none(expected.get(name)), or_none(got.get(name)));
    }
}

/// The hold that was learned, and whether a secret is in what was told.
fn told(
    case: &Case,
    holds: &[(Hold, Option<DeviceId>)],
    told: &str,
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
    // In any of the forms that it may stand in; what is printed here escapes quotes as JSON does.
    let is_told = forms_of(SECRET).iter().any(|form| told.contains(form.as_str()));
    differences.note("secret told", false, is_told);
}

fn record_of(case: &Case, record: &Record, differences: &mut Differences) {
    let expect = &case.expect;
    if let Some(online) = expect.online {
        differences.note("online", online, record.online);
    }
    if let Some(at) = expect.observed_at {
        differences.note("observed_at", UnixMs(at.timestamp_millis()), or_none(record.observed_at));
    }
    let Some(values) = &expect.values else { return };
    for (name, expected) in values {
        differences.note(format!("values.{name}"), expected, or_none(record.values.get(name)));
    }
    for (name, got) in record.values.iter().filter(|(name, _)| !values.contains_key(*name)) {
        differences.note(format!("values.{name}"), "nothing", got);
    }
}

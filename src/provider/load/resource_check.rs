//! Contradictions in a well-formed resource.

use crate::provider::call::{Method, Resource, Unit};

/// Every contradiction.
pub(crate) fn check_resource(resource: &Resource) -> Vec<String> {
    let mut wrong = Vec::new();
    if resource.interval_default < resource.interval_min {
        wrong.push(format!(
            "interval_default {} is below interval_min {}",
            resource.interval_default, resource.interval_min
        ));
    }
    // Without the slash a value would become part of the host.
    if !resource.path.get_ref().starts_with('/') {
        wrong.push("path must begin with /".to_owned());
    }
    if resource.batch_max == Some(0) {
        wrong.push("batch_max is 0, which serves no device: set at least 1".to_owned());
    }
    if resource.unit == Unit::Batch && resource.batch_max.is_none() {
        wrong.push(
            "unit = \"batch\" without batch_max: set it to the most devices that the provider takes in one call"
                .to_owned(),
        );
    }
    if resource.unit == Unit::Device && resource.batch_max.is_some_and(|max| max != 1) {
        wrong.push(
            "unit = \"device\" serves one device per call: drop batch_max, or set unit = \"batch\""
                .to_owned(),
        );
    }
    let bodies = usize::from(resource.json.is_some()) + usize::from(!resource.form.is_empty());
    if bodies == 2 {
        wrong.push("a request has one body: leave out json or form".to_owned());
    } else if bodies == 1 && resource.method == Method::Get {
        wrong.push("json and form are bodies of a POST: set method = \"POST\"".to_owned());
    }
    if let Some(pages) = &resource.pages {
        let body = resource.json.as_ref().map(|json| json.get_ref().as_str());
        let texts = resource.query.values().chain(resource.form.values()).map(String::as_str);
        wrong.extend(pages.get_ref().check(resource.unit, &texts.chain(body).collect::<Vec<_>>()));
    }
    wrong.extend(check_validators(resource));
    wrong.extend(resource.value.iter().flat_map(|(name, value)| value.check(name)));
    let probe = resource.probe.iter().flat_map(|probe| check_resource(probe.call()));
    wrong.extend(probe.map(|message| format!("probe: {message}")));
    if resource.cost == 0 && resource.cost_per_device == 0 {
        wrong.push("a call that costs nothing cannot be paced: set cost".to_owned());
    }
    if full_cost(resource).is_none() {
        wrong.push(format!(
            "a full call would cost more than {}: lower cost, cost_per_device or batch_max",
            u32::MAX
        ));
    }
    wrong
}

/// Contradictions in asking only for what is new.
fn check_validators(resource: &Resource) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut say = |text: &str| wrong.push(text.to_owned());
    let ways = [resource.conditional, resource.since.is_some(), resource.probe.is_some()];
    if ways.into_iter().filter(|way| *way).count() > 1 {
        say("conditional, since and probe exclude each other: keep one");
    }
    if resource.conditional && (resource.method == Method::Post || resource.pages.is_some()) {
        say("conditional needs a single GET per call: leave out pages, and method = \"POST\"");
    }
    if resource.whole_every.is_some() && resource.since.is_none() {
        say("whole_every applies to since only: set since too, or leave it out");
    }
    let body = resource.json.as_ref().map(|json| json.get_ref().as_str());
    let mut texts = resource.query.values().chain(resource.form.values()).map(String::as_str).chain(body);
    let path = resource.path.get_ref();
    if resource.since.is_some() && !texts.any(|text| text.contains("since")) && !path.contains("since") {
        say("since is not used by the request: use `since` in a template");
    }
    if resource.probe.is_some() && resource.unit == Unit::Device {
        say("a probe for one device saves no call: set unit = \"batch\", \"group\" or \"connection\"");
    }
    wrong
}

/// The cost of a call for as many devices as it may serve; none on overflow.
pub(crate) fn full_cost(resource: &Resource) -> Option<u32> {
    let pages = resource.pages.as_ref().map_or(1, |pages| pages.get_ref().max);
    let probe = resource.probe.as_ref().map_or(0, |probe| probe.cost());
    let per_call = resource.cost.checked_mul(pages)?.checked_add(probe)?;
    resource.cost_per_device.checked_mul(resource.places())?.checked_add(per_call)
}

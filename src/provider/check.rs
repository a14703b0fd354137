//! What a well-formed definition may still say wrong.

use super::{Definition, Quota, Resource, Unit};
use std::collections::HashSet;
use std::ops::Range;

/// Every contradiction, with where it stands in the file.
pub(super) fn check(definition: &Definition) -> Vec<(Range<usize>, String)> {
    let mut wrong = Vec::new();
    let mut names = HashSet::new();
    for quota in &definition.quotas {
        let said = quota.get_ref();
        if !names.insert(&said.name) {
            wrong.push((
                quota.span(),
                format!("quota {:?} is declared twice: give each a name of its own", said.name),
            ));
        }
        wrong.extend(check_quota(said, definition).into_iter().map(|message| (quota.span(), message)));
    }
    if definition.http.in_flight == 0 {
        wrong.push((definition.http.base_url.span(), "http.in_flight 0 would never allow a call".to_owned()));
    }
    if definition.resources.is_empty() {
        wrong.push((0..0, "no [resource.<name>] is declared: there would be nothing to fetch".to_owned()));
    }
    for (name, resource) in &definition.resources {
        let found = check_resource(resource.get_ref());
        wrong.extend(
            found.into_iter().map(|m| (resource.span(), format!("resource {}: {m}", name.get_ref()))),
        );
    }
    for rule in &definition.rules {
        if rule.get_ref().status.is_none() && rule.get_ref().body.is_none() {
            wrong.push((rule.span(), "a rule needs a status or a body to match on".to_owned()));
        }
    }
    wrong
}

fn check_quota(quota: &Quota, definition: &Definition) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut say = |message: String| wrong.push(format!("quota {:?}: {message}", quota.name));
    // The name becomes a hash field next to `@<group>` and `!hold`.
    if quota.name.is_empty()
        || !quota.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    {
        say("its name may hold letters, digits, '-' and '_'".to_owned());
    }
    if quota.amount == 0 {
        say("an amount of 0 would never allow a call".to_owned());
    }
    if quota.burst == 0 || quota.burst > quota.amount.max(1) {
        say(format!("burst {} must be from 1 to its amount, {}", quota.burst, quota.amount));
    }
    if let Some(share) = quota.headroom.filter(|share| !(0.0..=0.5).contains(share)) {
        say(format!("headroom {share} must be a share from 0 to 0.5"));
    }
    for name in quota.resources.iter().flatten() {
        if !definition.resources.keys().any(|known| known.get_ref() == name) {
            say(format!("it counts resource `{name}`, which is not declared"));
        }
    }
    for (name, resource) in &definition.resources {
        let cost = full_cost(resource.get_ref()).unwrap_or(0);
        if quota.counts(name.get_ref()) && cost > quota.burst {
            say(format!(
                "a full call for resource `{}` costs {cost}, more than its burst of {}: \
                 raise burst to {cost} or lower batch_max",
                name.get_ref(),
                quota.burst
            ));
        }
    }
    wrong
}

fn check_resource(resource: &Resource) -> Vec<String> {
    let mut wrong = Vec::new();
    if resource.interval_default < resource.interval_min {
        wrong.push(format!(
            "interval_default {} is below interval_min {}",
            resource.interval_default, resource.interval_min
        ));
    }
    if resource.batch_max == 0 {
        wrong.push("batch_max 0 would serve nobody".to_owned());
    }
    if resource.unit == Unit::Device && resource.batch_max != 1 {
        wrong.push(
            "unit = \"device\" serves one device a call: drop batch_max, or say unit = \"batch\"".to_owned(),
        );
    }
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

/// What a call for as many devices as it may serve costs; none if that cannot be counted.
fn full_cost(resource: &Resource) -> Option<u32> {
    resource.cost_per_device.checked_mul(resource.batch_max)?.checked_add(resource.cost)
}

#[cfg(test)]
mod tests {
    use crate::provider::load::parse;

    const GOOD: &str = r#"title = "Good"
[http]
base_url = "https://api.example.com"
in_flight = 1
[resource.state]
unit = "batch"
batch_max = 2
interval_min = "10s"
interval_default = "1m"
cost = 1
cost_per_device = 2147483647
path = "/devices"
records = "."
"#;

    #[test]
    fn what_would_never_call_or_cannot_be_counted_is_refused() {
        assert!(parse("good.toml", GOOD).is_ok());
        for (from, to, says) in [
            ("in_flight = 1", "in_flight = 0", "http.in_flight"),
            ("cost = 1\n", "cost = 2\n", "cost_per_device"),
            ("batch_max = 2", "batch_max = 3", "cost_per_device"),
        ] {
            let errors = parse("c.toml", &GOOD.replace(from, to)).expect_err(to);
            assert!(errors.len() == 1 && errors[0].message.contains(says), "{to}: {}", errors[0]);
        }
    }
}

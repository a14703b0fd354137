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
        let cost = resource.get_ref().cost_of(resource.get_ref().batch_max);
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
    wrong
}

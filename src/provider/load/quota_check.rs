//! Contradictions in a well-formed quota.

use super::resource_check::full_cost;
use crate::provider::auth::TOKEN;
use crate::provider::call::BOOTSTRAP;
use crate::provider::definition::Definition;
use crate::provider::quota::{Amount, Limit, PLAN, Quota, QuotaKind, Window, Zone};
use crate::words::Scope;
use std::collections::BTreeSet;

/// Every contradiction.
pub(crate) fn check_quota(quota: &Quota, definition: &Definition) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut say = |message: String| wrong.push(format!("quota {:?}: {message}", quota.name));
    // The name becomes a hash field next to `@<group>` and `!hold`.
    if quota.name.is_empty()
        || !quota.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    {
        say("its name may contain letters, digits, '-' and '_'".to_owned());
    }
    if quota.least() == 0 {
        say("an amount of 0 allows no call: set at least 1".to_owned());
    }
    check_kind(quota, &mut say);
    check_quota_inputs(quota, definition, &mut say);
    if quota.burst.is_some_and(|burst| burst == 0 || burst > quota.least().max(1)) {
        say(format!("burst {} must be from 1 to its amount, {}", quota.burst(), quota.least()));
    }
    if let Some(share) = quota.headroom.filter(|share| !(0.0..=0.5).contains(share)) {
        say(format!("headroom {share} must be a share from 0 to 0.5"));
    }
    if !(0.0..=0.9).contains(&quota.reserve) {
        say(format!(
            "reserve {} must be a share from 0 to 0.9: background syncs need the rest",
            quota.reserve
        ));
    }
    for name in quota.resources.iter().flatten() {
        if *name == *BOOTSTRAP {
            let text = "bootstrap values are requested in place of another call: leave bootstrap out";
            say(text.to_owned());
        } else if *name == *TOKEN {
            wrong_tokens(definition, quota.scope).into_iter().for_each(&mut say);
        } else if !definition.calls().any(|(known, _)| known == name) {
            say(format!("it counts resource `{name}`, which is not declared"));
        }
    }
    for (name, resource) in definition.calls() {
        let cost = full_cost(resource.get_ref()).unwrap_or(0);
        if !quota.counts(name) {
            continue;
        }
        // A call that fails at its third page was counted for the first two: its grant must not be given back.
        let of = resource.get_ref();
        if !quota.errors_cost && (of.pages.is_some() || of.probe.is_some()) {
            say(format!(
                "errors_cost = false is not possible with the pages or the probe of resource `{name}`: leave it out"
            ));
        }
        if let (QuotaKind::Aligned, Some(Window::Calendar(part))) = (quota.kind, quota.window) {
            let closed_ms = 2.0 * (quota.margin_ms() + resource.get_ref().pages_ms() as f64);
            if closed_ms >= part.least_ms() {
                say(format!(
                    "the margins for headroom and for the pages of resource `{1}` take up the whole {0}: \
                     lower headroom or pages.within",
                    part.as_str(),
                    name
                ));
            }
        }
        let (most, key) = match quota.limits() {
            (Limit::Sliding { burst, .. }, _) => (burst, "burst"),
            (Limit::Aligned { amount, .. }, None) => (amount, "amount"),
            (_, Some(Limit::Aligned { amount, .. })) => (amount, "amount beside its reserve"),
            _ => continue,
        };
        if cost > most {
            say(format!(
                "a full call for resource `{}` costs {cost}, more than its {key} of {most}: \
                 raise it to {cost} or lower batch_max or pages.max",
                name,
            ));
        }
    }
    wrong
}

/// Keys that the kind needs, and keys that do not apply to it.
fn check_kind(quota: &Quota, say: &mut impl FnMut(String)) {
    let kind = quota.kind;
    match (kind, quota.window) {
        (QuotaKind::Aligned, Some(Window::Length(length))) => say(format!(
            "window {length} is not a calendar unit: write minute, hour, day or month, or drop kind = \"aligned\""
        )),
        (QuotaKind::Aligned, None) => say("aligned needs a window: minute, hour, day or month".to_owned()),
        (QuotaKind::Sliding | QuotaKind::Errors | QuotaKind::Adaptive, None) => {
            say("it needs a window, such as 10s or 1h".to_owned());
        }
        (QuotaKind::Sliding | QuotaKind::Errors | QuotaKind::Adaptive, Some(Window::Calendar(part))) => {
            say(format!(
                "window \"{}\" is a calendar unit: write a length such as 1h, or kind = \"aligned\"",
                part.as_str()
            ))
        }
        (QuotaKind::Concurrent, Some(_)) => say("calls in flight have no window: leave it out".to_owned()),
        _ => {}
    }
    let (sliding, aligned) = (kind == QuotaKind::Sliding, kind == QuotaKind::Aligned);
    let adaptive = kind == QuotaKind::Adaptive;
    for (given, means, key) in [
        (quota.burst.is_some(), sliding || aligned, "burst"),
        (quota.headroom.is_some(), sliding || aligned, "headroom"),
        (quota.forgives_ms.is_some(), sliding || aligned, "forgives_ms"),
        (quota.zone != Zone::default(), aligned, "zone"),
        (quota.reserve != 0.0, kind != QuotaKind::Errors, "reserve"),
        (!quota.errors_cost, sliding || aligned || adaptive, "errors_cost"),
        (quota.start.is_some(), adaptive, "start"),
        (quota.floor.is_some(), adaptive, "floor"),
    ] {
        if given && !means {
            say(format!("{key} does not apply to this kind of quota: leave it out"));
        }
    }
    if adaptive && !(1..=quota.least().max(1)).contains(&quota.floor()) {
        say(format!("floor {} must be from 1 to its amount, {}", quota.floor(), quota.least()));
    } else if adaptive && !(quota.floor()..=quota.least().max(1)).contains(&quota.start()) {
        say(format!(
            "start {} must be from its floor, {}, to its amount, {}",
            quota.start(),
            quota.floor(),
            quota.least()
        ));
    }
    let kept = f64::from(quota.least()) * (1.0 - quota.reserve);
    if matches!(kind, QuotaKind::Aligned | QuotaKind::Concurrent) && quota.reserve > 0.0 && kept < 1.0 {
        say(format!("a reserve of {} leaves background syncs nothing of {}", quota.reserve, quota.least()));
    }
}

/// Amounts that depend on quota inputs.
fn check_quota_inputs(quota: &Quota, definition: &Definition, say: &mut impl FnMut(String)) {
    if quota.per_devices.is_some() && quota.amount_per_device.is_none() {
        say("per_devices is the number of devices per amount_per_device: set amount_per_device too"
            .to_owned());
    }
    if quota.per_devices == Some(0) {
        say("per_devices must be at least 1".to_owned());
    }
    if !quota.varies() {
        return;
    }
    if matches!(quota.kind, QuotaKind::Errors | QuotaKind::Adaptive) {
        say("an amount by plan or by device does not apply to this kind of quota: write one number"
            .to_owned());
    }
    if quota.amount_per_device.is_some() && quota.kind == QuotaKind::Concurrent {
        say("amount_per_device does not apply to calls in flight: leave it out".to_owned());
    }
    if quota.amount_per_device.is_some() && quota.scope != Scope::Connection {
        say("amount_per_device counts the devices of a connection: it needs scope = \"connection\""
            .to_owned());
    }
    let Amount::ByPlan(plans) = &quota.amount else { return };
    if quota.scope == Scope::App {
        say("plans belong to connections, but this quota counts the app: write one number".to_owned());
    }
    if plans.is_empty() {
        say("no plan has an amount: write one number, or an amount for each plan".to_owned());
    }
    let is_name = |plan: &str| {
        !plan.is_empty() && plan.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if let Some(plan) = plans.keys().find(|plan| !is_name(plan)) {
        say(format!("plan {plan:?}: a plan's name may contain letters, digits, '-' and '_'"));
    }
    let others = definition.quotas.iter().map(|other| other.get_ref());
    let all: BTreeSet<&str> = others.flat_map(|other| other.amount.plans()).map(|(plan, _)| plan).collect();
    if let Some(plan) = all.iter().find(|plan| !plans.contains_key(**plan)) {
        say(format!("it has no amount for plan {plan}, which another quota names: add one"));
    }
    let Some(param) = definition.params.get(PLAN) else {
        return say("amounts by plan need a [param.plan], which names a connection's plan".to_owned());
    };
    if let Some(default) = param.get_ref().default.as_ref().filter(|plan| !plans.contains_key(*plan)) {
        say(format!("the default of [param.plan], {default:?}, is not one of its plans"));
    }
}

/// Why a quota cannot count token requests.
fn wrong_tokens(definition: &Definition, scope: Scope) -> Option<String> {
    if !definition.auth.get_ref().has_tokens() {
        return Some("it counts token requests, but auth has neither login nor oauth2".to_owned());
    }
    let fits = matches!(scope, Scope::App | Scope::Connection);
    (!fits).then(|| {
        "token requests are made per connection, not per group or device: set scope = \"app\" or \
                     \"connection\""
            .to_owned()
    })
}

//! Variables that templates use.

use super::Place;
use crate::provider::{Definition, Unit};

/// Why a template cannot use a variable, such as `device.external_id`.
pub(super) fn wrong_variable(definition: &Definition, place: Place<'_>, variable: &str) -> Option<String> {
    let (name, attribute) = match variable.split_once('.') {
        Some((name, rest)) => (name, rest.split('.').next()),
        None => (variable, None),
    };
    let has = |known: &[&str]| attribute.is_none_or(|attribute| known.contains(&attribute));
    let of_call = place.resource();
    match name {
        "params" if definition.params.is_empty() => None,
        "params" => {
            let unknown = attribute.filter(|attribute| !definition.params.contains_key(*attribute))?;
            Some(format!("there is no param {unknown}: declare [param.{unknown}], or correct the name"))
        }
        "bootstrap" => {
            let is_learned = definition.rules.iter().any(|rule| !rule.get_ref().learn.is_empty());
            let is_declared = definition.bootstrap.is_some() || is_learned;
            (!is_declared).then(|| "there are no bootstrap values: declare [bootstrap]".to_owned())
        }
        _ if matches!(place, Place::BaseUrl | Place::IdScope) => {
            Some(format!("there is no {name} here: this template sees params and bootstrap"))
        }
        "request" if has(&["uuid", "epoch_ms"]) => None,
        "request" => Some(format!("there is no {variable}: use request.uuid or request.epoch_ms")),
        "device" | "devices" if of_call.is_none() => {
            Some(format!("there is no {name}: this request is for the whole account"))
        }
        "devices" => None,
        "device" => wrong_device(of_call.map_or(Unit::Device, |resource| resource.unit), attribute),
        "page" => {
            let is_paged = match place {
                Place::Resource(_, resource) => resource.pages.is_some(),
                Place::Discovery => {
                    definition.discovery.iter().any(|discovery| discovery.call().get_ref().pages.is_some())
                }
                Place::BaseUrl | Place::IdScope | Place::Probe(..) | Place::Bootstrap => false,
            };
            (!is_paged).then(|| "there is no page: declare `pages`".to_owned())
        }
        "since" => {
            let is_known = of_call.is_some_and(|resource| resource.since.is_some());
            (!is_known).then(|| "there is no change token: declare `since`, jq that reads it".to_owned())
        }
        "secrets" | "operator" | "token" => Some(format!(
            "there is no {name} here: credentials travel as [auth] says; for one more, declare [[auth.key]]"
        )),
        _ => Some(format!(
            "there is no {name}: templates see params, bootstrap, device, devices, page, since and request"
        )),
    }
}

/// Why a request for such a unit cannot use `device`, or its attribute.
fn wrong_device(unit: Unit, attribute: Option<&str>) -> Option<String> {
    let first = |unit: &str, instead: &str| {
        format!(
            "with unit = \"{unit}\" device is only the first device of a call, and no other is asked for: {instead}"
        )
    };
    match (unit, attribute) {
        (Unit::Batch, _) => Some(first(
            "batch",
            "name all of them, such as {{ devices | map(attribute='external_id') | join(',') }}",
        )),
        (Unit::Group, Some("external_id")) => {
            Some(first("group", "use device.group, or set unit = \"device\""))
        }
        (Unit::Connection, Some("external_id" | "group")) => {
            Some(first("connection", "leave it out, or set unit = \"device\" or \"group\""))
        }
        (_, Some("external_id" | "group") | None) => None,
        (_, Some(other)) => {
            Some(format!("there is no device.{other}: use device.external_id or device.group"))
        }
    }
}

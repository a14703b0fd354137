//! `fields=`: the parts of a device that a client asks for.

use crate::http::error::ApiError;
use crate::words::text::excerpt;
use serde_json::{Map, Value};

/// What a device has at its top, in the order shown.
const KNOWN: [&str; 9] =
    ["id", "name", "external_id", "provider", "connection", "group", "model", "missing_since", "resources"];
const PATHS_MAX: usize = 50;

/// Paths into a device: `name`, `resources.state.values`, `resources.*.age_ms`.
#[derive(Debug)]
pub(super) struct Fields(Vec<Vec<String>>);

impl Fields {
    /// Reads a list of paths, separated by commas.
    pub(super) fn parse(text: &str) -> Result<Self, ApiError> {
        let path = |path: &str| path.split('.').map(str::to_owned).collect::<Vec<_>>();
        let paths: Vec<_> = text.split(',').map(path).collect();
        if paths.len() > PATHS_MAX {
            return Err(ApiError::BadQuery(format!(
                "fields names {} paths: at most {PATHS_MAX}",
                paths.len()
            )));
        }
        let unknown = paths.iter().filter_map(|path| path.first()).find(|top| !KNOWN.contains(&top.as_str()));
        if let Some(unknown) = unknown {
            return Err(ApiError::BadQuery(format!(
                "fields names {:?}, which a device does not have; it has {}, and parts of it such as \
                 resources.*.values",
                excerpt(unknown),
                KNOWN.join(", ")
            )));
        }
        Ok(Self(paths))
    }

    /// Only these parts of a device.
    pub(super) fn of(&self, device: &Value) -> Value {
        let paths: Vec<&[String]> = self.0.iter().map(Vec::as_slice).collect();
        select(device, &paths)
    }
}

/// The parts at these paths. A path that ends here asks for all; what is no object has no parts.
fn select(value: &Value, paths: &[&[String]]) -> Value {
    let Value::Object(object) = value else { return value.clone() };
    if paths.iter().any(|path| path.is_empty()) {
        return value.clone();
    }
    let mut selected = Map::new();
    for (key, part) in object {
        let below: Vec<&[String]> = paths
            .iter()
            .filter_map(|path| path.split_first())
            .filter(|(first, _)| *first == key || *first == "*")
            .map(|(_, rest)| rest)
            .collect();
        if !below.is_empty() {
            selected.insert(key.clone(), select(part, &below));
        }
    }
    Value::Object(selected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_select_parts() {
        let device = json!({
            "id": 7, "name": "Hall",
            "resources": {
                "state": {"values": {"on": true, "power_w": 3}, "age_ms": 5, "online": null},
                "energy": {"values": null, "age_ms": null, "online": true},
            },
        });
        for (fields, selected) in [
            ("id", json!({"id": 7})),
            ("name,id", json!({"id": 7, "name": "Hall"})),
            ("resources.state.values.on", json!({"resources": {"state": {"values": {"on": true}}}})),
            (
                "id,resources.*.age_ms,resources.energy.values",
                json!({"id": 7, "resources": {"state": {"age_ms": 5}, "energy": {"values": null, "age_ms": null}}}),
            ),
            ("resources.heat", json!({"resources": {}})),
            (
                "resources.state,resources.state.age_ms",
                json!({"resources": {"state": device["resources"]["state"]}}),
            ),
            ("id.x", json!({"id": 7})),
        ] {
            assert_eq!(Fields::parse(fields).unwrap().of(&device), selected, "{fields}");
        }
        for bad in ["", "id,", "color", "Id", ".id"] {
            assert!(Fields::parse(bad).is_err(), "{bad}");
        }
        assert!(Fields::parse(&vec!["id"; 51].join(",")).is_err());
    }
}

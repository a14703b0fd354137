//! Turns what a program yields as `values` into values of readings: named and converted as declared, checked by the
//! vocabulary. What does not pass is left out and reported. Pure.

use crate::provider::Resource;
use crate::provider::value::{Constant, Conversion, DeclaredValue, Kind, find, quantity_of_suffix};
use serde_json::{Map, Number, Value};
use std::collections::BTreeMap;

/// A longer text is no value: it is a picture, a certificate or the like.
const TEXT_CHARS_MAX: usize = 1_000;
/// Digits after the point that a conversion keeps.
const CONVERTED_DIGITS: f64 = 1e6;

/// A value as the program yields it: a scalar that is not null, and its unit if the response tells it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RawValue {
    pub(crate) value: Value,
    pub(crate) unit: Option<String>,
}

/// What a resource's definition declares about its values.
pub(crate) struct ValueTable {
    declared: BTreeMap<String, DeclaredValue>,
}

impl ValueTable {
    pub(crate) fn of(resource: &Resource) -> Self {
        Self { declared: resource.value.clone() }
    }

    /// The values of a reading. `rejected` gets a sentence for each that was left out.
    pub(crate) fn apply(
        &self,
        mut raw: BTreeMap<String, RawValue>,
        rejected: &mut Vec<String>,
    ) -> Map<String, Value> {
        let mut values = Map::new();
        let mut add = |name: String, raw: RawValue, declared: Option<&DeclaredValue>| match converted(
            &name, &raw, declared,
        ) {
            Ok(Some(value)) => drop(values.insert(name, value)),
            Ok(None) => {}
            Err(why) => rejected.push(format!("{name} is {}, {why}", excerpt(&raw.value))),
        };
        // Names may swap: all are taken out before any is put in.
        let mut taken = Vec::new();
        for (name, declared) in &self.declared {
            let sources = declared.from.as_ref().map_or(std::slice::from_ref(name), |from| from.all());
            let found = sources.iter().find_map(|source| raw.get(source)).cloned();
            taken.extend(found.map(|found| (name, found, declared)));
        }
        for declared in self.declared.values() {
            declared.from.iter().flat_map(|from| from.all()).for_each(|source| drop(raw.remove(source)));
        }
        for (name, found, declared) in taken {
            raw.remove(name);
            add(name.clone(), found, Some(declared));
        }
        for (name, found) in raw {
            add(name, found, None);
        }
        values
    }
}

/// The value in the unit of readings; none if it means nothing; an error completes the sentence "… is 7, …".
fn converted(name: &str, raw: &RawValue, declared: Option<&DeclaredValue>) -> Result<Option<Value>, String> {
    if declared.is_some_and(|declared| declared.nothing.iter().any(|nothing| is_same(nothing, &raw.value))) {
        return Ok(None);
    }
    let unit = raw.unit.as_deref().or(declared.and_then(|declared| declared.unit.as_deref()));
    let value = match find(name).map(|term| term.kind) {
        Some(Kind::Number(quantity, min, max)) => {
            let conversion = match unit {
                Some(unit) => Some(quantity.conversion(unit).ok_or_else(|| {
                    format!("and its unit {unit:?} cannot be converted to {}", quantity.symbol())
                })?),
                None => None,
            };
            number(&raw.value, scale(declared), conversion, (min, max))?
        }
        Some(Kind::Bool) => Value::Bool(truth(&raw.value).ok_or("which is neither true nor false")?),
        Some(Kind::Text) => match &raw.value {
            Value::String(text) => bounded(text)?,
            Value::Number(number) => Value::String(number.to_string()),
            _ => return Err("which is not text".to_owned()),
        },
        None => own(name, raw, declared, unit)?,
    };
    Ok(Some(value))
}

/// A value whose name is the provider's own.
fn own(
    name: &str,
    raw: &RawValue,
    declared: Option<&DeclaredValue>,
    unit: Option<&str>,
) -> Result<Value, String> {
    let range = |declared: &DeclaredValue| declared.min.is_some() || declared.max.is_some();
    let must_be_number = declared.is_some_and(|declared| declared.scale.is_some() || range(declared));
    let conversion = quantity_of_suffix(name).and_then(|quantity| quantity.conversion(unit?));
    let is_number = raw.value.is_number() || must_be_number || conversion.is_some();
    match &raw.value {
        value if is_number => {
            let ends = declared.map(|declared| (declared.min, declared.max)).unwrap_or_default();
            let ends = (ends.0.unwrap_or(f64::MIN), ends.1.unwrap_or(f64::MAX));
            number(value, scale(declared), conversion, ends)
        }
        // A name that ends like a number's may be a coincidence, so that other texts stay.
        Value::String(text) if quantity_of_suffix(name).is_some() && parsed(text).is_some() => {
            number(&raw.value, None, None, (f64::MIN, f64::MAX))
        }
        Value::String(text) => bounded(text),
        other => Ok(other.clone()),
    }
}

fn scale(declared: Option<&DeclaredValue>) -> Option<f64> {
    declared.and_then(|declared| declared.scale)
}

fn number(
    raw: &Value,
    scale: Option<f64>,
    conversion: Option<Conversion>,
    (min, max): (f64, f64),
) -> Result<Value, String> {
    let exact = match raw {
        Value::Number(number) => number.clone(),
        Value::String(text) => parsed(text).ok_or("which is not a number")?,
        _ => return Err("which is not a number".to_owned()),
    };
    let known = exact.as_f64().ok_or("which is not a number")?;
    let conversion = conversion.filter(|conversion| *conversion != Conversion { factor: 1.0, offset: 0.0 });
    let found = match (scale, conversion) {
        (None, None) => known,
        (scale, conversion) => {
            let scaled = known * scale.unwrap_or(1.0);
            let converted = conversion.map_or(scaled, |conversion| conversion.apply(scaled));
            (converted * CONVERTED_DIGITS).round() / CONVERTED_DIGITS
        }
    };
    if !(min..=max).contains(&found) {
        return Err("which is not plausible".to_owned());
    }
    if found == known {
        return Ok(Value::Number(exact));
    }
    Number::from_f64(found).map(Value::Number).ok_or_else(|| "which is not a number".to_owned())
}

/// The finite number in a text.
fn parsed(text: &str) -> Option<Number> {
    serde_json::from_str(text.trim()).ok()
}

fn bounded(text: &str) -> Result<Value, String> {
    match text.chars().nth(TEXT_CHARS_MAX) {
        None => Ok(Value::String(text.to_owned())),
        Some(_) => Err(format!("which is longer than {TEXT_CHARS_MAX} characters")),
    }
}

fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::Number(number) => match number.as_f64()? {
            0.0 => Some(false),
            1.0 => Some(true),
            _ => None,
        },
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "on" | "open" | "opened" | "true" | "yes" | "detected" | "active" | "1" => Some(true),
            "off" | "closed" | "close" | "false" | "no" | "clear" | "inactive" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn is_same(constant: &Constant, value: &Value) -> bool {
    match (constant, value) {
        (Constant::Bool(constant), Value::Bool(value)) => constant == value,
        (Constant::Number(constant), Value::Number(value)) => value.as_f64() == Some(*constant),
        (Constant::Text(constant), Value::String(value)) => constant == value.trim(),
        _ => false,
    }
}

fn excerpt(value: &Value) -> String {
    value.to_string().chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn applied(declared: &str, raw: Value) -> (Value, Vec<String>) {
        let declared = toml::from_str(declared).unwrap();
        let Value::Object(raw) = raw else { panic!("{raw}") };
        let raw = raw.into_iter().map(|(name, value)| {
            let (value, unit) = match value {
                Value::Object(mut entries) => {
                    (entries.remove("value").unwrap(), entries["unit"].as_str().map(str::to_owned))
                }
                value => (value, None),
            };
            (name, RawValue { value, unit })
        });
        let mut rejected = Vec::new();
        let values = ValueTable { declared }.apply(raw.collect(), &mut rejected);
        (Value::Object(values), rejected)
    }

    #[test]
    fn values_are_named_scaled_and_converted_as_declared() {
        let declared = r#"
            [temperature_c]
            from = ["va_temperature", "temp_current"]
            scale = 0.1
            [outdoor_temperature_c]
            unit = "F"
            nothing = [-5002]
            [gas]
            scale = 0.001
        "#;
        let (values, rejected) = applied(
            declared,
            json!({"temp_current": 231, "outdoor_temperature_c": 68, "gas": 1500, "own": "x", "humidity_pct": "41.5"}),
        );
        let expected = json!({"temperature_c": 23.1, "outdoor_temperature_c": 20.0, "gas": 1.5, "own": "x",
            "humidity_pct": 41.5});
        assert_eq!((values, rejected), (expected, Vec::new()));
        let (values, rejected) = applied(declared, json!({"outdoor_temperature_c": -5002, "on": "ON"}));
        assert_eq!((values, rejected), (json!({"on": true}), Vec::new()));
    }

    #[test]
    fn unit_that_the_response_tells_is_converted() {
        let raw = json!({"temperature_c": {"value": 67, "unit": "F"},
            "cooler_temperature_c": {"value": 41, "unit": "F"},
            "energy_wh": {"value": 1.25, "unit": "kWh"}, "pressure_hpa": {"value": 101.3, "unit": "kPa"}});
        let (values, rejected) = applied("", raw);
        let expected = json!({"temperature_c": 19.444444, "cooler_temperature_c": 5.0, "energy_wh": 1250.0,
            "pressure_hpa": 1013.0});
        assert_eq!((values, rejected), (expected, Vec::new()));
        let (values, rejected) = applied("", json!({"temperature_c": {"value": 1, "unit": "kWh"}}));
        assert_eq!(values, json!({}));
        assert!(rejected[0].contains("cannot be converted to °C"), "{rejected:?}");
    }

    #[test]
    fn values_that_cannot_be_right_are_left_out_and_named() {
        for (name, value, why) in [
            ("temperature_c", json!("NaN"), "not a number"),
            ("temperature_c", json!("(undefined)"), "not a number"),
            ("temperature_c", json!(-127), "not plausible"),
            ("humidity_pct", json!(101), "not plausible"),
            ("humidity_pct", json!(true), "not a number"),
            ("on", json!("maybe"), "neither true nor false"),
            ("on", json!(2), "neither true nor false"),
            ("mode", json!(true), "not text"),
            ("picture", json!("x".repeat(2_000)), "longer than"),
        ] {
            let (values, rejected) = applied("", json!({name: value}));
            assert_eq!(values, json!({}), "{name}");
            assert!(rejected.len() == 1 && rejected[0].contains(why), "{rejected:?}");
        }
        let (values, _) =
            applied("", json!({"option_a": "left", "big": 18446744073709551615_u64, "energy_wh": 7}));
        assert_eq!(values, json!({"option_a": "left", "big": 18446744073709551615_u64, "energy_wh": 7}));
    }
}

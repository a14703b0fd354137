//! What a definition declares about a value of its readings.

use super::{Kind, find, quantity_of_suffix};
use schemars::JsonSchema;
use serde::Deserialize;

/// How a value is read and described.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclaredValue {
    /// The name, or names, in `values` that it is taken from: the first that is there. Its own name when absent.
    #[serde(default)]
    pub from: Option<Names>,
    /// The unit of what the response says; converted if the vocabulary has another. For a value that is not in the
    /// vocabulary, the unit of readings.
    #[serde(default)]
    pub unit: Option<String>,
    /// The number is multiplied by this, before its unit is converted.
    #[serde(default)]
    pub scale: Option<f64>,
    /// What the provider says instead of a value: such a value is left out.
    #[serde(default)]
    pub nothing: Vec<Constant>,
    /// What people see; the vocabulary's label when absent.
    #[serde(default)]
    pub label: Option<String>,
    /// The smallest plausible number, in the unit of readings; only for a value that is not in the vocabulary.
    #[serde(default)]
    pub min: Option<f64>,
    /// The largest plausible number, likewise.
    #[serde(default)]
    pub max: Option<f64>,
}

/// One name or several.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Names {
    /// One.
    One(String),
    /// Several, in order.
    Several(Vec<String>),
}

impl Names {
    /// The names, in order.
    pub fn all(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }
}

/// A constant that means "no value".
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Constant {
    /// A truth value.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
}

impl DeclaredValue {
    /// Its contradictions.
    pub(crate) fn check(&self, name: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        let term = find(name).map(|term| term.kind);
        let quantity = match term {
            Some(Kind::Number(quantity, ..)) => Some(quantity),
            Some(Kind::Bool | Kind::Text) => None,
            None => quantity_of_suffix(name),
        };
        if let (Some(unit), Some(quantity)) = (&self.unit, quantity)
            && quantity.conversion(unit).is_none()
        {
            wrong.push(format!(
                "value.{name}: the unit {unit:?} cannot be converted to {}",
                quantity.symbol()
            ));
        }
        let is_number =
            self.unit.is_some() || self.scale.is_some() || self.min.is_some() || self.max.is_some();
        if matches!(term, Some(Kind::Bool | Kind::Text)) && is_number {
            wrong.push(format!("value.{name} is no number: leave out unit, scale, min and max"));
        }
        if term.is_some() && (self.min.is_some() || self.max.is_some()) {
            wrong.push(format!("value.{name}: the vocabulary has its range: leave out min and max"));
        }
        if self.scale.is_some_and(|scale| !scale.is_finite() || scale == 0.0) {
            wrong.push(format!("value.{name}: scale must be a number other than 0"));
        }
        if self.min.zip(self.max).is_some_and(|(min, max)| min > max) {
            wrong.push(format!("value.{name}: min is above max"));
        }
        if self.from.as_ref().is_some_and(|from| from.all().iter().all(String::is_empty)) {
            wrong.push(format!("value.{name}: from names nothing"));
        }
        wrong
    }
}

//! How much a quota allows: the same for every connection, or by the connection's plan.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// The connection param that names its plan, where amounts depend on it.
pub const PLAN: &str = "plan";

/// An amount as declared: `100`, or `{ free = 100, paid = 20000 }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Amount {
    /// The same for every connection.
    Same(u32),
    /// By plan name.
    ByPlan(BTreeMap<String, u32>),
}

impl Amount {
    /// The amount on a plan; on a plan that is not named, the smallest amount.
    pub fn on(&self, plan: &str) -> u32 {
        match self {
            Self::Same(amount) => *amount,
            Self::ByPlan(all) => all.get(plan).copied().unwrap_or_else(|| self.least()),
        }
    }

    /// The amount on the smallest plan.
    pub fn least(&self) -> u32 {
        match self {
            Self::Same(amount) => *amount,
            Self::ByPlan(all) => all.values().copied().min().unwrap_or(0),
        }
    }

    /// The named plans with their amounts; empty if the amount is the same for every connection.
    pub fn plans(&self) -> impl Iterator<Item = (&str, u32)> {
        let all = match self {
            Self::Same(_) => None,
            Self::ByPlan(all) => Some(all),
        };
        all.into_iter().flatten().map(|(plan, amount)| (plan.as_str(), *amount))
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AmountVisitor)
    }
}

struct AmountVisitor;

impl<'de> Visitor<'de> for AmountVisitor {
    type Value = Amount;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number, or one per plan such as { free = 100, paid = 20000 }")
    }

    fn visit_i64<E: Error>(self, amount: i64) -> Result<Amount, E> {
        let whole = u32::try_from(amount);
        whole.map(Amount::Same).map_err(|_| E::custom(format!("{amount} is not from 0 to {}", u32::MAX)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Amount, A::Error> {
        let mut all = BTreeMap::new();
        while let Some((plan, amount)) = map.next_entry()? {
            all.insert(plan, amount);
        }
        Ok(Amount::ByPlan(all))
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The same amount for every connection, or one per plan (the connection's param plan).",
            "anyOf": [
                { "type": "integer", "format": "uint32", "minimum": 1, "maximum": 4294967295_u32 },
                {
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": {
                        "type": "integer", "format": "uint32", "minimum": 1, "maximum": 4294967295_u32
                    }
                }
            ]
        })
    }
}

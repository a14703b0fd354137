//! How much a quota allows: so much for everybody, or by the plan that an account is on.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// The param by which a connection says which plan it is on, where amounts depend on it.
pub const PLAN: &str = "plan";

/// An amount as declared: `100`, or `{ free = 100, paid = 20000 }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Amount {
    /// For everybody.
    Same(u32),
    /// By the plan's name.
    ByPlan(BTreeMap<String, u32>),
}

impl Amount {
    /// On this plan; on one that is not named, the least.
    pub fn on(&self, plan: &str) -> u32 {
        match self {
            Self::Same(amount) => *amount,
            Self::ByPlan(all) => all.get(plan).copied().unwrap_or_else(|| self.least()),
        }
    }

    /// On the smallest plan.
    pub fn least(&self) -> u32 {
        match self {
            Self::Same(amount) => *amount,
            Self::ByPlan(all) => all.values().copied().min().unwrap_or(0),
        }
    }

    /// The plans that it names, with what they allow; none if it is the same for everybody.
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
        deserializer.deserialize_any(Declared)
    }
}

struct Declared;

impl<'de> Visitor<'de> for Declared {
    type Value = Amount;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number, or one a plan such as { free = 100, paid = 20000 }")
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
            "description": "So much for everybody, or by the plan that a connection is on (its param plan).",
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

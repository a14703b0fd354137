//! The definition format as a JSON Schema, for editors: generated from the types; `config/providers/schema.json` is its
//! copy, which a test keeps current.

use crate::provider::definition::Definition;
use crate::provider::quota::{Window, Zone};
use crate::words::{Interval, ResourceName};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

/// The shipped copy of the schema.
pub const SCHEMA: &str = include_str!("../../../config/providers/schema.json");

/// Generates the content of `schema.json`.
pub fn schema() -> String {
    // Draft 7 is what editors of TOML (taplo) read.
    let mut schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<Definition>();
    schema.insert("title".to_owned(), "A provider of Paceline".into());
    format!("{:#}\n", schema.as_value())
}

macro_rules! text {
    ($type:ty, $name:literal, $schema:tt) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

text!(Interval, "Interval", {
    "type": "string",
    "description": "A length of time: 500ms, 30s, 5m, 1h 30m, 1day; from 100ms to 31days.",
    "pattern": "^ *([0-9]+ *[a-zA-Z]+ *)+$"
});
text!(Window, "Window", {
    "type": "string",
    "description": "A length such as 10s or 1h; for kind = \"aligned\" minute, hour, day or month.",
    "pattern": "^(minute|hour|day|month| *([0-9]+ *[a-zA-Z]+ *)+)$"
});
text!(Zone, "Zone", {
    "type": "string",
    "description": "An IANA time zone, such as UTC or Europe/Paris."
});
text!(ResourceName, "ResourceName", {
    "type": "string",
    "pattern": "^[a-z][a-z0-9_-]{0,39}$"
});

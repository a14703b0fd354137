//! The format of definitions: its JSON Schema, and the page that explains it.

use paceline::provider;
use serde_json::Value;
use std::path::Path;

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/providers");

fn schema() -> Value {
    serde_json::from_str(&provider::schema()).unwrap()
}

#[test]
fn the_schema_is_fresh() {
    let path = Path::new(DIR).join("schema.json");
    let made = provider::schema();
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let advice = "is stale: run this test with UPDATE_SCHEMA=1 and commit what changed";
    assert!(made == kept, "{} {advice}", path.display());
}

/// The schemas that a part of the schema leads to: itself, or what it refers to, or is one of.
fn meant<'a>(root: &'a Value, part: &'a Value) -> Vec<&'a Value> {
    if let Some(name) = part["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        return meant(root, &root["definitions"][name]);
    }
    let choices = ["anyOf", "oneOf", "allOf"].iter().filter_map(|key| part[key].as_array()).flatten();
    choices.flat_map(|one| meant(root, one)).chain([part]).collect()
}

/// Every key of a document that the schema does not know, as a path.
fn unknown(root: &Value, part: &Value, document: &toml::Value, at: &str) -> Vec<String> {
    let schemas = meant(root, part);
    match document {
        toml::Value::Table(table) => table
            .iter()
            .flat_map(|(key, value)| {
                let at = format!("{at}.{key}");
                let own = schemas.iter().find_map(|s| s["properties"].get(key));
                let any =
                    schemas.iter().find_map(|s| s.get("additionalProperties").filter(|p| p.is_object()));
                let named = schemas.iter().find_map(|s| s["patternProperties"].as_object()?.values().next());
                let part = own.or(any).or(named);
                part.map_or_else(|| vec![at.clone()], |part| unknown(root, part, value, &at))
            })
            .collect(),
        toml::Value::Array(items) => {
            let part = schemas.iter().find_map(|s| s.get("items")).unwrap_or(&Value::Null);
            items.iter().flat_map(|item| unknown(root, part, item, at)).collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn the_schema_knows_every_key_of_the_shipped_definitions() {
    let schema = schema();
    let mut seen = 0;
    for source in provider::sources(None).unwrap() {
        assert!(source.text.starts_with("#:schema ./schema.json\n"), "{} names no schema", source.file);
        let document = toml::from_str(&source.text).unwrap();
        assert_eq!(unknown(&schema, &schema, &document, ""), [""; 0], "{}", source.file);
        seen += 1;
    }
    assert!(seen > 9);
    let typo = toml::from_str("[[quota]]\nammount = 3\n[resource.state]\nwait = 1").unwrap();
    assert_eq!(unknown(&schema, &schema, &typo, ""), [".quota.ammount", ".resource.state.wait"]);
}

//! The format of definitions: its JSON Schema, and its documentation page.

use paceline::fetch::{Fetcher, Reach};
use paceline::provider;
use serde_json::Value;
use std::path::Path;

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/providers");

fn schema() -> Value {
    serde_json::from_str(&provider::schema()).unwrap()
}

#[test]
fn schema_is_up_to_date() {
    let path = Path::new(DIR).join("schema.json");
    let generated = provider::schema();
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let advice = "is stale: run this test with UPDATE_SCHEMA=1 and commit what changed";
    assert!(generated == committed, "{} {advice}", path.display());
}

/// The schemas that apply to a part: itself, or those that it refers to or chooses from.
fn resolved<'a>(root: &'a Value, part: &'a Value) -> Vec<&'a Value> {
    if let Some(name) = part["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        return resolved(root, &root["definitions"][name]);
    }
    let choices = ["anyOf", "oneOf", "allOf"].iter().filter_map(|key| part[key].as_array()).flatten();
    choices.flat_map(|one| resolved(root, one)).chain([part]).collect()
}

/// Paths of all keys of a document that the schema does not know.
fn unknown_keys(root: &Value, part: &Value, document: &toml::Value, at: &str) -> Vec<String> {
    let schemas = resolved(root, part);
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
                part.map_or_else(|| vec![at.clone()], |part| unknown_keys(root, part, value, &at))
            })
            .collect(),
        toml::Value::Array(items) => {
            let part = schemas.iter().find_map(|s| s.get("items")).unwrap_or(&Value::Null);
            items.iter().flat_map(|item| unknown_keys(root, part, item, at)).collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn schema_has_every_key_of_the_shipped_definitions() {
    let schema = schema();
    let mut checked = 0;
    for source in provider::sources(None).unwrap() {
        assert!(source.text.starts_with("#:schema ./schema.json\n"), "{} names no schema", source.file);
        let document = toml::from_str(&source.text).unwrap();
        assert_eq!(unknown_keys(&schema, &schema, &document, ""), [""; 0], "{}", source.file);
        checked += 1;
    }
    assert!(checked > 9);
    let typo = toml::from_str("[[quota]]\nammount = 3\n[resource.state]\nwait = 1").unwrap();
    assert_eq!(unknown_keys(&schema, &schema, &typo, ""), [".quota.ammount", ".resource.state.wait"]);
}

const README: &str = include_str!("../../config/providers/README.md");

#[test]
fn page_documents_every_key() {
    fn keys(part: &Value, found: &mut std::collections::BTreeSet<String>) {
        found.extend(part["properties"].as_object().into_iter().flatten().map(|(key, _)| key.clone()));
        match part {
            Value::Object(all) => all.values().for_each(|inner| keys(inner, found)),
            Value::Array(all) => all.iter().for_each(|inner| keys(inner, found)),
            _ => {}
        }
    }
    let mut known = std::collections::BTreeSet::new();
    keys(&schema(), &mut known);
    assert!(known.len() > 50, "{known:?}");
    let named = |key: &String| {
        README.contains(&format!("`{key}`"))
            || README.lines().any(|line| line.starts_with(&format!("{key} = ")))
    };
    let missing: Vec<_> = known.into_iter().filter(|key| !named(key)).collect();
    assert!(missing.is_empty(), "config/providers/README.md does not name {missing:?}");
}

#[test]
fn examples_on_the_page_load() {
    let mut examples = 0;
    for (part, _) in README.split("```toml\n").skip(1).map(|rest| rest.split_once("```").unwrap()) {
        // The simplest possible parts replace those that an example leaves out.
        let defaults = [
            ("title = ", "title = \"Shown\"\n"),
            ("[http]", "[http]\nbase_url = \"https://api.example.com\"\n"),
            (
                "[resource.",
                "[resource.state]\ninterval_min = \"10s\"\ninterval_default = \"1m\"\npath = \"/\"\nrecords = \".\"\n",
            ),
        ];
        let [title, tables @ ..] = defaults.map(|(mark, text)| if part.contains(mark) { "" } else { text });
        let text = format!("{title}{part}{}", tables.concat());
        let parsed = provider::Provider::parse("shown".parse().unwrap(), "README.md", &text);
        let parsed = parsed.unwrap_or_else(|error| panic!("{error}\n{text}"));
        Fetcher::check(std::sync::Arc::new(parsed), Reach::Public)
            .unwrap_or_else(|error| panic!("{error}\n{text}"));
        examples += 1;
    }
    assert!(examples > 7);
}

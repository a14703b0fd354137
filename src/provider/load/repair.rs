//! Continues after an error, so that all errors of a file are reported together. A faulty entry is removed from the
//! document, or renamed where the intent is clear, and the rest is deserialized again.

use serde::de::DeserializeOwned;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Deserializer};

/// A file with more errors than this is not a definition.
const ERRORS_MAX: usize = 50;

/// A parsed document and its errors, each with its span.
pub(crate) struct Parsed<T> {
    /// The document; with errors, as it was probably meant. None if the intent is unclear.
    pub(crate) value: Option<T>,
    /// The errors.
    pub(crate) wrong: Vec<(Range<usize>, String)>,
}

/// Parses a document to its end.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Parsed<T> {
    let (mut root, broken) = DeTable::parse_recoverable(text);
    let mut wrong: Vec<_> =
        broken.iter().map(|error| (error.span().unwrap_or(0..0), error.message().to_owned())).collect();
    // After a syntax error the rest cannot be interpreted.
    if !wrong.is_empty() {
        return Parsed { value: None, wrong };
    }
    let (mut whole, mut removed) = (true, Vec::new());
    while wrong.len() < ERRORS_MAX {
        let error = match T::deserialize(Deserializer::from(root.clone())) {
            Ok(value) => return Parsed { value: whole.then_some(value), wrong },
            Err(error) => error,
        };
        let message = error.message();
        let span = error.span().unwrap_or(0..0);
        let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
        // Not missing: removed above because of another error.
        let known = missing.is_some_and(|name| removed.iter().any(|key| key == name));
        if !known {
            let meant = closest(message);
            wrong.push((span.clone(), meant_by(message)));
            if let Some(meant) = meant
                && rename(root.get_mut(), &span, &meant)
            {
                continue;
            }
        }
        whole = false;
        match remove(root.get_mut(), &span) {
            Some(key) => removed.push(key),
            None => break,
        }
    }
    Parsed { value: None, wrong }
}

/// Renames the key at a span, unless the new name exists already.
fn rename(table: &mut DeTable<'_>, span: &Range<usize>, meant: &str) -> bool {
    let found = table.keys().find(|key| key.span() == *span).cloned();
    if let Some(key) = found {
        if table.contains_key(meant) {
            return false;
        }
        if let Some(value) = table.remove(&key) {
            table.insert(Spanned::new(key.span(), meant.to_owned().into()), value);
        }
        return true;
    }
    inner_tables(table).any(|inner| rename(inner, span, meant))
}

/// Removes the entry whose key or value is at a span, and returns its key.
fn remove(table: &mut DeTable<'_>, span: &Range<usize>) -> Option<String> {
    // Items first: an array of tables has the span of its first item.
    for (key, value) in table.iter_mut() {
        let DeValue::Array(items) = value.get_mut() else { continue };
        if items.iter().any(|item| item.span() == *span) {
            let mut rest = DeArray::new();
            items.iter().filter(|item| item.span() != *span).for_each(|item| rest.push(item.clone()));
            *items = rest;
            return Some(key.get_ref().to_string());
        }
    }
    let found = table.iter().find(|(key, value)| key.span() == *span || value.span() == *span);
    if let Some(key) = found.map(|(key, _)| key.clone()) {
        table.remove(&key);
        return Some(key.get_ref().to_string());
    }
    inner_tables(table).find_map(|inner| remove(inner, span))
}

/// The tables directly inside a table or its arrays.
fn inner_tables<'t, 'i>(table: &'t mut DeTable<'i>) -> impl Iterator<Item = &'t mut DeTable<'i>> {
    table.iter_mut().flat_map(|(_, value)| match value.get_mut() {
        DeValue::Table(inner) => vec![inner],
        DeValue::Array(items) => items
            .iter_mut()
            .filter_map(|item| match item.get_mut() {
                DeValue::Table(inner) => Some(inner),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    })
}

/// Adds a suggestion to serde's "unknown field `x`, expected one of `a`, `b`".
fn meant_by(message: &str) -> String {
    match closest(message) {
        Some(name) => format!("{message}; did you mean `{name}`?"),
        None => message.to_owned(),
    }
}

/// The most similar known key.
fn closest(message: &str) -> Option<String> {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let [wrong, known @ ..] = quoted.as_slice() else { return None };
    if !message.starts_with("unknown") {
        return None;
    }
    known
        .iter()
        .map(|name| (strsim::jaro_winkler(wrong, name), name))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.7)
        .map(|(_, name)| (*name).to_owned())
}

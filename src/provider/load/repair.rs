//! Reading on after an error, so that all errors of a file come at once. What is wrong is taken out of the document, or
//! put right where it is clear what was meant, and the rest is read again.

use serde::de::DeserializeOwned;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Deserializer};

/// A file with more errors than this is something else.
const ERRORS_MAX: usize = 50;

/// What was read of a document, and all that is wrong with it, each with its place.
pub(crate) struct Read<T> {
    /// The document; with errors, as it was probably meant. None if that cannot be told.
    pub(crate) value: Option<T>,
    /// What is wrong.
    pub(crate) wrong: Vec<(Range<usize>, String)>,
}

/// Reads a document to its end.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Read<T> {
    let (mut root, broken) = DeTable::parse_recoverable(text);
    let mut wrong: Vec<_> =
        broken.iter().map(|error| (error.span().unwrap_or(0..0), error.message().to_owned())).collect();
    // What stands behind a broken line may be anything.
    if !wrong.is_empty() {
        return Read { value: None, wrong };
    }
    let (mut whole, mut removed) = (true, Vec::new());
    while wrong.len() < ERRORS_MAX {
        let error = match T::deserialize(Deserializer::from(root.clone())) {
            Ok(value) => return Read { value: whole.then_some(value), wrong },
            Err(error) => error,
        };
        let message = error.message();
        let span = error.span().unwrap_or(0..0);
        let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
        // One that was there and was taken out for what was wrong with it.
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
    Read { value: None, wrong }
}

/// Gives the key at this place the name that was meant, unless there is one of that name already.
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

/// Takes out the entry whose key or value is at this place; its key.
fn remove(table: &mut DeTable<'_>, span: &Range<usize>) -> Option<String> {
    // Items first: an array of tables stands where its first item does.
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

/// The tables in a table, and those in its arrays.
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

/// Adds the key that was probably meant to serde's "unknown field `x`, expected one of `a`, `b`".
fn meant_by(message: &str) -> String {
    match closest(message) {
        Some(name) => format!("{message}; did you mean `{name}`?"),
        None => message.to_owned(),
    }
}

/// The key that was probably meant.
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

//! jq programs over answers: compiled once, bounded in what they may yield.

use crate::words::{Record, UnixMs};
use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Vars, data, unwrap_valr};
use jaq_json::Val;
use serde::Deserialize;
use serde_json::{Map, Value};

/// More records than this in one answer are a mistake of the program.
const RECORDS_MAX: usize = 10_000;

/// A compiled jq program.
pub(super) struct Program(jaq_core::Filter<data::JustLut<Val>>);

impl Program {
    /// Compiles, or says what is wrong with the text.
    pub(super) fn compile(code: &str) -> Result<Self, String> {
        let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
        let funs = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
        let arena = Arena::default();
        let modules = Loader::new(defs).load(&arena, File { code, path: () }).map_err(|errors| {
            format!("bad jq: {:?}", errors.into_iter().map(|(_, e)| e).collect::<Vec<_>>())
        })?;
        let filter = Compiler::default().with_funs(funs).compile(modules).map_err(|errors| {
            format!("bad jq: {:?}", errors.into_iter().map(|(_, e)| e).collect::<Vec<_>>())
        })?;
        Ok(Self(filter))
    }

    /// Whether the first thing it yields is true. An error is a no: the rule does not fit this answer.
    pub(super) fn holds(&self, answer: &Val) -> bool {
        matches!(self.run(answer.clone()).next(), Some(Ok(Val::Bool(true))))
    }

    /// The first thing it yields, if that is text or a number.
    pub(super) fn text(&self, answer: &Val) -> Option<String> {
        let first = self.run(answer.clone()).next()?.ok()?;
        match serde_json::from_str(&first.to_string()).ok()? {
            Value::String(text) => Some(text),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    fn run(&self, answer: Val) -> impl Iterator<Item = Result<Val, jaq_core::Error<Val>>> {
        let ctx = Ctx::<data::JustLut<Val>>::new(&self.0.lut, Vars::new([]));
        self.0.id.run((ctx, answer)).map(unwrap_valr)
    }

    /// The records it yields, or why the answer does not fit.
    pub(super) fn records(&self, answer: Val) -> Result<Vec<Record>, String> {
        let mut records = Vec::new();
        for found in self.run(answer) {
            let found = found.map_err(|error| format!("mapping failed: {error}"))?;
            if records.len() == RECORDS_MAX {
                return Err(format!("mapping yields more than {RECORDS_MAX} records"));
            }
            records.push(record(&found)?);
        }
        Ok(records)
    }
}

/// The answer as jq sees it.
pub(super) fn read(body: &[u8]) -> Result<Val, String> {
    serde_json::from_slice(body).map_err(|error| format!("the answer is not JSON: {error}"))
}

/// An answer of a JSON text a line, as an array of them.
pub(super) fn read_lines(body: &[u8]) -> Result<Val, String> {
    let lines = body.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let read = |(n, line)| {
        serde_json::from_slice::<Val>(line)
            .map_err(|error| format!("line {} of the answer is not JSON: {error}", n + 1))
    };
    lines.enumerate().map(read).collect()
}

/// What a mapping must yield.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Yielded {
    #[serde(default)]
    id: Value,
    values: Map<String, Value>,
    #[serde(default)]
    observed_at: Value,
    #[serde(default)]
    online: Option<bool>,
}

fn record(found: &Val) -> Result<Record, String> {
    let text = found.to_string();
    // Postgres's jsonb cannot hold it, and nobody means it.
    if text.contains("\\u0000") {
        return Err("mapping yields text with a NUL character".to_owned());
    }
    let yielded: Yielded =
        serde_json::from_str(&text).map_err(|error| format!("mapping yields no record: {error}"))?;
    let external_id = match yielded.id {
        Value::Null => None,
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        other => return Err(format!("mapping yields an id that is neither text nor number: {other}")),
    };
    let observed_at = match yielded.observed_at {
        Value::Null => None,
        Value::Number(ms) => {
            Some(ms.as_f64().map(|ms| UnixMs(ms as i64)).ok_or("observed_at is out of range")?)
        }
        Value::String(text) => Some(
            chrono::DateTime::parse_from_rfc3339(&text)
                .map(|at| UnixMs(at.timestamp_millis()))
                .map_err(|error| format!("observed_at {text:?} is not RFC 3339: {error}"))?,
        ),
        other => return Err(format!("observed_at must be RFC 3339 or epoch milliseconds, not {other}")),
    };
    // Years 1 to 9999: what RFC 3339 can write and Postgres can hold.
    if observed_at.is_some_and(|at| !(-62_135_596_800_000..253_402_300_800_000).contains(&at.0)) {
        return Err("observed_at is out of range".to_owned());
    }
    Ok(Record { external_id, observed_at, online: yielded.online.unwrap_or(true), values: yielded.values })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_records_with_ids_times_and_values() {
        let program =
            Program::compile(".devices[] | {id, observed_at: .at, online, values: {t: .t}}").unwrap();
        let answer = read(
            br#"{"devices":[{"id":7,"at":"2026-01-01T00:00:00.5Z","online":false,"t":1.5},
                                          {"id":"b","at":1767225600000,"t":null}]}"#,
        );
        let records = program.records(answer.unwrap()).unwrap();
        assert_eq!(records[0].external_id.as_deref(), Some("7"));
        assert_eq!(records[0].observed_at, Some(UnixMs(1_767_225_600_500)));
        assert!(!records[0].online);
        assert_eq!(records[1].values["t"], Value::Null);
        assert_eq!(records[1].observed_at, Some(UnixMs(1_767_225_600_000)));
        assert!(records[1].online);
    }

    #[test]
    fn what_does_not_fit_is_an_error_with_a_reason() {
        let program = Program::compile(".devices[] | {id, values: .v}").unwrap();
        let misfits =
            [r#"{"devices":5}"#, r#"{"devices":[{"id":{},"v":{}}]}"#, r#"{"devices":[{"id":1,"v":3}]}"#];
        for body in misfits.map(str::as_bytes) {
            assert!(program.records(read(body).unwrap()).is_err());
        }
        for body in [&b""[..], b"<html>", b"{\"devices\":[", b"NaN", b"[1e999"] {
            assert!(read(body).is_err());
        }
        assert!(Program::compile(".devices[").is_err());
        assert!(Program::compile("nonsense(1)").is_err());
    }

    #[test]
    fn lines_become_an_array() {
        let program = Program::compile(".[] | {id: .result.id, values: .result.v}").unwrap();
        let answer = read_lines(b"{\"result\":{\"id\":1,\"v\":{}}}\n\r\n{\"result\":{\"id\":2,\"v\":{}}}\n");
        assert_eq!(program.records(answer.unwrap()).unwrap().len(), 2);
        assert!(program.records(read_lines(b"").unwrap()).unwrap().is_empty());
        assert!(read_lines(b"{}\n{\"cut").unwrap_err().contains("line 2"));
    }

    #[test]
    fn an_endless_program_is_cut_off() {
        let program = Program::compile("repeat({values: {}})").unwrap();
        assert!(program.records(Val::Null).unwrap_err().contains("more than"));
    }
}

//! The history as lines of JSON, or as a table: a row per value and reading, or per value and step.

use super::answer::{Reading, Readings, StepReadings};
use crate::http::error::ApiError;
use crate::words::text::excerpt;
use axum::Json;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Csv,
    NdJson,
}

const FORMATS: [(&str, &str, Format); 3] = [
    ("json", "application/json", Format::Json),
    ("csv", "text/csv", Format::Csv),
    ("ndjson", "application/x-ndjson", Format::NdJson),
];

impl Format {
    /// As the parameter says, or else the first that the `Accept` header names.
    pub(super) fn of(parameter: Option<&str>, headers: &HeaderMap) -> Result<Self, ApiError> {
        if let Some(name) = parameter {
            let known = FORMATS.iter().find(|(known, ..)| *known == name);
            return known.map(|known| known.2).ok_or_else(|| {
                ApiError::BadQuery(format!("format is {:?}: it must be json, csv or ndjson", excerpt(name)))
            });
        }
        let accepted =
            headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        let types = accepted.split(',').filter_map(|one| one.split(';').next()).map(str::trim);
        let known =
            types.filter_map(|one| FORMATS.iter().find(|(_, mime, _)| mime.eq_ignore_ascii_case(one)));
        Ok(known.map(|known| known.2).next().unwrap_or(Self::Json))
    }
}

/// A series that can be written as rows or lines.
pub(super) trait Series {
    const COLUMNS: &'static [&'static str];
    fn rows(&self, write: &mut dyn FnMut(Vec<String>));
    fn lines(&self, write: &mut dyn FnMut(Value));
}

/// The answer: all series as rows or lines, or the whole.
pub(super) fn respond<S: Series>(
    format: Format,
    series: &[S],
    whole: impl Serialize,
) -> Result<Response, ApiError> {
    let internal = |error: csv::Error| ApiError::Internal(error.into());
    match format {
        Format::Json => Ok(Json(whole).into_response()),
        Format::NdJson => {
            let mut text = String::new();
            let mut write = |line: Value| {
                text += &line.to_string();
                text.push('\n');
            };
            series.iter().for_each(|one| one.lines(&mut write));
            Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], text).into_response())
        }
        Format::Csv => {
            let mut table =
                csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
            let mut written = table.write_record(S::COLUMNS);
            let mut write = |row: Vec<String>| {
                if written.is_ok() {
                    written = table.write_record(row);
                }
            };
            series.iter().for_each(|one| one.rows(&mut write));
            written.map_err(internal)?;
            let bytes = table.into_inner().map_err(|error| ApiError::Internal(error.to_string().into()))?;
            Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], bytes).into_response())
        }
    }
}

/// A cell with text from a cloud. A spreadsheet would run one that begins like a formula.
fn text(text: &str) -> String {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(of) => text(of),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn number(number: Option<f64>) -> String {
    number.map_or_else(String::new, |number| json!(number).to_string())
}

impl Series for Readings {
    const COLUMNS: &'static [&'static str] =
        &["device", "resource", "value", "at", "until", "observed_at", "online", "reading"];

    fn rows(&self, write: &mut dyn FnMut(Vec<String>)) {
        for point in self.before.iter().chain(&self.points) {
            let row = |name: &str, value: &Value| {
                let observed_at = point.observed_at.clone().unwrap_or_default();
                let (device, resource) = (self.device.to_string(), self.resource.clone());
                let (at, until) = (point.at.clone(), point.until.clone());
                vec![
                    device,
                    resource,
                    text(name),
                    at,
                    until,
                    observed_at,
                    point.online.to_string(),
                    cell(value),
                ]
            };
            match point.values.is_empty() {
                true => write(row("", &Value::Null)),
                false => point.values.iter().for_each(|(name, value)| write(row(name, value))),
            }
        }
    }

    fn lines(&self, write: &mut dyn FnMut(Value)) {
        let line = |kind: &str, point: &Reading| json!({"device": self.device, "resource": self.resource, kind: point});
        self.before.iter().for_each(|point| write(line("before", point)));
        self.points.iter().for_each(|point| write(line("point", point)));
        if let Some(next) = &self.next {
            write(json!({"device": self.device, "resource": self.resource, "next": next}));
        }
    }
}

impl Series for StepReadings {
    const COLUMNS: &'static [&'static str] = &[
        "device",
        "resource",
        "value",
        "at",
        "avg",
        "min",
        "max",
        "last",
        "time_avg",
        "readings",
        "known_ms",
        "offline_ms",
    ];

    /// Each value that is known at all has a row for each step.
    fn rows(&self, write: &mut dyn FnMut(Vec<String>)) {
        let names: BTreeSet<&String> = self.points.iter().flat_map(|point| point.values.keys()).collect();
        for (name, point) in names.iter().flat_map(|name| self.points.iter().map(move |point| (*name, point)))
        {
            let value = point.values.get(name);
            let of = |of: fn(&super::answer::StepValue) -> Option<f64>| number(value.and_then(of));
            write(vec![
                self.device.to_string(),
                self.resource.clone(),
                text(name),
                point.at.clone(),
                of(|value| value.avg),
                of(|value| value.min),
                of(|value| value.max),
                value.map_or_else(String::new, |value| cell(&value.last)),
                of(|value| value.time_avg),
                value.map_or(0, |value| value.readings).to_string(),
                point.known_ms.to_string(),
                point.offline_ms.to_string(),
            ]);
        }
    }

    fn lines(&self, write: &mut dyn FnMut(Value)) {
        let line =
            |kind: &str, of: Value| json!({"device": self.device, "resource": self.resource, kind: of});
        self.points.iter().for_each(|point| write(line("point", json!(point))));
        self.gaps.iter().for_each(|span| write(line("gap", json!(span))));
        self.offline.iter().for_each(|span| write(line("offline", json!(span))));
    }
}

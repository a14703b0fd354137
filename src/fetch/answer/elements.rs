//! Reads a response element by element, so that one that cannot be read loses no other.

use super::mapping::{self, Converter, RawRecord};
use super::values::ValueTable;
use crate::fetch::jq::{Bounds, Program, ResponseBounds, on_large_stack};
use crate::provider::Resource;
use crate::words::Record;
use jaq_json::Val;
use std::ops::Range;
use toml::Spanned;

/// More records in one response are a mistake of the program.
pub(crate) const RECORDS_MAX: usize = 10_000;

/// How a resource's responses are read.
pub(crate) struct Mapping {
    /// The response's elements; without it, the response is the one element.
    each: Option<Program>,
    id: Option<Program>,
    /// An element's records; of other calls, what a response yields.
    pub(crate) records: Program,
    values: ValueTable,
}

/// What one element of a response came to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Element {
    /// A record, and a sentence per value or time that was left out of it.
    Read(Record, Vec<String>),
    /// An element that cannot be read: of this device, if it can be told, and why.
    Unreadable(Option<String>, String),
}

impl Mapping {
    /// Compiles the programs. Errors have their position in the file.
    pub(crate) fn compile(resource: &Resource) -> Result<Self, Vec<(Range<usize>, String)>> {
        let mut errors = Vec::new();
        let mut program =
            |text: &Spanned<String>| Program::read(text).map_err(|error| errors.push(error)).ok();
        let each = resource.each.as_ref().map(&mut program);
        let id = resource.id.as_ref().map(&mut program);
        let records = program(&resource.records);
        match (each, id, records) {
            (each, id, Some(records)) if errors.is_empty() => {
                let (each, id) = (each.flatten(), id.flatten());
                Ok(Self { each, id, records, values: ValueTable::of(resource) })
            }
            _ => Err(errors),
        }
    }

    /// Every program.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &Program> {
        self.each.iter().chain(&self.id).chain([&self.records])
    }

    /// The elements of a response, or why nothing in it can be read. None at all: the response has no data.
    pub(crate) fn read(&self, response: &Val) -> Result<Vec<Element>, String> {
        match self.programs().all(Program::is_direct) {
            true => self.elements(response),
            false => on_large_stack(|| self.elements(response)),
        }
    }

    fn elements(&self, response: &Val) -> Result<Vec<Element>, String> {
        if is_nothing(response) {
            return Ok(Vec::new());
        }
        let bounds = ResponseBounds::usual();
        let mut reader =
            Reader { mapping: self, converter: Converter::new(), elements: Vec::new(), failure: None };
        match &self.each {
            None => drop(bounds.element(|bounds| reader.element(response, bounds))),
            Some(each) => {
                let ended = each.run_within(bounds.each(), response, |element| {
                    let read = bounds.element(|bounds| reader.element(&element, bounds));
                    read.is_ok() && reader.failure.is_none()
                });
                let ended = ended.and(bounds.each().stopped().map_or(Ok(()), |why| Err(why.to_owned())));
                if let (Err(error), None) = (ended, &reader.failure) {
                    reader.elements.push(Element::Unreadable(None, format!("each failed: {error}")));
                }
            }
        }
        let Reader { elements, failure, .. } = reader;
        if let Some(failure) = failure {
            return Err(failure);
        }
        // If nothing names a device, the response is about something else.
        let is_about_devices = |element: &Element| !matches!(element, Element::Unreadable(None, _));
        match elements.iter().find(|element| !is_about_devices(element)) {
            Some(Element::Unreadable(_, reason)) if !elements.iter().any(is_about_devices) => {
                Err(reason.clone())
            }
            _ => Ok(elements),
        }
    }
}

/// Whether a response has nothing in it.
fn is_nothing(response: &Val) -> bool {
    match response {
        Val::Null => true,
        Val::Obj(entries) => entries.is_empty(),
        Val::Arr(items) => items.is_empty(),
        _ => false,
    }
}

/// The state of reading one response.
struct Reader<'a> {
    mapping: &'a Mapping,
    converter: Converter,
    elements: Vec<Element>,
    /// Why the rest of the response cannot be read.
    failure: Option<String>,
}

impl Reader<'_> {
    fn element(&mut self, element: &Val, bounds: &Bounds) {
        let mapping = self.mapping;
        let id = mapping.id.as_ref();
        let id = id.and_then(|program| {
            program.first_within(bounds, element, mapping::text).ok().flatten().flatten()
        });
        let ended = mapping.records.run_within(bounds, element, |found| {
            if self.elements.len() >= RECORDS_MAX {
                self.failure = Some(format!("mapping yields more than {RECORDS_MAX} records"));
                return false;
            }
            match self.converter.record(&found) {
                Ok(record) => {
                    let element = self.record(record, id.as_deref());
                    self.elements.push(element);
                }
                Err(why) if self.converter.is_exhausted() => self.failure = Some(why),
                Err(why) => self.elements.push(Element::Unreadable(id.clone(), why)),
            }
            self.failure.is_none()
        });
        if let (Err(error), None) = (ended, &self.failure) {
            self.elements.push(Element::Unreadable(id, format!("mapping failed: {error}")));
        }
    }

    fn record(&self, raw: RawRecord, id: Option<&str>) -> Element {
        let RawRecord { external_id, observed_at, online, values, mut rejected } = raw;
        let values = self.mapping.values.apply(values, &mut rejected);
        let external_id = external_id.or_else(|| id.map(str::to_owned));
        Element::Read(Record { external_id, observed_at, online, values }, rejected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::UnixMs;
    use serde_json::{Value, json};

    fn mapping(keys: &str) -> Mapping {
        let keys = format!("interval_min = \"1s\"\ninterval_default = \"1m\"\npath = \"/\"\n{keys}");
        Mapping::compile(&toml::from_str(&keys).unwrap()).unwrap()
    }

    fn read(keys: &str, body: &str) -> Result<Vec<Element>, String> {
        mapping(keys).read(&mapping::parse(body.as_bytes()).unwrap())
    }

    fn mapped(code: &str, body: &str) -> Result<Vec<Record>, String> {
        let elements = read(&format!("records = {}", json!(code)), body)?;
        Ok(elements.into_iter().filter_map(record).collect())
    }

    fn record(element: Element) -> Option<Record> {
        match element {
            Element::Read(record, _) => Some(record),
            Element::Unreadable(..) => None,
        }
    }

    #[test]
    fn numbers_are_mapped_exactly() {
        let body =
            r#"{"a":18446744073709551615,"b":-9223372036854775808,"d":0.1,"e":1e300,"f":20.0,"g":1e-320}"#;
        let found = mapped("{id: .a, values: .}", body).unwrap().remove(0);
        assert_eq!(Value::Object(found.values), serde_json::from_str::<Value>(body).unwrap());
        assert_eq!(found.external_id.as_deref(), Some("18446744073709551615"));
        // A number beyond the range of a double is not rounded to infinity.
        assert!(mapping::parse(b"[1e999]").is_err());
    }

    #[test]
    fn malformed_records_are_refused() {
        for (code, says) in [
            ("1", "not a record"),
            ("{id: 1}", "without values"),
            ("{values: 1}", "not an object"),
            ("{values: {}, value: 1}", "\"value\""),
            ("{values: {}, online: 1}", "neither true nor false"),
            ("{values: {}, id: true}", "neither text nor number"),
            ("{values: {(1): 1}}", "key that is not text"),
            ("{values: {a: reduce range(26) as $i (\"x\"; . + .)}}", "more than"),
            ("repeat({values: {}})", "more than"),
            (".devices[] | {id, values: .v}", "mapping failed"),
        ] {
            let error = mapped(code, "[1]").expect_err(code);
            assert!(error.contains(says), "{code}: {error}");
        }
        assert!(mapped("{values: {}, online: null, observed_at: null, id: null}", "[1]").unwrap()[0].online);
    }

    #[test]
    fn value_that_cannot_be_stored_is_left_out_and_named() {
        for (code, says) in [
            ("{values: {a: 1, t: nan}}", "not a JSON number"),
            ("{values: {a: 1, t: infinite}}", "not a JSON number"),
            ("{values: {a: 1, t: \"x\\u0000\"}}", "NUL"),
            ("{values: {a: 1, t: [2]}}", "list or an object"),
            ("{values: {a: 1, t: {b: 2}}}", "list or an object"),
            ("{values: {a: 1, t: (\"/w==\" | @base64d | tobytes)}}", "not text"),
            ("{values: {a: 1, t: reduce range(200) as $i (0; [.])}}", "nested deeper"),
            ("{values: {a: 1}, observed_at: 1e300}", "out of range"),
            ("{values: {a: 1}, observed_at: []}", "RFC 3339"),
            ("{values: {a: 1}, observed_at: \"yesterday\"}", "not RFC 3339"),
        ] {
            let elements = read(&format!("records = {}", json!(code)), "[1]").unwrap();
            let [Element::Read(record, rejected)] = elements.as_slice() else {
                panic!("{code}: {elements:?}")
            };
            assert_eq!(Value::Object(record.values.clone()), json!({"a": 1}), "{code}");
            assert!(rejected.len() == 1 && rejected[0].contains(says), "{code}: {rejected:?}");
        }
    }

    #[test]
    fn maps_records_with_ids_times_and_values() {
        let body = r#"{"devices":[{"id":7,"at":"2026-01-01T00:00:00.5Z","online":false,"t":1.5},
                                  {"id":"b","at":1767225600000,"t":null}]}"#;
        let records = mapped(".devices[] | {id, observed_at: .at, online, values: {t: .t}}", body).unwrap();
        assert_eq!(records[0].external_id.as_deref(), Some("7"));
        assert_eq!(records[0].observed_at, Some(UnixMs(1_767_225_600_500)));
        assert!(!records[0].online);
        assert!(records[1].values.is_empty(), "null is no value");
        assert_eq!(records[1].observed_at, Some(UnixMs(1_767_225_600_000)));
        assert!(records[1].online);
    }

    #[test]
    fn element_that_cannot_be_read_is_its_devices_failure_alone() {
        let keys = "each = \".[]\"\nid = \".id\"\nrecords = \"{values: {t: (.t | tonumber)}}\"";
        let elements = read(keys, r#"[{"id": 1, "t": "20"}, {"id": 2, "t": "1,5"}, {"t": "x"}]"#).unwrap();
        let [Element::Read(good, _), Element::Unreadable(Some(id), why), Element::Unreadable(None, _)] =
            elements.as_slice()
        else {
            panic!("{elements:?}")
        };
        assert_eq!((good.external_id.as_deref(), id.as_str()), (Some("1"), "2"));
        assert!(why.contains("1,5"), "the reason has the offending value: {why}");
    }

    /// Takes about `n` steps.
    const LONG: &str =
        "each = \".[]\"\nid = \".id\"\nrecords = \"{values: {sum: (reduce range(.n) as $i (0; . + $i))}}\"";

    #[test]
    fn limits_of_jq_grow_with_the_number_of_elements() {
        // More steps than one program may, and a fifth of the time, so that a busy machine is no reason to fail.
        let body: Vec<_> = (0..2_000).map(|id| json!({"id": id, "n": 200})).collect();
        let elements = read(LONG, &json!(body).to_string()).unwrap();
        assert_eq!(elements.len(), 2_000);
        assert!(elements.into_iter().filter_map(record).all(|found| found.values["sum"] == json!(19_900)));
    }

    #[test]
    fn element_that_exceeds_the_limits_of_jq_leaves_the_others_theirs() {
        let n = |id| if id % 10 == 3 { 1e9 } else { 40.0 };
        let body: Vec<_> = (0..60).map(|id| json!({"id": id, "n": n(id)})).collect();
        let elements = read(LONG, &json!(body).to_string()).unwrap();
        for (id, element) in elements.iter().enumerate() {
            match element {
                Element::Read(..) => assert_ne!(id % 10, 3),
                Element::Unreadable(of, why) => {
                    assert!(id % 10 == 3 && of.as_deref() == Some(id.to_string().as_str()), "{id}: {why}");
                    assert!(why.contains("the program takes too"), "{why}");
                }
            }
        }
        assert_eq!(elements.len(), 60);
    }

    #[test]
    fn endless_program_of_elements_is_stopped() {
        let keys = "each = \"repeat(1)\"\nid = \".id\"\nrecords = \"empty\"";
        let ended = read(keys, "[1]");
        assert!(ended.as_ref().is_err_and(|why| why.contains("the program takes too")), "{ended:?}");
    }

    #[test]
    fn records_before_an_error_are_kept() {
        let elements =
            read("records = \".[] | {id: .i, values: {t: (.t + 1)}}\"", r#"[{"i":1,"t":1},{"i":2,"t":"x"}]"#);
        let elements = elements.unwrap();
        assert!(
            matches!(&elements[0], Element::Read(record, _) if record.external_id.as_deref() == Some("1"))
        );
        assert!(matches!(&elements[1], Element::Unreadable(None, _)));
    }

    #[test]
    fn response_with_nothing_in_it_has_no_elements() {
        for body in ["null", "{}"] {
            assert_eq!(read("records = \"error\"", body), Ok(Vec::new()), "{body}");
        }
    }

    #[test]
    fn formats_become_values_of_jq() {
        let lines = mapping::parse_lines(b"{\"id\":1,\"v\":2}\n\r\n{\"cut\n{\"id\":2,\"v\":3}\n").unwrap();
        let found = mapping("each = \".[]\"\nid = \".id\"\nrecords = \"{values: {v: .v}}\"").read(&lines);
        assert_eq!(found.unwrap().len(), 2, "a line that is cut short loses no other");
        assert!(mapping::parse_lines(b"<html>").unwrap_err().contains("line 1"));
        let csv = mapping::parse_csv(b"id, t\n1, 20.5\n2,\n").unwrap();
        let found = mapping(
            "each = \".[]\"\nid = \".id\"\nrecords = \"{values: {temperature_c: (.t | number_or_null)}}\"",
        );
        let found: Vec<_> = found.read(&csv).unwrap().into_iter().filter_map(record).collect();
        assert_eq!(found[0].values["temperature_c"], json!(20.5));
        assert!(found[1].values.is_empty());
        let text = mapping::parse_text(b"power 12\n");
        let found =
            mapping("records = '{values: {power_w: (split(\" \")[1] | number_or_null)}}'").read(&text);
        assert!(
            matches!(&found.unwrap()[0], Element::Read(record, _) if record.values["power_w"] == json!(12))
        );
    }
}

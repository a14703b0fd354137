//! Maps a response to records: parsed, run through jq, and checked value by value.

use crate::fetch::jq::Program;
use crate::words::{ListedDevice, Record, UnixMs};
use jaq_json::{Num, Val};
use serde_json::{Map, Number, Value};

/// No account has more devices.
const DEVICES_MAX: usize = 100_000;
/// More records in one response are a mistake of the program.
pub(crate) const RECORDS_MAX: usize = 10_000;
/// Values plus bytes of text in all records of one response. No response is so large, but a program can produce more.
const CONTENT_MAX: usize = 32 << 20;
/// How deep a value may be nested; serde_json's limit for responses.
const DEPTH_MAX: u8 = 127;

/// The records that a program yields for a response, or why the response does not fit.
pub(crate) fn records(program: &Program, response: &Val) -> Result<Vec<Record>, String> {
    let (mut records, mut failure) = (Vec::new(), None);
    let mut converter = Converter { budget: CONTENT_MAX };
    let ended = program.run(response, |found| {
        if records.len() == RECORDS_MAX {
            failure = Some(format!("mapping yields more than {RECORDS_MAX} records"));
        } else {
            match converter.record(&found) {
                Ok(record) => records.push(record),
                Err(error) => failure = Some(error),
            }
        }
        failure.is_none()
    });
    match failure {
        Some(failure) => Err(failure),
        None => ended.map(|()| records).map_err(|error| format!("mapping failed: {error}")),
    }
}

/// The devices that a program yields for a listing, in order; may contain one twice.
pub(crate) fn devices(program: &Program, response: &Val) -> Result<Vec<ListedDevice>, String> {
    let (mut devices, mut failure) = (Vec::new(), None);
    let mut converter = Converter { budget: CONTENT_MAX };
    let ended = program.run(response, |found| {
        match converter.device(&found) {
            Ok(device) => devices.push(device),
            Err(error) => failure = Some(error),
        }
        if devices.len() > DEVICES_MAX {
            failure = Some(format!("devices yields more than {DEVICES_MAX} devices"));
        }
        failure.is_none()
    });
    match failure {
        Some(failure) => Err(failure),
        None => ended.map(|()| devices).map_err(|error| format!("devices failed: {error}")),
    }
}

/// A text or number, as text.
pub(crate) fn text(found: &Val) -> Option<String> {
    match (Converter { budget: CONTENT_MAX }).value(found, 0).ok()? {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Any value within the limits.
pub(crate) fn value(found: &Val) -> Option<Value> {
    (Converter { budget: CONTENT_MAX }).value(found, 0).ok()
}

/// Parses a JSON body for jq.
pub(crate) fn parse(body: &[u8]) -> Result<Val, String> {
    serde_json::from_slice(body).map_err(|error| format!("the response is not JSON: {error}"))
}

/// Parses a body with one JSON text per line into an array.
pub(crate) fn parse_lines(body: &[u8]) -> Result<Val, String> {
    let lines = body.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let read = |(n, line)| {
        serde_json::from_slice::<Val>(line)
            .map_err(|error| format!("line {} of the response is not JSON: {error}", n + 1))
    };
    lines.enumerate().map(read).collect()
}

/// Converts the output of a mapping, and bounds its total size.
struct Converter {
    budget: usize,
}

impl Converter {
    fn record(&mut self, found: &Val) -> Result<Record, String> {
        let Val::Obj(found) = found else {
            return Err(
                "mapping yields a value that is not a record {id, values, observed_at, online}".to_owned()
            );
        };
        let (mut external_id, mut observed_at, mut online, mut values) = (None, None, true, None);
        for (key, value) in found.iter() {
            match (self.text(key)?.as_str(), value) {
                ("values", Val::Obj(of)) => values = Some(self.object(of, 0)?),
                ("values", _) => return Err("mapping yields `values` that is not an object".to_owned()),
                ("id", id) => external_id = self.id(id)?,
                ("observed_at", at) => observed_at = self.observed_at(at)?,
                ("online", Val::Null) => (),
                ("online", Val::Bool(value)) => online = *value,
                ("online", _) => {
                    return Err("mapping yields `online` that is neither true nor false".to_owned());
                }
                (key, _) => {
                    return Err(format!(
                        "mapping yields {key:?}: a record has id, values, observed_at and online"
                    ));
                }
            }
        }
        let values = values.ok_or("mapping yields a record without values")?;
        Ok(Record { external_id, observed_at, online, values })
    }

    fn device(&mut self, found: &Val) -> Result<ListedDevice, String> {
        let Val::Obj(found) = found else {
            return Err(
                "devices yields a value that is not a device {id, name, group, model, resources}".to_owned()
            );
        };
        let (mut external_id, mut name, mut group, mut model) = (None, None, None, None);
        let mut resources = None;
        for (key, value) in found.iter() {
            match (self.text(key)?.as_str(), value) {
                ("id", id) => external_id = self.id(id)?,
                ("name", value) => name = self.id(value)?,
                ("group", value) => group = self.id(value)?,
                ("model", value) => model = self.id(value)?,
                ("resources", Val::Null) => (),
                ("resources", Val::Arr(all)) => {
                    let name =
                        |one: &Val| self.text(one)?.parse().map_err(|error| format!("devices: {error}"));
                    resources = Some(all.iter().map(name).collect::<Result<_, String>>()?);
                }
                (key, _) => {
                    return Err(format!(
                        "devices yields {key:?}: a device has id, name, group, model and resources"
                    ));
                }
            }
        }
        let external_id =
            external_id.filter(|id| !id.is_empty()).ok_or("devices yields a device without id")?;
        let [name, group, model] = [name, group, model].map(Option::unwrap_or_default);
        Ok(ListedDevice { external_id, name, group, model, resources })
    }

    fn id(&mut self, id: &Val) -> Result<Option<String>, String> {
        match id {
            Val::Null => Ok(None),
            // Exact, however many digits.
            Val::Num(Num::BigInt(whole)) => Ok(Some(whole.to_string())),
            id => match self.value(id, 0)? {
                Value::String(text) => Ok(Some(text)),
                Value::Number(number) => Ok(Some(number.to_string())),
                other => Err(format!("mapping yields an id that is neither text nor number: {other}")),
            },
        }
    }

    fn observed_at(&mut self, at: &Val) -> Result<Option<UnixMs>, String> {
        let at = match self.value(at, 0)? {
            Value::Null => return Ok(None),
            Value::Number(ms) => {
                ms.as_f64().map(|ms| UnixMs(ms as i64)).ok_or("observed_at is out of range")?
            }
            Value::String(text) => chrono::DateTime::parse_from_rfc3339(&text)
                .map(|at| UnixMs(at.timestamp_millis()))
                .map_err(|error| format!("observed_at {text:?} is not RFC 3339: {error}"))?,
            other => return Err(format!("observed_at must be RFC 3339 or epoch milliseconds, not {other}")),
        };
        // Years 1 to 9999: the range of RFC 3339 and of what Postgres stores.
        match (-62_135_596_800_000..253_402_300_800_000).contains(&at.0) {
            true => Ok(Some(at)),
            false => Err("observed_at is out of range".to_owned()),
        }
    }

    fn value(&mut self, value: &Val, depth: u8) -> Result<Value, String> {
        self.spend(1)?;
        if depth > DEPTH_MAX {
            return Err(format!("mapping yields a value nested deeper than {DEPTH_MAX}"));
        }
        match value {
            Val::Null => Ok(Value::Null),
            Val::Bool(value) => Ok(Value::Bool(*value)),
            Val::Num(number) => json_number(number).map(Value::Number),
            Val::TStr(_) => self.text(value).map(Value::String),
            Val::Arr(all) => all.iter().map(|one| self.value(one, depth + 1)).collect(),
            Val::Obj(all) => self.object(all, depth + 1).map(Value::Object),
            Val::BStr(_) => Err("mapping yields bytes that are not text".to_owned()),
        }
    }

    fn object(&mut self, all: &jaq_json::Map, depth: u8) -> Result<Map<String, Value>, String> {
        all.iter().map(|(key, value)| Ok((self.text(key)?, self.value(value, depth)?))).collect()
    }

    fn text(&mut self, text: &Val) -> Result<String, String> {
        let Val::TStr(bytes) = text else {
            return Err("mapping yields a key that is not text".to_owned());
        };
        self.spend(bytes.len())?;
        // Postgres's jsonb cannot store NUL.
        if bytes.contains(&0) {
            return Err("mapping yields text with a NUL character".to_owned());
        }
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    fn spend(&mut self, amount: usize) -> Result<(), String> {
        let rest = self.budget.checked_sub(amount);
        self.budget = rest.ok_or_else(|| format!("mapping yields more than {CONTENT_MAX} bytes"))?;
        Ok(())
    }
}

/// Refuses infinity and NaN: JSON cannot express them, and a reading must not silently become null.
fn json_number(number: &Num) -> Result<Number, String> {
    let float = |float: f64| {
        Number::from_f64(float).ok_or_else(|| format!("mapping yields {float}, which is not a JSON number"))
    };
    let text = match number {
        Num::Int(whole) => return Ok(Number::from(*whole)),
        Num::Float(number) => return float(*number),
        Num::BigInt(whole) => match whole.to_string().parse::<u64>() {
            Ok(whole) => return Ok(Number::from(whole)),
            Err(_) => whole.to_string(),
        },
        Num::Dec(text) => text.to_string(),
    };
    float(text.parse().map_err(|_| format!("mapping yields {text}, which is not a JSON number"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(code: &str, body: &str) -> Result<Vec<Record>, String> {
        records(&Program::compile(code).unwrap(), &parse(body.as_bytes()).unwrap())
    }

    #[test]
    fn numbers_are_mapped_exactly() {
        let body =
            r#"{"a":18446744073709551615,"b":-9223372036854775808,"c":0.1,"d":1e300,"e":20.0,"f":1e-320}"#;
        let found = mapped("{id: .a, values: .}", body).unwrap().remove(0);
        assert_eq!(Value::Object(found.values), serde_json::from_str::<Value>(body).unwrap());
        assert_eq!(found.external_id.as_deref(), Some("18446744073709551615"));
        for code in ["{values: {t: nan}}", "{values: {t: infinite}}", "{values: {t: (-infinite)}}"] {
            assert!(mapped(code, "null").unwrap_err().contains("not a JSON number"), "{code}");
        }
        // A number beyond the range of a double is not rounded to infinity.
        assert!(parse(b"[1e999]").is_err());
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
            ("{values: {}, observed_at: 1e300}", "out of range"),
            ("{values: {}, observed_at: []}", "RFC 3339"),
            ("{values: {a: \"x\\u0000\"}}", "NUL"),
            ("{values: {\"x\\u0000\": 1}}", "NUL"),
            ("{values: {(1): 1}}", "key that is not text"),
            ("{values: {a: (\"/w==\" | @base64d | tobytes)}}", "bytes that are not text"),
            ("{values: {a: reduce range(200) as $i (0; [.])}}", "nested deeper"),
            ("{values: {a: reduce range(26) as $i (\"x\"; . + .)}}", "more than"),
        ] {
            let error = mapped(code, "null").expect_err(code);
            assert!(error.contains(says), "{code}: {error}");
        }
        assert!(mapped("{values: {}, online: null, observed_at: null, id: null}", "null").unwrap()[0].online);
    }

    #[test]
    fn maps_records_with_ids_times_and_values() {
        let program =
            Program::compile(".devices[] | {id, observed_at: .at, online, values: {t: .t}}").unwrap();
        let response = parse(
            br#"{"devices":[{"id":7,"at":"2026-01-01T00:00:00.5Z","online":false,"t":1.5},
                                          {"id":"b","at":1767225600000,"t":null}]}"#,
        );
        let records = records(&program, &response.unwrap()).unwrap();
        assert_eq!(records[0].external_id.as_deref(), Some("7"));
        assert_eq!(records[0].observed_at, Some(UnixMs(1_767_225_600_500)));
        assert!(!records[0].online);
        assert_eq!(records[1].values["t"], Value::Null);
        assert_eq!(records[1].observed_at, Some(UnixMs(1_767_225_600_000)));
        assert!(records[1].online);
    }

    #[test]
    fn listed_devices_need_ids() {
        let list = |code: &str, body: &str| {
            devices(&Program::compile(code).unwrap(), &parse(body.as_bytes()).unwrap())
        };
        let found =
            list(".[]", r#"[{"id":7,"name":"a","group":null,"model":3},{"id":"b","resources":["state"]}]"#);
        let found = found.unwrap();
        let texts = |d: &ListedDevice| [&d.external_id, &d.name, &d.group, &d.model].map(String::clone);
        assert_eq!(texts(&found[0]), ["7", "a", "", "3"]);
        assert_eq!(
            (texts(&found[1]), found[0].resources.as_ref()),
            (["b", "", "", ""].map(str::to_owned), None)
        );
        assert_eq!(found[1].resources.as_ref().unwrap()[0].as_str(), "state");
        assert_eq!(list(".[]", "[]"), Ok(Vec::new()));
        for (body, says) in [
            ("[1]", "not a device"),
            (r#"[{"name":"a"}]"#, "without id"),
            (r#"[{"id":""}]"#, "without id"),
            (r#"[{"id":{}}]"#, "neither text nor number"),
            (r#"[{"id":1,"values":{}}]"#, "\"values\""),
            (r#"[{"id":1,"resources":["No!"]}]"#, "not a resource name"),
            (r#"[{"id":1,"resources":"state"}]"#, "\"resources\""),
            (r#"{"error":"none today"}"#, "not a device"),
        ] {
            let error = list(".[]", body).unwrap_err();
            assert!(error.contains(says), "{body}: {error}");
        }
        let many = format!("[{}]", vec![r#"{"id":1}"#; DEVICES_MAX + 1].join(","));
        assert!(list(".[]", &many).unwrap_err().contains("more than"));
    }

    #[test]
    fn unfit_responses_and_programs_are_errors() {
        let program = Program::compile(".devices[] | {id, values: .v}").unwrap();
        let bodies =
            [r#"{"devices":5}"#, r#"{"devices":[{"id":{},"v":{}}]}"#, r#"{"devices":[{"id":1,"v":3}]}"#];
        for body in bodies.map(str::as_bytes) {
            assert!(records(&program, &parse(body).unwrap()).is_err());
        }
        for body in [&b""[..], b"<html>", b"{\"devices\":[", b"NaN", b"[1e999"] {
            assert!(parse(body).is_err());
        }
        assert!(Program::compile(".devices[").is_err());
        assert!(Program::compile("nonsense(1)").is_err());
    }

    #[test]
    fn ndjson_becomes_an_array() {
        let program = Program::compile(".[] | {id: .result.id, values: .result.v}").unwrap();
        let response =
            parse_lines(b"{\"result\":{\"id\":1,\"v\":{}}}\n\r\n{\"result\":{\"id\":2,\"v\":{}}}\n");
        assert_eq!(records(&program, &response.unwrap()).unwrap().len(), 2);
        assert!(records(&program, &parse_lines(b"").unwrap()).unwrap().is_empty());
        assert!(parse_lines(b"{}\n{\"cut").unwrap_err().contains("line 2"));
    }

    #[test]
    fn endless_program_stops_at_the_record_limit() {
        let program = Program::compile("repeat({values: {}})").unwrap();
        assert!(records(&program, &Val::Null).unwrap_err().contains("more than"));
    }
}

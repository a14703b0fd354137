//! From an answer to records: read, run through jq, and checked value by value.

use crate::fetch::jq::Program;
use crate::words::{ListedDevice, Record, UnixMs};
use jaq_json::{Num, Val};
use serde_json::{Map, Number, Value};

/// More devices than this are not one account's.
const LISTED_MAX: usize = 100_000;
/// More records than this in one answer are a mistake of the program.
pub(crate) const RECORDS_MAX: usize = 10_000;
/// Values and bytes of text in all records of one answer. No answer is so large; a program could be.
const CONTENT_MAX: usize = 32 << 20;
/// How deep a value may be nested, as in an answer.
const DEPTH_MAX: u8 = 127;

/// The records that a program yields of an answer, or why the answer does not fit.
pub(crate) fn records(program: &Program, answer: &Val) -> Result<Vec<Record>, String> {
    let (mut records, mut wrong) = (Vec::new(), None);
    let mut yielded = Yielded { room: CONTENT_MAX };
    let ended = program.run(answer, |found| {
        if records.len() == RECORDS_MAX {
            wrong = Some(format!("mapping yields more than {RECORDS_MAX} records"));
        } else {
            match yielded.record(&found) {
                Ok(record) => records.push(record),
                Err(error) => wrong = Some(error),
            }
        }
        wrong.is_none()
    });
    match wrong {
        Some(wrong) => Err(wrong),
        None => ended.map(|()| records).map_err(|error| format!("mapping failed: {error}")),
    }
}

/// The devices that a program yields of a list. Of one that is told twice, what comes last counts.
pub(crate) fn devices(program: &Program, answer: &Val) -> Result<Vec<ListedDevice>, String> {
    let (mut devices, mut wrong) = (Vec::new(), None);
    let mut yielded = Yielded { room: CONTENT_MAX };
    let ended = program.run(answer, |found| {
        match yielded.device(&found) {
            Ok(device) => devices.push(device),
            Err(error) => wrong = Some(error),
        }
        if devices.len() > LISTED_MAX {
            wrong = Some(format!("devices yields more than {LISTED_MAX} devices"));
        }
        wrong.is_none()
    });
    match wrong {
        Some(wrong) => Err(wrong),
        None => ended.map(|()| devices).map_err(|error| format!("devices failed: {error}")),
    }
}

/// Text or a number, as text.
pub(crate) fn text(found: &Val) -> Option<String> {
    match (Yielded { room: CONTENT_MAX }).value(found, 0).ok()? {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Anything at all, unless it is too much.
pub(crate) fn value(found: &Val) -> Option<Value> {
    (Yielded { room: CONTENT_MAX }).value(found, 0).ok()
}

/// The answer as jq sees it.
pub(crate) fn read(body: &[u8]) -> Result<Val, String> {
    serde_json::from_slice(body).map_err(|error| format!("the answer is not JSON: {error}"))
}

/// An answer of a JSON text a line, as an array of them.
pub(crate) fn read_lines(body: &[u8]) -> Result<Val, String> {
    let lines = body.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let read = |(n, line)| {
        serde_json::from_slice::<Val>(line)
            .map_err(|error| format!("line {} of the answer is not JSON: {error}", n + 1))
    };
    lines.enumerate().map(read).collect()
}

/// What a mapping yields, as far as there is room for it.
struct Yielded {
    room: usize,
}

impl Yielded {
    fn record(&mut self, found: &Val) -> Result<Record, String> {
        let Val::Obj(found) = found else {
            return Err(
                "mapping yields no record: each is an object {id, values, observed_at, online}".to_owned()
            );
        };
        let (mut external_id, mut observed_at, mut online, mut values) = (None, None, true, None);
        for (key, value) in found.iter() {
            match (self.text(key)?.as_str(), value) {
                ("values", Val::Obj(of)) => values = Some(self.object(of, 0)?),
                ("values", _) => return Err("mapping yields values that are no object".to_owned()),
                ("id", id) => external_id = self.id(id)?,
                ("observed_at", at) => observed_at = self.observed_at(at)?,
                ("online", Val::Null) => (),
                ("online", Val::Bool(told)) => online = *told,
                ("online", _) => {
                    return Err("mapping yields an online that is neither true nor false".to_owned());
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
                "devices yields no device: each is an object {id, name, group, model, resources}".to_owned()
            );
        };
        let (mut external_id, mut name, mut group, mut model) = (None, None, None, None);
        let mut resources = None;
        for (key, value) in found.iter() {
            match (self.text(key)?.as_str(), value) {
                ("id", id) => external_id = self.id(id)?,
                ("name", told) => name = self.id(told)?,
                ("group", told) => group = self.id(told)?,
                ("model", told) => model = self.id(told)?,
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
            // To the last digit, however many there are.
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
        // Years 1 to 9999: what RFC 3339 can write and Postgres can hold.
        match (-62_135_596_800_000..253_402_300_800_000).contains(&at.0) {
            true => Ok(Some(at)),
            false => Err("observed_at is out of range".to_owned()),
        }
    }

    fn value(&mut self, value: &Val, depth: u8) -> Result<Value, String> {
        self.take(1)?;
        if depth > DEPTH_MAX {
            return Err(format!("mapping yields a value nested deeper than {DEPTH_MAX}"));
        }
        match value {
            Val::Null => Ok(Value::Null),
            Val::Bool(told) => Ok(Value::Bool(*told)),
            Val::Num(number) => json_number(number).map(Value::Number),
            Val::TStr(_) => self.text(value).map(Value::String),
            Val::Arr(all) => all.iter().map(|one| self.value(one, depth + 1)).collect(),
            Val::Obj(all) => self.object(all, depth + 1).map(Value::Object),
            Val::BStr(_) => Err("mapping yields bytes that are no text".to_owned()),
        }
    }

    fn object(&mut self, all: &jaq_json::Map, depth: u8) -> Result<Map<String, Value>, String> {
        all.iter().map(|(key, value)| Ok((self.text(key)?, self.value(value, depth)?))).collect()
    }

    fn text(&mut self, text: &Val) -> Result<String, String> {
        let Val::TStr(bytes) = text else {
            return Err("mapping yields a key that is no text".to_owned());
        };
        self.take(bytes.len())?;
        // Postgres's jsonb cannot hold it, and nobody means it.
        if bytes.contains(&0) {
            return Err("mapping yields text with a NUL character".to_owned());
        }
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    fn take(&mut self, of: usize) -> Result<(), String> {
        let left = self.room.checked_sub(of);
        self.room = left.ok_or_else(|| format!("mapping yields more than {CONTENT_MAX} bytes"))?;
        Ok(())
    }
}

/// JSON has no word for infinity or "not a number"; a reading must not become null by it.
fn json_number(number: &Num) -> Result<Number, String> {
    let float = |float: f64| {
        Number::from_f64(float).ok_or_else(|| format!("mapping yields {float}, which is no JSON number"))
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
    float(text.parse().map_err(|_| format!("mapping yields {text}, which is no JSON number"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(code: &str, body: &str) -> Result<Vec<Record>, String> {
        records(&Program::compile(code).unwrap(), &read(body.as_bytes()).unwrap())
    }

    #[test]
    fn numbers_stay_as_they_are() {
        let body =
            r#"{"a":18446744073709551615,"b":-9223372036854775808,"c":0.1,"d":1e300,"e":20.0,"f":1e-320}"#;
        let found = mapped("{id: .a, values: .}", body).unwrap().remove(0);
        assert_eq!(Value::Object(found.values), serde_json::from_str::<Value>(body).unwrap());
        assert_eq!(found.external_id.as_deref(), Some("18446744073709551615"));
        for code in ["{values: {t: nan}}", "{values: {t: infinite}}", "{values: {t: (-infinite)}}"] {
            assert!(mapped(code, "null").unwrap_err().contains("no JSON number"), "{code}");
        }
        // What no double can hold is not rounded to infinity.
        assert!(read(b"[1e999]").is_err());
    }

    #[test]
    fn a_record_is_what_it_says_and_no_more() {
        for (code, says) in [
            ("1", "no record"),
            ("{id: 1}", "without values"),
            ("{values: 1}", "no object"),
            ("{values: {}, value: 1}", "\"value\""),
            ("{values: {}, online: 1}", "neither true nor false"),
            ("{values: {}, id: true}", "neither text nor number"),
            ("{values: {}, observed_at: 1e300}", "out of range"),
            ("{values: {}, observed_at: []}", "RFC 3339"),
            ("{values: {a: \"x\\u0000\"}}", "NUL"),
            ("{values: {\"x\\u0000\": 1}}", "NUL"),
            ("{values: {(1): 1}}", "key that is no text"),
            ("{values: {a: (\"/w==\" | @base64d | tobytes)}}", "bytes that are no text"),
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
        let answer = read(
            br#"{"devices":[{"id":7,"at":"2026-01-01T00:00:00.5Z","online":false,"t":1.5},
                                          {"id":"b","at":1767225600000,"t":null}]}"#,
        );
        let records = records(&program, &answer.unwrap()).unwrap();
        assert_eq!(records[0].external_id.as_deref(), Some("7"));
        assert_eq!(records[0].observed_at, Some(UnixMs(1_767_225_600_500)));
        assert!(!records[0].online);
        assert_eq!(records[1].values["t"], Value::Null);
        assert_eq!(records[1].observed_at, Some(UnixMs(1_767_225_600_000)));
        assert!(records[1].online);
    }

    #[test]
    fn a_list_is_of_devices_with_ids() {
        let listed = |code: &str, body: &str| {
            devices(&Program::compile(code).unwrap(), &read(body.as_bytes()).unwrap())
        };
        let found =
            listed(".[]", r#"[{"id":7,"name":"a","group":null,"model":3},{"id":"b","resources":["state"]}]"#);
        let found = found.unwrap();
        let texts = |d: &ListedDevice| [&d.external_id, &d.name, &d.group, &d.model].map(String::clone);
        assert_eq!(texts(&found[0]), ["7", "a", "", "3"]);
        assert_eq!(
            (texts(&found[1]), found[0].resources.as_ref()),
            (["b", "", "", ""].map(str::to_owned), None)
        );
        assert_eq!(found[1].resources.as_ref().unwrap()[0].as_str(), "state");
        assert_eq!(listed(".[]", "[]"), Ok(Vec::new()));
        for (body, says) in [
            ("[1]", "no device"),
            (r#"[{"name":"a"}]"#, "without id"),
            (r#"[{"id":""}]"#, "without id"),
            (r#"[{"id":{}}]"#, "neither text nor number"),
            (r#"[{"id":1,"values":{}}]"#, "\"values\""),
            (r#"[{"id":1,"resources":["No!"]}]"#, "not a resource name"),
            (r#"[{"id":1,"resources":"state"}]"#, "\"resources\""),
            (r#"{"error":"none today"}"#, "no device"),
        ] {
            let error = listed(".[]", body).unwrap_err();
            assert!(error.contains(says), "{body}: {error}");
        }
        let many = format!("[{}]", vec![r#"{"id":1}"#; LISTED_MAX + 1].join(","));
        assert!(listed(".[]", &many).unwrap_err().contains("more than"));
    }

    #[test]
    fn what_does_not_fit_is_an_error_with_a_reason() {
        let program = Program::compile(".devices[] | {id, values: .v}").unwrap();
        let misfits =
            [r#"{"devices":5}"#, r#"{"devices":[{"id":{},"v":{}}]}"#, r#"{"devices":[{"id":1,"v":3}]}"#];
        for body in misfits.map(str::as_bytes) {
            assert!(records(&program, &read(body).unwrap()).is_err());
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
        assert_eq!(records(&program, &answer.unwrap()).unwrap().len(), 2);
        assert!(records(&program, &read_lines(b"").unwrap()).unwrap().is_empty());
        assert!(read_lines(b"{}\n{\"cut").unwrap_err().contains("line 2"));
    }

    #[test]
    fn an_endless_program_is_cut_off() {
        let program = Program::compile("repeat({values: {}})").unwrap();
        assert!(records(&program, &Val::Null).unwrap_err().contains("more than"));
    }
}

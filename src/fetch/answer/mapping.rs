//! Converts what jq programs yield, value by value and within bounds, and parses bodies for them.

use super::values::RawValue;
use crate::fetch::jq::Program;
use crate::words::{ListedDevice, UnixMs, text};
use jaq_json::{Num, Val};
use serde_json::{Map, Number, Value};
use std::collections::BTreeMap;

/// No account has more devices.
const DEVICES_MAX: usize = 100_000;
/// Values plus bytes of text in all records of one response. No response is so large, but a program can produce more.
const CONTENT_MAX: usize = 32 << 20;
/// How deep a value may be nested; serde_json's limit for responses.
const DEPTH_MAX: u8 = 127;

/// The devices that a program yields for a listing, in order; may contain one twice.
pub(crate) fn devices(program: &Program, response: &Val) -> Result<Vec<ListedDevice>, String> {
    let (mut devices, mut failure) = (Vec::new(), None);
    let mut converter = Converter::new();
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
    match Converter::new().value(found, 0).ok()? {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Any value within the limits.
pub(crate) fn value(found: &Val) -> Option<Value> {
    Converter::new().value(found, 0).ok()
}

/// Parses a JSON body for jq.
pub(crate) fn parse(body: &[u8]) -> Result<Val, String> {
    serde_json::from_slice(body).map_err(|error| format!("the response is not JSON: {error}"))
}

/// Parses a body with one JSON text per line into an array.
pub(crate) fn parse_lines(body: &[u8]) -> Result<Val, String> {
    let lines = body.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let (mut read, mut failure) = (Vec::new(), None);
    for (n, line) in lines.enumerate() {
        match serde_json::from_slice::<Val>(line) {
            Ok(value) => read.push(value),
            Err(error) => {
                failure.get_or_insert_with(|| format!("line {} of the response is not JSON: {error}", n + 1));
            }
        }
    }
    match failure {
        // A line cut short loses no other; a body without a single line of JSON is something else.
        Some(failure) if read.is_empty() => Err(failure),
        _ => Ok(read.into_iter().collect()),
    }
}

/// A body as one text.
pub(crate) fn parse_text(body: &[u8]) -> Val {
    Val::utf8_str(String::from_utf8_lossy(body).into_owned())
}

/// A CSV body with a header line, as an array of objects whose values are texts.
pub(crate) fn parse_csv(body: &[u8]) -> Result<Val, String> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(body);
    let failed = |error: csv::Error| format!("the response is not CSV: {error}");
    let names = reader.headers().map_err(failed)?.clone();
    let text = |text: &str| Val::utf8_str(text.to_owned());
    let row = |row: Result<csv::StringRecord, csv::Error>| {
        let row = row.map_err(failed)?;
        Ok(Val::obj(names.iter().zip(row.iter()).map(|(name, value)| (text(name), text(value))).collect()))
    };
    reader.records().map(row).collect()
}

/// A record as the program yields it.
#[derive(Debug, Default)]
pub(crate) struct RawRecord {
    pub(crate) external_id: Option<String>,
    pub(crate) observed_at: Option<UnixMs>,
    pub(crate) online: bool,
    pub(crate) values: BTreeMap<String, RawValue>,
    /// A sentence per value or time that was left out.
    pub(crate) rejected: Vec<String>,
}

/// Converts the output of programs, and bounds its total size.
pub(crate) struct Converter {
    budget: usize,
}

impl Converter {
    pub(crate) fn new() -> Self {
        Self { budget: CONTENT_MAX }
    }

    /// Whether all that it may convert was converted: what follows is lost.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.budget == 0
    }

    /// A record. What is wrong with its time or one of its values is noted, and only that is left out.
    pub(crate) fn record(&mut self, found: &Val) -> Result<RawRecord, String> {
        let Val::Obj(found) = found else {
            return Err(
                "mapping yields a value that is not a record {id, values, observed_at, online}".to_owned()
            );
        };
        let mut record = RawRecord { online: true, ..RawRecord::default() };
        let mut values = None;
        for (key, value) in found.iter() {
            match (self.text(key)?.as_str(), value) {
                ("values", Val::Obj(of)) => values = Some(of),
                ("values", _) => return Err("mapping yields `values` that is not an object".to_owned()),
                ("id", id) => record.external_id = self.id(id)?,
                ("observed_at", at) => match self.observed_at(at) {
                    Ok(at) => record.observed_at = at,
                    Err(why) => record.rejected.push(why),
                },
                ("online", Val::Null) => (),
                ("online", Val::Bool(value)) => record.online = *value,
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
        for (name, value) in values.ok_or("mapping yields a record without values")?.iter() {
            let name = self.text(name)?;
            match self.raw(value) {
                Ok(Some(raw)) => drop(record.values.insert(name, raw)),
                Ok(None) => {}
                Err(why) if self.is_exhausted() => return Err(why),
                Err(why) => record.rejected.push(format!("{name}: {why}")),
            }
        }
        Ok(record)
    }

    /// A scalar, perhaps as `{value, unit}`; none for null.
    fn raw(&mut self, value: &Val) -> Result<Option<RawValue>, String> {
        let (value, unit) = match value {
            Val::Obj(entries) if entries.len() == 2 => {
                let of = |name: &'static str| entries.get(&Val::utf8_str(name));
                let value = of("value").zip(of("unit")).map(|(value, unit)| (value, Some(unit)));
                value.ok_or("it is an object, and values are scalars")?
            }
            value => (value, None),
        };
        let unit = match unit {
            None | Some(Val::Null) => None,
            Some(unit) => Some(self.text(unit)?),
        };
        Ok(match self.value(value, 0)? {
            Value::Null => None,
            Value::Array(_) | Value::Object(_) => {
                return Err("it is a list or an object, and values are scalars".to_owned());
            }
            value => Some(RawValue { value, unit }),
        })
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
                ("id", id) => external_id = self.key(id)?,
                ("name", value) => name = self.id(value)?.as_deref().map(text::cleaned),
                ("group", value) => group = self.key(value)?,
                ("model", value) => model = self.id(value)?.as_deref().map(text::cleaned),
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

    /// An id that is stored and sent back, and so cannot be cleaned.
    fn key(&mut self, id: &Val) -> Result<Option<String>, String> {
        let id = self.id(id)?;
        match id.iter().flat_map(|id| id.chars()).find(|c| c.is_control()) {
            Some(control) => Err(format!("devices yields an id with the control character {control:?}")),
            None => Ok(id),
        }
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
        let exceeded = || format!("mapping yields more than {CONTENT_MAX} bytes");
        self.budget = rest.ok_or_else(|| {
            self.budget = 0;
            exceeded()
        })?;
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
}

//! Functions of jq that differ from the interpreter's own, and those that definitions have beside jq's.
//!
//! `fromjson` and `tonumber` follow jq 1.7: a text holds exactly one value. The interpreter's own yield several outputs
//! for a text such as `1,5`, and none for an empty one.

use jaq_core::load::parse::Def;
use jaq_json::Val;

/// jq's definitions beside its library's. `first_of(f)`: the first output of `f` that is not null; else null.
const DEFS: &str = "def first_of(f): [limit(1; f | select(. != null))] | .[0];";

/// Whether a function of the interpreter is replaced by one here.
pub(super) fn replaces(name: &str) -> bool {
    matches!(name, "fromjson" | "tonumber")
}

/// The definitions beside the library's.
pub(super) fn defs() -> impl Iterator<Item = Def<&'static str>> {
    jaq_core::load::parse(DEFS, |parser| parser.defs()).into_iter().flatten()
}

/// `fromjson`: the one JSON value in a text.
pub(super) fn parse_json(value: &Val) -> Result<Val, String> {
    let text = text(value).ok_or_else(|| format!("cannot parse {value} as JSON: it is not text"))?;
    serde_json::from_str(text).map_err(|error| format!("cannot parse {value} as JSON: {error}"))
}

/// `tonumber`: a number, or the one in a text.
pub(super) fn to_number(value: &Val) -> Result<Val, String> {
    match value {
        Val::Num(_) => Ok(value.clone()),
        other => text(other).and_then(number).ok_or_else(|| format!("cannot parse {value} as a number")),
    }
}

/// `number_or_null`: a number, or the one in a text; else null.
pub(super) fn number_or_null(value: &Val) -> Val {
    to_number(value).unwrap_or(Val::Null)
}

/// `utc`: a time without a zone gets `Z`; one with a zone, or null, stays as it is.
pub(super) fn utc(value: &Val) -> Result<Val, String> {
    if matches!(value, Val::Null) {
        return Ok(Val::Null);
    }
    let time = text(value).ok_or_else(|| format!("{value} is not a time"))?.trim().replacen(' ', "T", 1);
    let clock = time.split_once('T').map_or("", |(_, clock)| clock);
    let has_zone = clock.ends_with(['Z', 'z']) || clock.contains(['+', '-']);
    Ok(Val::utf8_str(if has_zone { time } else { format!("{time}Z") }))
}

fn number(text: &str) -> Option<Val> {
    let text = text.trim_ascii();
    if let Ok(value @ Val::Num(_)) = serde_json::from_str::<Val>(text) {
        return Some(value);
    }
    // jq also reads `+5`, `.5` and `5.`.
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    text.parse::<f64>().ok().filter(|number| is_decimal && number.is_finite()).map(Val::from)
}

fn text(value: &Val) -> Option<&str> {
    match value {
        Val::TStr(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::fetch::jq::Program;
    use jaq_json::Val;

    fn run(code: &str, input: &str) -> Result<Vec<String>, String> {
        let (program, mut outputs) = (Program::compile(code).unwrap(), Vec::new());
        let input: Val = serde_json::from_str(input).unwrap();
        program.run(&input, |output| {
            outputs.push(output.to_string());
            true
        })?;
        Ok(outputs)
    }

    #[test]
    fn text_that_is_not_one_number_is_an_error_as_in_jq() {
        for text in
            ["1,5", "2026-11-29T06:09", "10 %", "0x10", "", " ", "-", "1 2", "nan%", "(undefined)", "[1]"]
        {
            let input = serde_json::to_string(text).unwrap();
            assert!(run("tonumber", &input).unwrap_err().contains("as a number"), "{text}");
            assert_eq!(run("number_or_null", &input), Ok(vec!["null".to_owned()]), "{text}");
        }
        for (text, number) in [
            ("21.5", "21.5"),
            (" 7 ", "7"),
            ("-0.5", "-0.5"),
            ("+5", "5.0"),
            (".5", "0.5"),
            ("1e3", "1000.0"),
        ] {
            let input = serde_json::to_string(text).unwrap();
            assert_eq!(run("tonumber", &input), Ok(vec![number.to_owned()]), "{text}");
        }
        assert_eq!(run("tonumber", "3"), Ok(vec!["3".to_owned()]));
        assert!(run("tonumber", "[]").is_err());
        assert_eq!(run("number_or_null", "true"), Ok(vec!["null".to_owned()]));
    }

    #[test]
    fn fromjson_takes_exactly_one_value() {
        assert_eq!(run("fromjson | .a", r#""{\"a\": 2}""#), Ok(vec!["2".to_owned()]));
        for text in ["1,5", "[1] [2]", "", "{"] {
            let input = serde_json::to_string(text).unwrap();
            assert!(run("fromjson", &input).unwrap_err().contains("as JSON"), "{text}");
        }
    }

    #[test]
    fn time_without_a_zone_is_taken_as_utc() {
        for (time, utc) in [
            ("2026-01-01T00:00:00", "2026-01-01T00:00:00Z"),
            ("2026-01-01 00:00:00.5", "2026-01-01T00:00:00.5Z"),
            ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
            ("2026-01-01T00:00:00+02:00", "2026-01-01T00:00:00+02:00"),
            ("2026-01-01T00:00:00-0500", "2026-01-01T00:00:00-0500"),
        ] {
            assert_eq!(run("utc", &format!("{time:?}")), Ok(vec![format!("{utc:?}")]));
        }
        assert_eq!(run("utc", "null"), Ok(vec!["null".to_owned()]));
    }

    #[test]
    fn first_of_skips_null_and_keeps_false() {
        assert_eq!(run("first_of(.a, .b, .c)", r#"{"b": false, "c": 1}"#), Ok(vec!["false".to_owned()]));
        assert_eq!(run("first_of(.a)", "{}"), Ok(vec!["null".to_owned()]));
    }
}

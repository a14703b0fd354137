//! Text that people and providers give: labels, names, params. One rule for what is accepted, stored and printed.
//!
//! What people give is refused with a reason, because they can correct it; what providers give is cleaned. Characters
//! that a terminal obeys or nobody sees (controls, zero-width characters, changes of direction) let one name pass for
//! another, so none is stored and none is printed.

pub mod name;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// The longest label, name or group, characters.
pub const NAME_CHARS_MAX: usize = 200;

/// The longest value of a param or secret, bytes: keys and certificates fit, files do not.
pub const VALUE_BYTES_MAX: usize = 8 << 10;

/// The most input that an error quotes, characters.
const EXCERPT_CHARS: usize = 60;

/// Why a text is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct TextError {
    /// What the text is, such as `label`.
    what: String,
    why: Refused,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Refused {
    #[error("it is empty; write at least one visible character")]
    Empty,
    #[error("it has {found} {unit}; at most {max} are allowed")]
    Long { found: usize, max: usize, unit: &'static str },
    #[error("it contains the control or invisible character {0:?}; remove it")]
    Unprintable(char),
    #[error("it consists of digits only, as a connection's number does; add a letter")]
    OnlyDigits,
}

impl TextError {
    fn new(what: &str, why: Refused) -> Self {
        Self { what: excerpt(what).into_owned(), why }
    }
}

/// A connection's label: a name that is not empty and cannot be mistaken for a connection's number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Label(String);

impl Label {
    /// The label as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = TextError;
    fn from_str(text: &str) -> Result<Self, TextError> {
        let label = name("label", text)?;
        match label {
            "" => Err(TextError::new("label", Refused::Empty)),
            label if label.chars().all(char::is_numeric) => Err(TextError::new("label", Refused::OnlyDigits)),
            label => Ok(Self(label.to_owned())),
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A name that a person gave, trimmed. It may be empty: whoever needs one says so.
pub fn name<'a>(what: &str, text: &'a str) -> Result<&'a str, TextError> {
    let text = text.trim();
    let found = text.chars().count();
    if found > NAME_CHARS_MAX {
        return Err(TextError::new(what, Refused::Long { found, max: NAME_CHARS_MAX, unit: "characters" }));
    }
    printable_only(what, text)?;
    Ok(text)
}

/// Checks the value of a param.
pub fn check_param(what: &str, value: &str) -> Result<(), TextError> {
    check_length(what, value)?;
    printable_only(what, value)
}

/// Checks a secret. Tabs and line breaks are allowed, because keys in PEM have them. The error never quotes it.
pub fn check_secret(what: &str, secret: &SecretString) -> Result<(), TextError> {
    let secret = secret.expose_secret();
    check_length(what, secret)?;
    let refused = |c: &char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
    match secret.chars().find(refused) {
        Some(control) => Err(TextError::new(what, Refused::Unprintable(control))),
        None => Ok(()),
    }
}

/// A provider's name of something, cleaned: unprintable characters are dropped or become spaces, and what is too long
/// is cut.
pub fn cleaned(text: &str) -> String {
    let printable = |c: char| match c {
        c if c.is_control() || is_line_break(c) => Some(' '),
        c => Some(c).filter(|c| is_printable(*c)),
    };
    let text: String = text.chars().filter_map(printable).take(NAME_CHARS_MAX).collect();
    text.trim().to_owned()
}

/// Several lines for a terminal: what it would obey or hide is replaced.
pub fn for_terminal(text: &str) -> Cow<'_, str> {
    let fits = |c: char| c == '\n' || is_printable(c);
    match text.chars().all(fits) {
        true => text.into(),
        false => text.chars().map(|c| if fits(c) { c } else { '\u{fffd}' }).collect::<String>().into(),
    }
}

/// JSON for a terminal: unprintable characters become escapes, which mean the same. They stand in strings only.
pub fn json_for_terminal(json: &str) -> Cow<'_, str> {
    let fits = |c: char| c == '\n' || is_printable(c);
    if json.chars().all(fits) {
        return json.into();
    }
    let mut text = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        match fits(c) {
            true => text.push(c),
            false => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text += &format!("\\u{unit:04x}")),
        }
    }
    text.into()
}

/// The beginning of an input, for an error that quotes it.
pub fn excerpt(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(EXCERPT_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

/// Whether a character is shown as itself and changes nothing around it.
pub fn is_printable(c: char) -> bool {
    !(c.is_control() || is_line_break(c) || is_invisible(c))
}

fn is_line_break(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

/// Zero-width characters, changes of direction, tags and other format characters.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

fn check_length(what: &str, value: &str) -> Result<(), TextError> {
    match value.len() {
        found if found > VALUE_BYTES_MAX => {
            Err(TextError::new(what, Refused::Long { found, max: VALUE_BYTES_MAX, unit: "bytes" }))
        }
        _ => Ok(()),
    }
}

fn printable_only(what: &str, text: &str) -> Result<(), TextError> {
    match text.chars().find(|c| !is_printable(*c)) {
        Some(c) => Err(TextError::new(what, Refused::Unprintable(c))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_trimmed_visible_short_and_no_numbers() {
        for good in ["home", " Ålesund 2 ", "7a", "naïve – 家", &"x".repeat(NAME_CHARS_MAX)] {
            assert_eq!(good.parse::<Label>().unwrap().as_str(), good.trim());
        }
        for (bad, says) in [
            ("", "empty"),
            (" \t ", "empty"),
            ("17", "digits only"),
            ("a\0b", "'\\0'"),
            ("a\x1b[2Jb", "'\\u{1b}'"),
            ("a\r\nb", "'\\r'"),
            ("a\u{200b}b", "'\\u{200b}'"),
            ("a\u{202e}b", "'\\u{202e}'"),
            (&"x".repeat(9_000), "9000 characters; at most 200"),
        ] {
            let refusal = bad.parse::<Label>().unwrap_err().to_string();
            assert!(refusal.starts_with("label: ") && refusal.contains(says), "{refusal}");
            assert!(refusal.len() < 200, "{refusal}");
        }
    }

    #[test]
    fn names_of_providers_are_cleaned() {
        assert_eq!(cleaned("Liv\u{200b}ing\0\x1b[31m \u{202e}room\n"), "Living  [31m room");
        assert_eq!(cleaned(&"y".repeat(500)).len(), NAME_CHARS_MAX);
    }

    #[test]
    fn nothing_unprintable_reaches_a_terminal() {
        assert_eq!(for_terminal("a\x1b[2J\nb\u{202e}"), "a\u{fffd}[2J\nb\u{fffd}");
        assert_eq!(json_for_terminal("\"a\u{202e}\u{e0001}\""), "\"a\\u202e\\udb40\\udc01\"");
        let read: String = serde_json::from_str(&json_for_terminal("\"a\u{202e}\u{e0001}\"")).unwrap();
        assert_eq!(read, "a\u{202e}\u{e0001}");
    }

    #[test]
    fn secrets_may_have_lines_and_are_not_quoted() {
        assert!(check_secret("the secret key", &"-----BEGIN\nabc\r\n".into()).is_ok());
        for bad in ["hunter2\0".to_owned(), "hunter2".repeat(2_000)] {
            let refusal = check_secret("the secret key", &bad.into()).unwrap_err().to_string();
            assert!(!refusal.contains("hunter"), "{refusal}");
        }
    }
}

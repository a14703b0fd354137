//! From a file's text to a checked definition, or to errors that name file, line and the key meant.

use super::{Definition, check};
use std::ops::Range;
use std::path::PathBuf;

/// One thing wrong with a definition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct DefinitionError {
    /// The file as it was named.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// What is wrong, and what was probably meant.
    pub message: String,
}

/// Why the providers could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The directory or a file in it cannot be read.
    #[error(
        "cannot read {path}: {source}; set providers.dir to the directory of your provider files",
        path = path.display()
    )]
    Unreadable {
        /// What was read.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A file's name is no provider name.
    #[error("{path}: {source}", path = path.display())]
    BadName {
        /// The file.
        path: PathBuf,
        /// Why.
        source: crate::words::NameError,
    },
    /// Files that say something wrong: all of it at once.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Refused(Vec<DefinitionError>),
}

/// Reads and checks one definition. `file` is how errors name it.
pub fn parse(file: &str, text: &str) -> Result<Definition, Vec<DefinitionError>> {
    let at = |span: Option<Range<usize>>, message: String| DefinitionError {
        file: file.to_owned(),
        line: line_of(text, span.map_or(0, |s| s.start)),
        message,
    };
    let definition: Definition =
        toml::from_str(text).map_err(|error| vec![at(error.span(), meant(error.message()))])?;
    let errors: Vec<_> =
        check::check(&definition).into_iter().map(|(span, message)| at(Some(span), message)).collect();
    if errors.is_empty() { Ok(definition) } else { Err(errors) }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|b| *b == b'\n').count()
}

/// Adds the key that was probably meant to serde's "unknown field `x`, expected one of `a`, `b`".
fn meant(message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let [wrong, known @ ..] = quoted.as_slice() else { return message.to_owned() };
    if !message.starts_with("unknown") {
        return message.to_owned();
    }
    let closest = known
        .iter()
        .map(|name| (strsim::jaro_winkler(wrong, name), name))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.7);
    match closest {
        Some((_, name)) => format!("{message}; did you mean `{name}`?"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"title = "Good"
[http]
base_url = "https://api.example.com"
[[quota]]
name = "minute"
scope = "connection"
amount = 60
window = "1m"
[resource.state]
interval_min = "10s"
interval_default = "1m"
path = "/devices/{{ device.external_id }}"
records = "."
"#;

    #[test]
    fn a_good_file_loads() {
        assert_eq!(parse("good.toml", GOOD).unwrap().title, "Good");
    }

    #[test]
    fn a_typo_is_refused_with_file_line_and_the_key_meant() {
        let errors = parse("typo.toml", &GOOD.replace("amount", "ammount")).unwrap_err();
        let text = errors[0].to_string();
        assert!(text.starts_with("typo.toml:7: "), "{text}");
        assert!(text.contains("did you mean `amount`?"), "{text}");
    }

    #[test]
    fn impossible_quotas_are_refused_with_their_line() {
        for (from, to, says) in [
            ("amount = 60", "amount = 0", "amount"),
            ("amount = 60", "amount = 60\nburst = 61", "burst"),
            ("amount = 60", "amount = 60\nburst = 0", "burst"),
            ("amount = 60", "amount = 60\nheadroom = 1.0", "headroom"),
            ("amount = 60", "amount = 60\nreserve = 1.0", "reserve"),
            ("amount = 60", "amount = 60\nreserve = -0.1", "reserve"),
            ("amount = 60", "amount = 60\nzone = \"Mars/Olympus\"", "IANA"),
            ("amount = 60", "amount = 60\nzone = \"Europe/Paris\"", "zone means nothing"),
            ("amount = 60", "amount = 60\nfloor = 2", "floor means nothing"),
            ("amount = 60", "amount = 60\nkind = \"leaky\"", "leaky"),
            ("amount = 60", "amount = 60\nkind = \"aligned\"", "minute, hour, day or month"),
            ("amount = 60", "amount = 60\nkind = \"concurrent\"", "no window"),
            ("amount = 60", "amount = 60\nkind = \"errors\"\nreserve = 0.5", "reserve means nothing"),
            ("amount = 60", "amount = 60\nkind = \"adaptive\"\nfloor = 61", "floor"),
            ("amount = 60", "amount = 60\nkind = \"adaptive\"\nstart = 61", "start"),
            ("window = \"1m\"", "window = \"day\"", "aligned"),
            ("window = \"1m\"", "", "needs a window"),
            (
                "amount = 60\nwindow = \"1m\"",
                "kind = \"aligned\"\namount = 1\nreserve = 0.5\nwindow = \"day\"",
                "nothing of 1",
            ),
            (
                "[resource.state]",
                "[[quota]]\nname = \"minute\"\nscope = \"app\"\namount = 1\nwindow = \"1s\"\n[resource.state]",
                "twice",
            ),
            ("window = \"1m\"", "window = \"0s\"", "0s"),
            ("amount = 60", "amount = 60\nresources = [\"energy\"]", "energy"),
            ("interval_min = \"10s\"", "interval_min = \"10s\"\ncost = 2", "burst"),
        ] {
            let errors = parse("q.toml", &GOOD.replace(from, to)).expect_err(to);
            assert!(errors[0].message.contains(says), "{to}: {}", errors[0]);
            assert!(errors[0].line >= 4, "{to}: {}", errors[0]);
        }
    }

    #[test]
    fn every_kind_of_quota_loads() {
        for text in [
            "kind = \"aligned\"\namount = 60\nwindow = \"day\"\nzone = \"Europe/Paris\"\nburst = 5\nreserve = 0.1",
            "kind = \"concurrent\"\namount = 3\nreserve = 0.5",
            "kind = \"errors\"\namount = 9\nwindow = \"10m\"",
            "kind = \"adaptive\"\namount = 60\nwindow = \"1m\"\nstart = 6\nfloor = 2\nerrors_cost = false",
            "amount = 60\nwindow = \"1m\"\nforgives_ms = 100\nreserve = 0.9",
        ] {
            let text = GOOD.replace("amount = 60\nwindow = \"1m\"", text);
            assert!(parse("kinds.toml", &text).is_ok(), "{text}: {:?}", parse("kinds.toml", &text));
        }
    }

    #[test]
    fn all_errors_come_at_once() {
        let text = GOOD.replace("amount = 60", "amount = 0\nheadroom = 2.0");
        assert_eq!(parse("two.toml", &text).unwrap_err().len(), 2);
    }
}

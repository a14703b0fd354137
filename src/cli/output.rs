//! Prints results to stdout, everything else to stderr.

use super::CliError;
use crate::words::text;
use serde::Serialize;
use std::borrow::Cow;
use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

/// The output format.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// JSON instead of text.
    pub json: bool,
}

impl Output {
    /// Prints a result, as one line of JSON or as text.
    pub fn answer<T: Serialize + Display>(self, answer: &T) -> Result<(), CliError> {
        if self.json {
            return self.line(&serde_json::to_string(answer).map_err(CliError::refused)?);
        }
        self.line(&answer.to_string())
    }

    /// Prints a line on stdout. A closed pipe (`… | head`) is no error.
    pub fn line(self, text: &str) -> Result<(), CliError> {
        self.part(text).map(drop)
    }

    /// Prints part of a result. Returns false if the pipe was closed: nothing reads the rest.
    pub fn part(self, text: &str) -> Result<bool, CliError> {
        let mut out = std::io::stdout().lock();
        match writeln!(out, "{}", self.printable(text.trim_end_matches('\n'))).and_then(|()| out.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(error) => {
                Err(CliError::refused(format!("cannot write the result to standard output: {error}")))
            }
        }
    }

    /// A text from which the terminal obeys and hides nothing, whoever gave it.
    fn printable(self, text: &str) -> Cow<'_, str> {
        if self.json { text::json_for_terminal(text) } else { text::for_terminal(text) }
    }

    /// Prints a note on stderr.
    pub fn note(self, text: &str) {
        match self.json {
            true => eprintln!("{}", self.printable(&serde_json::json!({ "note": text }).to_string())),
            false => eprintln!("paceline: {}", self.printable(text)),
        }
    }

    /// Prints an error on stderr. Returns the exit code.
    pub fn fail(self, error: &CliError) -> ExitCode {
        let text = error.message();
        match self.json {
            true => eprintln!("{}", self.printable(&serde_json::json!({ "error": text }).to_string())),
            false => eprintln!("paceline: {}", self.printable(&text)),
        }
        ExitCode::from(error.exit_code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_has_nothing_that_a_terminal_obeys_or_hides() {
        let text = "red \u{1b}[31m, hidden \u{200b}";
        assert_eq!(Output { json: false }.printable(text), "red \u{fffd}[31m, hidden \u{fffd}");
        let json = serde_json::json!({ "label": text }).to_string();
        let printed = Output { json: true }.printable(&json);
        assert!(printed.chars().all(|c| matches!(c, ' '..='~')), "{printed}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&printed).unwrap()["label"], text);
    }
}

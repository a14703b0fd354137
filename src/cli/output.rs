//! Where words go: answers to stdout, everything else to stderr.

use super::CliError;
use serde::Serialize;
use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

/// For people or for programs.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// For programs.
    pub json: bool,
}

impl Output {
    /// Prints an answer: its JSON on a line, or its text.
    pub fn answer<T: Serialize + Display>(self, answer: &T) -> Result<(), CliError> {
        if self.json {
            return self.line(&serde_json::to_string(answer).map_err(CliError::refused)?);
        }
        self.line(&answer.to_string())
    }

    /// Prints a line on stdout. A reader that went away (`… | head`) has what it wanted.
    pub fn line(self, text: &str) -> Result<(), CliError> {
        self.part(text).map(drop)
    }

    /// Prints a part of an answer, and tells whether anybody reads on.
    pub fn part(self, text: &str) -> Result<bool, CliError> {
        let mut out = std::io::stdout().lock();
        match writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(error) => {
                Err(CliError::refused(format!("cannot write the answer to standard output: {error}")))
            }
        }
    }

    /// Says on stderr what is worth knowing beside the answer.
    pub fn note(self, text: &str) {
        match self.json {
            true => eprintln!("{}", serde_json::json!({ "note": text })),
            false => eprintln!("paceline: {text}"),
        }
    }

    /// Says on stderr why nothing came of it.
    pub fn fail(self, error: &CliError) -> ExitCode {
        let text = error.sentence();
        match self.json {
            true => eprintln!("{}", serde_json::json!({ "error": text })),
            false => eprintln!("paceline: {text}"),
        }
        ExitCode::from(error.exit_code())
    }
}

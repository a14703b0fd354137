//! Errors of a program's text, each with its place in the program and in the definition's file.

use jaq_core::compile::Undefined;
use jaq_core::load::lex::{Expect as ExpectedText, Token};
use jaq_core::load::{self, parse};
use std::ops::Range;
use toml::Spanned;

/// Why a program does not compile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CompileError {
    /// Where in the program's text the first error is, in bytes.
    offset: usize,
    message: String,
}

impl CompileError {
    /// An error of the whole program.
    pub(super) fn whole(message: impl Into<String>) -> Self {
        Self { offset: 0, message: format!("bad jq: {}", message.into()) }
    }

    /// Errors at parts of the program's text. The first gives the position.
    fn at(code: &str, found: impl IntoIterator<Item = (usize, String)>) -> Self {
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort_by_key(|(offset, _)| *offset);
        let described = found.iter().map(|(offset, message)| format!("{}: {message}", place(code, *offset)));
        let message = format!("bad jq at {}", described.collect::<Vec<_>>().join("; "));
        Self { offset: found.first().map_or(0, |(offset, _)| *offset), message }
    }

    pub(super) fn lexing(code: &str, errors: Vec<load::lex::Error<&str>>) -> Self {
        Self::at(
            code,
            errors.into_iter().map(|(expected, rest)| match expected {
                ExpectedText::Delim(open) => (offset_of(code, open), format!("{open} is never closed")),
                expected => {
                    let found =
                        rest.chars().next().map_or("the end".to_owned(), |found| format!("{found:?}"));
                    (offset_of(code, rest), format!("expected a {}, found {found}", expected.as_str()))
                }
            }),
        )
    }

    pub(super) fn parsing(code: &str, errors: Vec<parse::Error<&str, Option<&Token<&str>>>>) -> Self {
        Self::at(
            code,
            errors.into_iter().map(|(expected, found)| match found {
                Some(Token(text, _)) => {
                    let found = text.lines().next().unwrap_or_default();
                    (offset_of(code, text), format!("expected {}, found {found}", expected.as_str()))
                }
                None => (code.trim_end().len(), format!("expected {}, found the end", expected.as_str())),
            }),
        )
    }

    pub(super) fn undefined<'s>(code: &str, errors: impl Iterator<Item = (&'s str, Undefined)>) -> Self {
        Self::at(
            code,
            errors.map(|(name, what)| {
                let message = match what {
                    Undefined::Filter(0) => format!("there is no function {name} without arguments"),
                    Undefined::Filter(1) => format!("there is no function {name} with 1 argument"),
                    Undefined::Filter(arity) => format!("there is no function {name} with {arity} arguments"),
                    what => format!("there is no {} {name}", what.as_str()),
                };
                (offset_of(code, name), message)
            }),
        )
    }

    /// The error with its span in the file, where `text` is the program.
    pub(crate) fn in_file(self, text: &Spanned<String>) -> (Range<usize>, String) {
        let span = text.span();
        // The delimiters before the content: a quote; or three, and the line break after them, which is no content.
        // Escapes make the content shorter than its source: the line is then that of the opening quote.
        let before = match span.len().saturating_sub(text.get_ref().len()) {
            2 => 1,
            6 => 3,
            7 => 4,
            _ => return (span, self.message),
        };
        (span.start + before + self.offset..span.end, self.message)
    }
}

impl std::fmt::Display for CompileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

/// `line 3, column 12 of the program`; without the line if there is only one.
fn place(code: &str, offset: usize) -> String {
    let before = code.get(..offset).unwrap_or(code);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    match code.trim_end().contains('\n') {
        true => format!("line {line}, column {column} of the program"),
        false => format!("column {column} of the program"),
    }
}

/// Where a part of the text begins; 0 if it is no part of it.
fn offset_of(code: &str, part: &str) -> usize {
    let offset = part.as_ptr().addr().checked_sub(code.as_ptr().addr());
    offset.filter(|offset| *offset <= code.len()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use crate::fetch::jq::Program;
    use serde::Deserialize;
    use toml::Spanned;

    fn error(code: &str) -> String {
        Program::compile(code).err().map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn error_names_line_and_column_of_the_program() {
        for (code, says) in [
            (
                ".a\n| .b\n| nosuch",
                "line 3, column 3 of the program: there is no function nosuch without arguments",
            ),
            (
                ".a\n| map(.b; 1)",
                "line 2, column 3 of the program: there is no function map with 2 arguments",
            ),
            (".a |\n{b: $c}", "line 2, column 5 of the program: there is no variable $c"),
            (".a\n| if .b then 1", "line 2, column 15 of the program: expected"),
            (".a\n| {b: (.c | .d}", "line 2, column 7 of the program: ( is never closed"),
            (".a\n\n  | | .b", "line 3, column 5 of the program: expected"),
            (".a &", "bad jq at column 4 of the program: expected a token, found '&'"),
        ] {
            assert!(error(code).contains(says), "{code:?}: {}", error(code));
        }
    }

    #[test]
    fn every_unknown_function_is_named() {
        let error = error("one\n| two(.)");
        assert!(
            error.contains("no function one") && error.contains("line 2, column 3 of the program"),
            "{error}"
        );
    }

    #[test]
    fn error_has_its_position_in_the_file() {
        #[derive(Deserialize)]
        struct File {
            jq: Spanned<String>,
        }
        for (file, at) in [
            ("jq = '''\n.a\n| nosuch\n'''", "nosuch"),
            ("jq = '''.a\n| nosuch'''", "nosuch"),
            ("jq = \"\"\"\n.a\n| nosuch\"\"\"", "nosuch"),
            ("jq = '.a | nosuch'", "nosuch"),
            // Escapes: the program's beginning.
            ("jq = \".a == \\\"b\\\" | nosuch\"", "\""),
        ] {
            let jq = toml::from_str::<File>(file).unwrap().jq;
            let (span, _) = Program::read(&jq).err().unwrap();
            assert!(file[span.start..].starts_with(at), "{file}: {:?}", &file[span.start..]);
        }
    }
}

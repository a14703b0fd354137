//! The rows of a file of either format.

use super::csv::Header;
use super::lines::Lines;
use super::row::Row;
use super::{ImportError, ndjson};
use std::io::BufRead;
use std::path::Path;
use std::str::FromStr;

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated, under a header.
    Csv,
    /// One JSON object per line.
    Ndjson,
}

impl Format {
    /// The format of a file extension.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "csv" => Some(Self::Csv),
            "ndjson" | "jsonl" | "json" => Some(Self::Ndjson),
            _ => None,
        }
    }
}

impl FromStr for Format {
    type Err = String;
    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "csv" => Ok(Self::Csv),
            "ndjson" => Ok(Self::Ndjson),
            _ => Err(format!("{word:?} is not a format: use csv or ndjson")),
        }
    }
}

enum Shape {
    Csv(Header),
    Ndjson,
}

/// The rows of a file.
pub(super) struct Rows<R> {
    lines: Lines<R>,
    shape: Shape,
}

impl<R: BufRead> Rows<R> {
    pub(super) fn begin(source: R, format: Option<Format>) -> Result<Self, ImportError> {
        let mut lines = Lines::new(source);
        let guess = |first| match first {
            Some(b'{' | b'[') => Format::Ndjson,
            _ => Format::Csv,
        };
        let format = match format {
            Some(format) => format,
            None => lines.peek().map(guess).map_err(|source| ImportError::Unreadable { row: 0, source })?,
        };
        let shape = match format {
            Format::Ndjson => Shape::Ndjson,
            Format::Csv => Shape::Csv(header(&mut lines)?),
        };
        Ok(Self { lines, shape })
    }

    /// The next row with its number, or the reason to refuse it.
    #[expect(clippy::type_complexity, reason = "a number, and a row or a sentence")]
    pub(super) fn next(&mut self) -> Result<Option<(u64, Result<Row, String>)>, ImportError> {
        let row = self.lines.number();
        let line = self.lines.next().map_err(|source| ImportError::Unreadable { row, source })?;
        let Some(line) = line else { return Ok(None) };
        let read = line.and_then(|line| match &self.shape {
            Shape::Csv(header) => header.row(line),
            Shape::Ndjson => ndjson::row(line),
        });
        Ok(Some((self.lines.number(), read)))
    }

    /// The number of the last row read.
    pub(super) fn row(&self) -> u64 {
        self.lines.number()
    }
}

/// An empty file has no header and no rows either.
fn header<R: BufRead>(lines: &mut Lines<R>) -> Result<Header, ImportError> {
    let line = lines.next().map_err(|source| ImportError::Unreadable { row: 0, source })?;
    let header = line.map_or(Ok(Header::default()), |line| line.and_then(Header::parse));
    header.map_err(|error| ImportError::Header { row: lines.number(), error })
}

//! Lines of bounded length, with their numbers.

use std::io::{self, BufRead, Read};

/// Longer lines are refused, and never held in memory.
pub(super) const LINE_BYTES_MAX: usize = 64 << 10;

/// The lines of a file.
pub(super) struct Lines<R> {
    source: R,
    buffer: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, buffer: Vec::new(), number: 0 }
    }

    /// The number of the last line read.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The first byte after a byte order mark and spaces, as far as the buffer shows it.
    pub(super) fn peek(&mut self) -> io::Result<Option<u8>> {
        let ahead = self.source.fill_buf()?;
        let ahead = ahead.strip_prefix(BOM).unwrap_or(ahead);
        Ok(ahead.iter().copied().find(|byte| !byte.is_ascii_whitespace()))
    }

    /// The next line that is not blank, or the reason to refuse it.
    pub(super) fn next(&mut self) -> io::Result<Option<Result<&str, String>>> {
        loop {
            self.buffer.clear();
            let read =
                (&mut self.source).take(LINE_BYTES_MAX as u64 + 2).read_until(b'\n', &mut self.buffer)?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            if self.number == 1 && self.buffer.starts_with(BOM) {
                self.buffer.drain(..BOM.len());
            }
            let was_cut = !self.buffer.ends_with(b"\n") && self.skip_rest()?;
            let line = self.buffer.trim_ascii_end().len();
            if was_cut || line > LINE_BYTES_MAX {
                return Ok(Some(Err(format!("the line is longer than {LINE_BYTES_MAX} bytes"))));
            }
            self.buffer.truncate(line);
            if !self.buffer.trim_ascii_start().is_empty() {
                return Ok(Some(text(&self.buffer)));
            }
        }
    }

    /// Skips to the end of the line. Returns whether anything was skipped.
    fn skip_rest(&mut self) -> io::Result<bool> {
        let mut skipped = false;
        loop {
            let ahead = self.source.fill_buf()?;
            let (used, is_end) = match ahead.iter().position(|byte| *byte == b'\n') {
                Some(at) => (at + 1, true),
                None => (ahead.len(), ahead.is_empty()),
            };
            skipped |= used > 0;
            self.source.consume(used);
            if is_end {
                return Ok(skipped);
            }
        }
    }
}

const BOM: &[u8] = b"\xef\xbb\xbf";

fn text(line: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(line).map_err(|error| {
        let at = error.valid_up_to();
        format!("byte {} of the line, 0x{:02x}, is not UTF-8: save the file as UTF-8", at + 1, line[at])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Vec<(u64, Result<String, String>)> {
        // A buffer of 7 makes every line cross its edge.
        let mut lines = Lines::new(io::BufReader::with_capacity(7, bytes));
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap().map(|line| line.map(str::to_owned)) {
            found.push((lines.number(), line));
        }
        found
    }

    #[test]
    fn byte_order_mark_blank_lines_and_line_endings_are_skipped() {
        let lines = all(b"\xef\xbb\xbfone\r\n\r\n  \n\ntwo\nthree");
        let good = |number, text: &str| (number, Ok(text.to_owned()));
        assert_eq!(lines, [good(1, "one"), good(5, "two"), good(6, "three")]);
        assert!(all(b"").is_empty() && all(b"\n\r\n").is_empty());
    }

    #[test]
    fn lines_after_a_bad_line_are_read() {
        let mut bytes = b"a\n".to_vec();
        bytes.extend(vec![b'x'; 1 << 20]);
        bytes.extend(b"\nb\xff\nc\n");
        bytes.extend(vec![b'y'; LINE_BYTES_MAX]);
        let lines = all(&bytes);
        assert_eq!((lines.len(), lines[0].1.as_deref()), (5, Ok("a")));
        assert!(lines[1].1.as_ref().unwrap_err().contains("longer than"));
        assert!(lines[2].1.as_ref().unwrap_err().contains("byte 2 of the line, 0xff"));
        assert_eq!(lines[3].1.as_deref(), Ok("c"));
        assert!(lines[4].1.is_ok(), "the longest that is taken");
    }
}

//! Texts of the framework, which quote their input whole.

use crate::words::text::excerpt;

/// A text of the framework's, which quotes its input whole, with only the beginning of what it quotes.
pub(in crate::http) fn shortened(text: &str) -> String {
    let (mut short, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(['"', '`']) {
        let (before, quoted) = rest.split_at(at + 1);
        short += before;
        let end = quoted.find(&rest[at..=at]).unwrap_or(quoted.len());
        short += &excerpt(&quoted[..end]);
        rest = &quoted[end..];
        if let Some(after) = rest.strip_prefix(['"', '`']) {
            short += &rest[..1];
            rest = after;
        }
    }
    short += rest;
    // The path to a field is not quoted. Input full of quotes or spaces is not cut before the whole is.
    let short = short.split(' ').map(excerpt).collect::<Vec<_>>().join(" ");
    match short.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &short[..end]),
        None => short,
    }
}

/// More characters of a framework's text are not shown.
const TEXT_CHARS_MAX: usize = 500;

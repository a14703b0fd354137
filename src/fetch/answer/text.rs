//! Text of a response, made clean once, before anything reads it: its charset, byte order mark, NUL and lone
//! surrogates.
//!
//! Postgres's jsonb stores neither NUL nor lone surrogates, and one such character would make it refuse a whole batch.

use encoding_rs::Encoding;
use memchr::memchr;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use std::borrow::Cow;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The body as UTF-8 without a byte order mark, and without escapes of characters that cannot be stored: each of these
/// becomes U+FFFD.
pub(crate) fn clean<'a>(body: &'a [u8], headers: &HeaderMap) -> Cow<'a, [u8]> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let declared = charset(headers).and_then(|charset| Encoding::for_label(charset.as_bytes()));
    // What is UTF-8 is taken for it: a JSON text always should be, whatever its header says.
    let text: Cow<'a, [u8]> = match (std::str::from_utf8(body), declared) {
        (Ok(_), _) => Cow::Borrowed(body),
        (Err(_), Some(declared)) => declared.decode(body).0.into_owned().into_bytes().into(),
        (Err(_), None) => String::from_utf8_lossy(body).into_owned().into_bytes().into(),
    };
    match storable(&text) {
        Some(changed) => Cow::Owned(changed),
        None => text,
    }
}

fn charset(headers: &HeaderMap) -> Option<String> {
    let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let charset = kind.split(';').skip(1).find_map(|part| part.trim().strip_prefix("charset="))?;
    Some(charset.trim_matches('"').to_owned())
}

/// The text with escapes that cannot be stored replaced; none if there are none.
fn storable(text: &[u8]) -> Option<Vec<u8>> {
    let mut changed: Option<Vec<u8>> = None;
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| memchr(b'\\', rest)) {
        at += found;
        let Some(code) = escape(text, at) else {
            // An escaped backslash is no start of an escape.
            at += 2;
            continue;
        };
        let is_pair = is_high(code) && escape(text, at + 6).is_some_and(is_low);
        if code == 0 || (!is_pair && (is_high(code) || is_low(code))) {
            changed.get_or_insert_with(|| text.to_vec())[at + 2..at + 6].copy_from_slice(b"fffd");
        }
        at += if is_pair { 12 } else { 6 };
    }
    changed
}

/// The number of the `\uXXXX` at this place.
fn escape(text: &[u8], at: usize) -> Option<u16> {
    let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn is_high(code: u16) -> bool {
    (0xD800..0xDC00).contains(&code)
}

fn is_low(code: u16) -> bool {
    (0xDC00..0xE000).contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(body: &[u8], kind: &'static str) -> String {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind.parse().unwrap())]);
        String::from_utf8(clean(body, &headers).into_owned()).unwrap()
    }

    #[test]
    fn marks_charsets_and_unstorable_characters_are_dealt_with() {
        let json = "application/json";
        assert_eq!(cleaned(b"\xEF\xBB\xBF{}", json), "{}");
        assert_eq!(cleaned(b"\"20 \xB0C\"", "text/json; charset=ISO-8859-1"), "\"20 °C\"");
        assert_eq!(cleaned(b"\"20 \xB0C\"", json), "\"20 \u{fffd}C\"");
        assert_eq!(cleaned(br#""a\u0000b""#, json), r#""a\ufffdb""#);
        assert_eq!(cleaned(br#""\ud83d\ude00 \ud83d x \ude00""#, json), r#""\ud83d\ude00 \ufffd x \ufffd""#);
        assert_eq!(cleaned(br#""\\u0000 \\\u0000""#, json), r#""\\u0000 \\\ufffd""#);
        assert_eq!(cleaned(br#""\u12"#, json), r#""\u12"#);
        assert!(matches!(clean(b"{}", &HeaderMap::new()), Cow::Borrowed(_)));
    }
}

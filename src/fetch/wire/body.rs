//! Reads a response's body, bounded both as received and as decompressed.
//!
//! gzip is requested and decompressed here, not by the HTTP client: a client that decompresses while reading shows only
//! the decompressed size.

use super::error_text::error_text;
use flate2::read::MultiGzDecoder;
use reqwest::Response;
use reqwest::header::{CONTENT_ENCODING, HeaderMap};
use std::io::Read;

const EXCERPT_CHARS: usize = 200;

/// A body, and the reason not to use it, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Body {
    /// As far as it was read and decompressed.
    pub(crate) bytes: Vec<u8>,
    /// Set if the body must not be parsed.
    pub(crate) error: Option<BodyError>,
}

/// Why a body must not be parsed.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// The connection failed before the end of the body.
    Lost(String),
    /// It arrived, but is too large or wrongly encoded.
    Invalid(String),
}

impl BodyError {
    /// Text for people.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Lost(reason) | Self::Invalid(reason) => reason,
        }
    }
}

/// Reads at most `bytes_max` from the network, and decompresses them to at most `bytes_max`.
pub(crate) async fn read(response: Response, bytes_max: usize) -> Body {
    let encoding = encoding(response.headers());
    let (bytes, error) = read_bytes(response, bytes_max).await;
    match (encoding, error) {
        (Ok(true), None) => decompress(&bytes, bytes_max),
        // The start of a compressed body is of no use in an excerpt.
        (Ok(true), error) => Body { bytes: Vec::new(), error },
        (Ok(false), error) => Body { bytes, error },
        (Err(invalid), error) => {
            Body { bytes: Vec::new(), error: error.or(Some(BodyError::Invalid(invalid))) }
        }
    }
}

async fn read_bytes(mut response: Response, bytes_max: usize) -> (Vec<u8>, Option<BodyError>) {
    let mut bytes = Vec::new();
    if response.content_length().is_some_and(|announced| announced > bytes_max as u64) {
        return (bytes, Some(too_large(bytes_max)));
    }
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() > bytes_max => {
                return (bytes, Some(too_large(bytes_max)));
            }
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return (bytes, None),
            Err(error) => return (bytes, Some(BodyError::Lost(error_text(error)))),
        }
    }
}

/// Whether the body is gzip. Any other coding is an error: it was not requested.
fn encoding(headers: &HeaderMap) -> Result<bool, String> {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    let (Some(coding), None) = (codings.next(), codings.next()) else {
        let many = headers.get_all(CONTENT_ENCODING).iter().count() > 1;
        return if many { Err("the response is encoded more than once".to_owned()) } else { Ok(false) };
    };
    let coding = String::from_utf8_lossy(coding.as_bytes()).trim().to_ascii_lowercase();
    match coding.as_str() {
        "gzip" | "x-gzip" => Ok(true),
        "" | "identity" => Ok(false),
        _ => Err(format!("the response is encoded as {coding:?}, which was not requested")),
    }
}

fn decompress(compressed: &[u8], bytes_max: usize) -> Body {
    let mut bytes = Vec::new();
    // A 304 has no body, whatever its Content-Encoding.
    if compressed.is_empty() {
        return Body::default();
    }
    let read = MultiGzDecoder::new(compressed).take(bytes_max as u64 + 1).read_to_end(&mut bytes);
    let error = match read {
        Err(error) => Some(BodyError::Invalid(format!(
            "the response is not valid gzip, although Content-Encoding says so: {error}"
        ))),
        Ok(n) if n > bytes_max => Some(too_large(bytes_max)),
        Ok(_) => None,
    };
    bytes.truncate(bytes_max);
    Body { bytes, error }
}

fn too_large(bytes_max: usize) -> BodyError {
    BodyError::Invalid(format!(
        "the response is larger than {bytes_max} bytes, the limit http.body_bytes_max of the definition"
    ))
}

/// The first characters of a body for logs: one line, printable.
pub(crate) fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(2 * EXCERPT_CHARS)]);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(EXCERPT_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn gzipped(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn invalid(body: Body) -> String {
        match body.error {
            Some(BodyError::Invalid(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn gzip_is_decompressed_up_to_the_limit() {
        let whole = decompress(&gzipped(b"[1,2]"), 5);
        assert!(whole.error.is_none());
        assert_eq!(whole.bytes, b"[1,2]");
        // Two members count as one.
        assert_eq!(decompress(&[gzipped(b"[1,"), gzipped(b"2]")].concat(), 5).bytes, b"[1,2]");
        assert_eq!(decompress(&gzipped(&[b'x'; 1_000_000]), 1_000).bytes.len(), 1_000);
        assert!(invalid(decompress(&gzipped(b"[1,2]"), 4)).contains("larger than 4 bytes"));
        let mut cut = gzipped(b"[1,2]");
        cut.truncate(cut.len() - 4);
        assert!(invalid(decompress(&cut, 5)).contains("not valid gzip"));
        assert!(invalid(decompress(b"[1,2]", 5)).contains("not valid gzip"));
        assert!(decompress(b"", 5).error.is_none());
    }

    #[test]
    fn unrequested_encoding_is_an_error() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_ENCODING, value.parse().unwrap());
            }
            encoding(&headers)
        };
        assert_eq!(of(&[]), Ok(false));
        assert_eq!(of(&["identity"]), Ok(false));
        assert_eq!(of(&["GZIP"]), Ok(true));
        assert!(of(&["br"]).unwrap_err().contains("\"br\""));
        assert!(of(&["gzip, gzip"]).is_err() && of(&["gzip", "gzip"]).is_err());
    }
}

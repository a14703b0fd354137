//! An answer's body, bounded as it comes over the wire and as it is unpacked.
//!
//! The client asks for gzip by itself and unpacks it here, since a client that unpacks while it reads shows only
//! what comes out of it.

use super::error_text::told;
use flate2::read::MultiGzDecoder;
use reqwest::Response;
use reqwest::header::{CONTENT_ENCODING, HeaderMap};
use std::io::Read;

/// Characters of an excerpt.
const EXCERPT_CHARS: usize = 200;

/// What came of a body, and what is wrong with it, if anything.
#[derive(Debug, Default)]
pub(crate) struct Body {
    /// As far as it was read and unpacked.
    pub(crate) bytes: Vec<u8>,
    /// Why it is not to be read as an answer.
    pub(crate) flaw: Option<Flaw>,
}

/// Why a body is not to be read.
#[derive(Debug)]
pub(crate) enum Flaw {
    /// It broke off.
    Lost(String),
    /// It came, and is not what was asked for.
    Unfit(String),
}

impl Flaw {
    /// What is wrong, for people.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Lost(reason) | Self::Unfit(reason) => reason,
        }
    }
}

/// Reads at most `bytes_max` from the wire, and unpacks them to at most as many.
pub(crate) async fn read(response: Response, bytes_max: usize) -> Body {
    let encoding = encoding(response.headers());
    let (bytes, flaw) = from_wire(response, bytes_max).await;
    match (encoding, flaw) {
        (Ok(true), None) => unpack(&bytes, bytes_max),
        // The beginning of what is packed tells nobody anything.
        (Ok(true), flaw) => Body { bytes: Vec::new(), flaw },
        (Ok(false), flaw) => Body { bytes, flaw },
        (Err(unfit), flaw) => Body { bytes: Vec::new(), flaw: flaw.or(Some(Flaw::Unfit(unfit))) },
    }
}

async fn from_wire(mut response: Response, bytes_max: usize) -> (Vec<u8>, Option<Flaw>) {
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
            Err(error) => return (bytes, Some(Flaw::Lost(told(error)))),
        }
    }
}

/// Whether it is gzip; an error for any other coding, since none was asked for.
fn encoding(headers: &HeaderMap) -> Result<bool, String> {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    let (Some(coding), None) = (codings.next(), codings.next()) else {
        let many = headers.get_all(CONTENT_ENCODING).iter().count() > 1;
        return if many { Err("the answer is encoded more than once".to_owned()) } else { Ok(false) };
    };
    let coding = String::from_utf8_lossy(coding.as_bytes()).trim().to_ascii_lowercase();
    match coding.as_str() {
        "gzip" | "x-gzip" => Ok(true),
        "" | "identity" => Ok(false),
        _ => Err(format!("the answer is encoded as {coding:?}, which was not asked for")),
    }
}

fn unpack(packed: &[u8], bytes_max: usize) -> Body {
    let mut bytes = Vec::new();
    // As of a 304: nothing is packed there.
    if packed.is_empty() {
        return Body::default();
    }
    let read = MultiGzDecoder::new(packed).take(bytes_max as u64 + 1).read_to_end(&mut bytes);
    let flaw = match read {
        Err(error) => Some(Flaw::Unfit(format!("the answer is not gzip, as it says: {error}"))),
        Ok(n) if n > bytes_max => Some(too_large(bytes_max)),
        Ok(_) => None,
    };
    bytes.truncate(bytes_max);
    Body { bytes, flaw }
}

fn too_large(bytes_max: usize) -> Flaw {
    Flaw::Unfit(format!("the answer is larger than {bytes_max} bytes"))
}

/// The beginning of a body, fit for a log: one line, printable.
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

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn unfit(body: Body) -> String {
        match body.flaw {
            Some(Flaw::Unfit(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_packed_is_unpacked_up_to_the_cap() {
        let whole = unpack(&packed(b"[1,2]"), 5);
        assert!(whole.flaw.is_none());
        assert_eq!(whole.bytes, b"[1,2]");
        // Two members count as one.
        assert_eq!(unpack(&[packed(b"[1,"), packed(b"2]")].concat(), 5).bytes, b"[1,2]");
        assert_eq!(unpack(&packed(&[b'x'; 1_000_000]), 1_000).bytes.len(), 1_000);
        assert!(unfit(unpack(&packed(b"[1,2]"), 4)).contains("larger than 4 bytes"));
        let mut cut = packed(b"[1,2]");
        cut.truncate(cut.len() - 4);
        assert!(unfit(unpack(&cut, 5)).contains("not gzip"));
        assert!(unfit(unpack(b"[1,2]", 5)).contains("not gzip"));
        assert!(unpack(b"", 5).flaw.is_none());
    }

    #[test]
    fn an_encoding_that_nobody_asked_for_is_told() {
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

//! Answers with an entity tag, so that a client that has the same already gets 304 and no body.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// `body`, or 304 if the client's tag is that of `same`: of what two answers have in common that say the same. The tag
/// is weak, because ages go on while nothing else changes.
pub(super) fn tagged(request: &HeaderMap, same: &impl Serialize, body: &impl Serialize) -> Response {
    let tag = format!("W/\"{}\"", URL_SAFE_NO_PAD.encode(&Sha256::digest(json(same))[..12]));
    let mut response = if has(request, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, "application/json")], json(body)).into_response()
    };
    // The tag is ASCII.
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // What the API answers has text as keys and finite numbers, so it always serialises.
    serde_json::to_vec(value).unwrap_or_default()
}

/// Whether `If-None-Match` has the tag, compared weakly (RFC 9110, 13.1.2).
fn has(request: &HeaderMap, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let listed = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    listed.flat_map(|value| value.split(',')).any(|one| one.trim() == "*" || opaque(one) == opaque(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_content_is_not_sent_again() {
        let answer = |tags: &[&str], same: &str| {
            let mut request = HeaderMap::new();
            for tag in tags {
                request.append(header::IF_NONE_MATCH, tag.parse().unwrap());
            }
            let response = tagged(&request, &same, &"body");
            (response.status(), response.headers()[header::ETAG].to_str().unwrap().to_owned())
        };
        let (status, tag) = answer(&[], "a");
        assert_eq!(status, StatusCode::OK);
        let strong = tag.trim_start_matches("W/").to_owned();
        let two = format!("\"x\", {tag}");
        for tags in [&[tag.as_str()][..], &[&strong], &[&two], &["\"x\"", &tag], &["*"]] {
            assert_eq!(answer(tags, "a"), (StatusCode::NOT_MODIFIED, tag.clone()), "{tags:?}");
        }
        for tags in [&["\"x\""][..], &["", "W/"], &[]] {
            assert_eq!(answer(tags, "a").0, StatusCode::OK, "{tags:?}");
        }
        assert_eq!(answer(&[&tag], "b").0, StatusCode::OK);
    }
}

//! `If-Match`: a change of what was read, and of nothing newer (RFC 9110, 13.1.1).

use crate::change::Precondition;
use crate::http::error::ApiError;
use crate::words::text::excerpt;
use axum::http::{HeaderMap, header};

/// What the request requires of the job; none if it has no `If-Match`.
pub(super) fn read(headers: &HeaderMap) -> Result<Option<Precondition>, ApiError> {
    let mut versions = Vec::new();
    for value in headers.get_all(header::IF_MATCH) {
        let text = value.to_str().unwrap_or_default();
        for tag in text.split(',').map(str::trim) {
            if tag == "*" {
                return Ok(Some(Precondition::Exists));
            }
            let version = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).map(str::parse);
            match version {
                Some(Ok(version)) => versions.push(version),
                // Another server's tag, or a weak one: it matches no job.
                Some(Err(_)) => {}
                None if tag.starts_with("W/") => {}
                None => {
                    let tag = excerpt(tag);
                    return Err(ApiError::BadQuery(format!(
                        "If-Match holds {tag:?}: it takes the ETag of the job in double quotes, or *"
                    )));
                }
            }
        }
    }
    let has_any = headers.contains_key(header::IF_MATCH);
    Ok(has_any.then_some(Precondition::Versions(versions)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preconditions_are_read_from_all_forms() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::IF_MATCH, value.parse().unwrap());
            }
            super::read(&headers)
        };
        let versions = |versions: &[i64]| Some(Precondition::Versions(versions.to_vec()));
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&["*"]).unwrap(), Some(Precondition::Exists));
        assert_eq!(read(&["\"3\""]).unwrap(), versions(&[3]));
        assert_eq!(read(&["\"3\", \"4\"", "\"5\""]).unwrap(), versions(&[3, 4, 5]));
        assert_eq!(read(&["W/\"3\""]).unwrap(), versions(&[]));
        assert_eq!(read(&["\"x\""]).unwrap(), versions(&[]));
        assert!(read(&["3"]).is_err());
    }
}

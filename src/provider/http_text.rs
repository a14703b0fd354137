//! Checks of hosts and headers by the syntax of HTTP.

/// The error of a pattern that is neither a host nor `*.` and a domain.
pub(crate) fn check_host(pattern: &str) -> Option<String> {
    let host = pattern.strip_prefix("*.").unwrap_or(pattern);
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let is_host = !host.is_empty() && host.bytes().all(fits) && !host.starts_with('.');
    (!is_host).then(|| {
        format!(
            "http.hosts {pattern:?} is not a host: write api.example.com, or *.example.com for all of a domain"
        )
    })
}

/// Whether a host is the pattern's, or below it.
pub(crate) fn host_matches(host: &str, pattern: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(domain) => host.strip_suffix(domain).is_some_and(|own| own.len() > 1 && own.ends_with('.')),
        None => host == pattern,
    }
}

/// The error of a header name that is no token (RFC 9110, 5.6.2), or of a value with control characters.
pub(crate) fn check_header(name: &str, value: &str) -> Option<String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(fits) {
        return Some(format!("{name:?} is not a header name: use letters, digits and '-', as in X-Api-Key"));
    }
    let breaks = value.chars().any(|c| c.is_control() && c != '\t');
    breaks.then(|| format!("the value of header {name} contains a control character: remove it"))
}

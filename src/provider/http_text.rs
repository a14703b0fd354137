//! Hosts and headers as HTTP has them.

/// A host as a URL has it, or `*.` and the domain of several.
pub(crate) fn check_host(pattern: &str) -> Option<String> {
    let host = pattern.strip_prefix("*.").unwrap_or(pattern);
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let is_host = !host.is_empty() && host.bytes().all(fits) && !host.starts_with('.');
    (!is_host).then(|| {
        format!(
            "http.hosts {pattern:?} is no host: write api.example.com, or *.example.com for all of a domain"
        )
    })
}

/// A name as RFC 9110, 5.6.2 has it, and a value that stands on one line.
pub(crate) fn check_header(name: &str, value: &str) -> Option<String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(fits) {
        return Some(format!("{name:?} is no header's name: letters, digits and '-', as in X-Api-Key"));
    }
    let breaks = value.chars().any(|c| c.is_control() && c != '\t');
    breaks.then(|| format!("the value of header {name} may hold no line break nor other control character"))
}

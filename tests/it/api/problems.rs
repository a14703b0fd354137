//! The types of problems, as they are documented.

use super::*;
use regex::Regex;
use std::collections::BTreeSet;

#[test]
fn every_type_of_problem_is_documented() {
    let source = include_str!("../../../src/http/error/kind.rs");
    let kind = Regex::new(r#"S::([A-Z_]+),\s*"([a-z-]+)",\s*"([^"]+)""#).unwrap();
    let made: BTreeSet<_> = kind
        .captures_iter(source)
        .map(|found| (found[2].to_owned(), found[3].to_owned(), found[1].to_owned()))
        .collect();
    let row = Regex::new(r"(?m)^\| `([a-z-]+)` \| (\d+) \| ([^|]+) \| [^|]+ \|$").unwrap();
    let documented: BTreeSet<_> = row
        .captures_iter(include_str!("../../../docs/problems.md"))
        .map(|found| {
            let status = StatusCode::from_bytes(found[2].as_bytes()).unwrap();
            let name = status.canonical_reason().unwrap().to_uppercase().replace([' ', '-'], "_");
            (found[1].to_owned(), found[3].to_owned(), name)
        })
        .collect();
    assert!(made.len() > 50, "{}", made.len());
    assert_eq!(documented, made);
}

//! Runs the fuzz targets on the responses of the shipped cases, and on random changes of them.

#[path = "../../fuzz/targets.rs"]
mod targets;

use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use targets::{TARGETS, seeds};

static SEEDS: LazyLock<BTreeMap<&str, Vec<Vec<u8>>>> = LazyLock::new(seeds);

/// Texts that break parsers.
const TOKENS: &[&str] = &[
    "",
    "\0",
    "\n",
    ":",
    ",",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "{",
    "[",
    "]}",
    "null",
    "NaN",
    "-0",
    "1e999",
    "-1",
    "9223372036854775808",
    "18446744073709551616",
    "1e-400",
    "0.0000001",
    "\u{feff}",
    "é",
    "\u{202e}",
    "true",
    ";r=0",
    "\"s3cret/with \\\"signs\\\"\"",
    "9999-12-31T23:59:60Z",
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "253402300800000",
];

/// A change to a text: position, number of bytes to remove, token to insert, and the kind of change.
type Change = (Index, usize, Index, u8);

fn changed(mut text: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for (place, bytes, token, kind) in changes {
        let at = place.index(text.len() + 1);
        let end = (at + bytes).min(text.len());
        match kind % 4 {
            0 => text.truncate(at),
            1 => drop(text.splice(at..end, [*kind])),
            2 => {
                let again = text[at..end].repeat(2);
                drop(text.splice(at..end, again));
            }
            _ => drop(text.splice(at..end, TOKENS[token.index(TOKENS.len())].bytes())),
        }
    }
    text
}

#[test]
fn responses_of_cases_pass_every_target() {
    for (name, target) in TARGETS {
        let seeds = &SEEDS[name];
        assert!(seeds.len() > 20, "{name}: {}", seeds.len());
        seeds.iter().for_each(|seed| target(seed));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn randomly_changed_responses_pass_every_target(
        seed in any::<Index>(),
        changes in prop::collection::vec((any::<Index>(), 0..12_usize, any::<Index>(), any::<u8>()), 1..6),
    ) {
        for (name, target) in TARGETS {
            let all = &SEEDS[name];
            target(&changed(all[seed.index(all.len())].clone(), &changes));
        }
    }
}

/// Writes the initial corpus for `scripts/fuzz`: one file per seed.
#[test]
fn seeds_are_written_to_the_requested_folder() {
    let Some(folder) = std::env::var_os("PACELINE_FUZZ_CORPUS") else { return };
    for (name, all) in &*SEEDS {
        let folder = std::path::Path::new(&folder).join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for (n, seed) in all.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{n:03}")), seed).unwrap();
        }
    }
}

//! Parses a file's text into a checked definition, or into errors that name file, line and the key that was meant.

use super::check::check;
use super::repair::{self, Parsed};
use crate::provider::definition::Definition;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ops::Range;
use std::path::PathBuf;

/// One error in a definition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("{file}:{line}: {message}")]
pub struct DefinitionError {
    /// The file, as the caller named it.
    pub file: String,
    /// The line number, from 1.
    pub line: usize,
    /// The error, and what was probably meant.
    pub message: String,
}

/// Why the providers could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The directory or a file in it cannot be read.
    #[error(
        "cannot read {path}: {source}; set providers.dir to the directory of your provider files",
        path = path.display()
    )]
    Unreadable {
        /// The path that was read.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file name is not a provider name.
    #[error("{path}: {source}", path = path.display())]
    BadName {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: crate::words::NameError,
    },
    /// Files have errors: all of them.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Refused(Vec<DefinitionError>),
}

/// Parses and checks one definition. `file` is how errors name it.
pub fn parse(file: &str, text: &str) -> Result<Definition, Vec<DefinitionError>> {
    let Parsed { value, mut wrong } = repair::read::<Definition>(text);
    wrong.extend(value.iter().flat_map(check));
    match value {
        Some(mut definition) if wrong.is_empty() => {
            for (name, resource) in &mut definition.resources {
                if let Some(probe) = &mut resource.get_mut().probe {
                    probe.named(name.get_ref());
                }
            }
            let mut quotas = std::mem::take(&mut definition.quotas);
            let calls = || definition.calls().map(|(name, call)| (name, call.get_ref()));
            quotas.iter_mut().for_each(|quota| quota.get_mut().make_room(calls()));
            definition.quotas = quotas;
            Ok(definition)
        }
        _ => Err(errors(file, text, wrong)),
    }
}

/// Parses another document of a definition, with errors of the same kind.
pub fn read_document<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Vec<DefinitionError>> {
    match repair::read::<T>(text) {
        Parsed { value: Some(value), wrong } if wrong.is_empty() => Ok(value),
        Parsed { wrong, .. } => Err(errors(file, text, wrong)),
    }
}

/// Adds line numbers, and sorts by line.
fn errors(file: &str, text: &str, wrong: Vec<(Range<usize>, String)>) -> Vec<DefinitionError> {
    let error = |(span, message): (Range<usize>, String)| DefinitionError {
        file: file.to_owned(),
        line: line_of(text, span.start),
        message,
    };
    let mut errors: Vec<_> = wrong.into_iter().map(error).collect();
    errors.sort_by_key(|error| error.line);
    errors
}

pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|b| *b == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{Limit, Quota};
    use crate::words::QuotaInputs;

    const GOOD: &str = r#"title = "Good"
[http]
base_url = "https://api.example.com"
[[quota]]
name = "minute"
scope = "connection"
amount = 60
window = "1m"
[resource.state]
interval_min = "10s"
interval_default = "1m"
path = "/devices/{{ device.external_id }}"
records = "."
"#;

    #[test]
    fn valid_file_loads() {
        assert_eq!(parse("good.toml", GOOD).unwrap().title, "Good");
    }

    #[test]
    fn typo_is_refused_with_file_line_and_a_suggestion() {
        let errors = parse("typo.toml", &GOOD.replace("amount", "ammount")).unwrap_err();
        let text = errors[0].to_string();
        assert!(text.starts_with("typo.toml:7: "), "{text}");
        assert!(text.contains("did you mean `amount`?"), "{text}");
    }

    #[test]
    fn impossible_quotas_are_refused_with_their_line() {
        for (from, to, says) in [
            ("amount = 60", "amount = 0", "amount"),
            ("amount = 60", "amount = 60\nburst = 61", "burst"),
            ("amount = 60", "amount = 60\nburst = 0", "burst"),
            ("amount = 60", "amount = 60\nheadroom = 1.0", "headroom"),
            ("amount = 60", "amount = 60\nreserve = 1.0", "reserve"),
            ("amount = 60", "amount = 60\nreserve = -0.1", "reserve"),
            ("amount = 60", "amount = 60\nzone = \"Mars/Olympus\"", "IANA"),
            ("amount = 60", "amount = 60\nzone = \"Europe/Paris\"", "zone does not apply"),
            ("amount = 60", "amount = 60\nfloor = 2", "floor does not apply"),
            ("amount = 60", "amount = 60\nkind = \"leaky\"", "leaky"),
            ("amount = 60", "amount = 60\nkind = \"aligned\"", "minute, hour, day or month"),
            ("amount = 60", "amount = 60\nkind = \"concurrent\"", "no window"),
            ("amount = 60", "amount = 60\nkind = \"errors\"\nreserve = 0.5", "reserve does not apply"),
            ("amount = 60", "amount = 60\nkind = \"adaptive\"\nfloor = 61", "floor"),
            ("amount = 60", "amount = 60\nkind = \"adaptive\"\nstart = 61", "start"),
            ("window = \"1m\"", "window = \"day\"", "aligned"),
            ("window = \"1m\"", "", "needs a window"),
            (
                "amount = 60\nwindow = \"1m\"",
                "kind = \"aligned\"\namount = 1\nreserve = 0.5\nwindow = \"day\"",
                "nothing of 1",
            ),
            (
                "[resource.state]",
                "[[quota]]\nname = \"minute\"\nscope = \"app\"\namount = 1\nwindow = \"1s\"\n[resource.state]",
                "twice",
            ),
            ("window = \"1m\"", "window = \"0s\"", "0s"),
            ("amount = 60", "amount = 60\nresources = [\"energy\"]", "energy"),
            ("interval_min = \"10s\"", "interval_min = \"10s\"\ncost = 2", "burst"),
        ] {
            let errors = parse("q.toml", &GOOD.replace(from, to)).expect_err(to);
            assert!(errors[0].message.contains(says), "{to}: {}", errors[0]);
            assert!(errors[0].line >= 4, "{to}: {}", errors[0]);
        }
    }

    #[test]
    fn wrong_amounts_by_plan_or_device_are_refused_with_a_remedy() {
        let plan = "[param.plan]\nabout = \"the plan\"\ndefault = \"free\"\n[[quota]]";
        let by_plan = "amount = { free = 60, paid = 90 }";
        for (amount, param, says) in [
            ("amount = \"60\"", "[[quota]]", "a whole number, or one per plan such as"),
            ("amount = -1", "[[quota]]", "-1 is not from 0 to"),
            ("amount = { free = \"60\" }", plan, "expected u32"),
            ("amount = {}", plan, "amount of 0"),
            ("amount = { free = 0, paid = 1 }", plan, "amount of 0"),
            ("amount = { \"free plan\" = 60 }", plan, "a plan's name may contain"),
            (by_plan, "[[quota]]", "need a [param.plan]"),
            ("amount = { paid = 60, gold = 90 }", plan, "\"free\", is not one of its plans"),
            ("amount = { free = 3, paid = 90 }\nburst = 4", plan, "from 1 to its amount, 3"),
            (&format!("kind = \"adaptive\"\n{by_plan}"), plan, "by plan or by device does not apply"),
            ("amount = 60\nper_devices = 10", "[[quota]]", "set amount_per_device too"),
            ("amount = 60\namount_per_device = 1\nper_devices = 0", "[[quota]]", "at least 1"),
            (
                &format!(
                    "{by_plan}\nwindow = \"1m\"\n[[quota]]\nname = \"b\"\nscope = \"group\"\namount = {{ gold = 1 }}"
                ),
                plan,
                "no amount for plan gold",
            ),
        ] {
            let text = GOOD.replacen("[[quota]]", param, 1).replace("amount = 60", amount);
            let errors = parse("q.toml", &text).expect_err(amount);
            assert!(errors.iter().any(|error| error.message.contains(says)), "{amount}: {errors:#?}");
        }
        let of_app = GOOD.replace("scope = \"connection\"", "scope = \"app\"").replace("[[quota]]", plan);
        let errors = parse("q.toml", &of_app.replace("amount = 60", by_plan)).unwrap_err();
        assert!(errors[0].message.contains("counts the app"), "{errors:#?}");
        let errors = parse("q.toml", &of_app.replace("amount = 60", "amount = 60\namount_per_device = 2"))
            .unwrap_err();
        assert!(errors[0].message.contains("scope = \"connection\""), "{errors:#?}");
    }

    #[test]
    fn amount_adds_up_plan_and_devices() {
        let amounts = |amount: &str, plan: &str, devices: &[u32]| -> Vec<u32> {
            let text = format!("name = \"day\"\nscope = \"connection\"\nwindow = \"1day\"\n{amount}");
            let quota: Quota = toml::from_str(&text).unwrap();
            let inputs = |devices: &u32| QuotaInputs { plan: plan.to_owned(), devices: *devices };
            devices.iter().map(|devices| quota.amount_for(&inputs(devices))).collect()
        };
        // As VeSync has it, and FusionSolar.
        let vesync = "amount = 3200\namount_per_device = 1500";
        assert_eq!(amounts(vesync, "", &[0, 1, 12]), [3_200, 4_700, 21_200]);
        let fusion_solar = "amount = 24\namount_per_device = 1\nper_devices = 10";
        assert_eq!(amounts(fusion_solar, "", &[0, 1, 10, 11, 95]), [24, 25, 25, 26, 34]);
        let both = "amount = { free = 10, paid = 100 }\namount_per_device = 1";
        assert_eq!(amounts(both, "paid", &[0, 5]), [100, 105]);
        assert_eq!(amounts(both, "retired", &[0, 5]), [10, 15]);
        assert_eq!(amounts(vesync, "", &[u32::MAX]), [u32::MAX]);
        let quota: Quota =
            toml::from_str(&format!("name = \"d\"\nscope = \"connection\"\n{vesync}")).unwrap();
        assert!(quota.may_allow(3_200.0) && quota.may_allow(6_200.0) && !quota.may_allow(6_000.0));
        assert!(!quota.may_allow(1_700.0) && !quota.may_allow(f64::NAN));
    }

    #[test]
    fn every_kind_of_quota_loads() {
        for text in [
            "kind = \"aligned\"\namount = 60\nwindow = \"day\"\nzone = \"Europe/Paris\"\nburst = 5\nreserve = 0.1",
            "kind = \"concurrent\"\namount = 3\nreserve = 0.5",
            "kind = \"errors\"\namount = 9\nwindow = \"10m\"",
            "kind = \"adaptive\"\namount = 60\nwindow = \"1m\"\nstart = 6\nfloor = 2\nerrors_cost = false",
            "amount = 60\nwindow = \"1m\"\nforgives_ms = 100\nreserve = 0.9",
        ] {
            let text = GOOD.replace("amount = 60\nwindow = \"1m\"", text);
            assert!(parse("kinds.toml", &text).is_ok(), "{text}: {:?}", parse("kinds.toml", &text));
        }
    }

    #[test]
    fn all_errors_of_a_file_are_reported_together() {
        let text = GOOD.replace("amount = 60", "amount = 0\nheadroom = 2.0");
        assert_eq!(parse("two.toml", &text).unwrap_err().len(), 2);
    }

    #[test]
    fn parsing_continues_after_an_error() {
        let text = GOOD
            .replace("title", "titel")
            .replace("amount = 60", "ammount = 0")
            .replace("interval_min = \"10s\"", "interval_min = \"10\"")
            .replace("records", "recods = \".\"\nnonsense = 1\nrecords");
        let errors: Vec<_> = parse("many.toml", &text).unwrap_err().iter().map(ToString::to_string).collect();
        let says = [
            (1, "did you mean `title`"),
            (7, "did you mean `amount`"),
            (10, "\"10\" is not an interval"),
            (13, "did you mean `records`"),
            (14, "unknown field `nonsense`"),
        ];
        assert_eq!(errors.len(), says.len(), "{errors:#?}");
        for (error, (line, says)) in errors.iter().zip(says) {
            assert!(error.starts_with(&format!("many.toml:{line}: ")) && error.contains(says), "{error}");
        }
    }

    #[test]
    fn missing_key_is_reported_once_beside_other_errors() {
        let text = GOOD.replace("window = \"1m\"", "").replace("scope = \"connection\"", "");
        let text = text.replace("interval_min", "intervall_min") + "[[quota]]\nname = \"x\"\n";
        let errors: Vec<_> = parse("m.toml", &text).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(errors.len(), 3, "{errors:#?}");
        assert!(errors[0].contains("`scope`") && errors[1].contains("`interval_min`"), "{errors:#?}");
        assert!(errors[2].contains("missing field `scope`"), "{errors:#?}");
    }

    #[test]
    fn quotas_are_spaced_further_for_late_pages() {
        let emission = |pages: &str| {
            let text =
                GOOD.replace("records = \".\"", &format!("records = \".\"\nunit = \"connection\"\n{pages}"));
            let text = text.replace("amount = 60", "amount = 60\nburst = 6\nheadroom = 0.0");
            let definition = parse("pages.toml", &text).unwrap();
            match definition.quotas[0].get_ref().limits().0 {
                Limit::Sliding { emission_ms, burst: 6 } => emission_ms,
                other => panic!("{other:?}"),
            }
        };
        let paged = "pages = { by = \"link\", max = 6, within = \"5s\" }";
        assert!((emission("") - 60_000.0 / 55.0).abs() < 1e-6);
        assert!((emission(paged) - 65_000.0 / 55.0).abs() < 1e-6);
    }
}

//! Rows as JSON objects, one per line.

use super::row::{Row, RowJob};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    external_id: String,
    name: Option<String>,
    group: Option<String>,
    jobs: Option<BTreeMap<String, Job>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Job {
    interval: Option<String>,
    priority: Option<String>,
}

pub(super) fn row(line: &str) -> Result<Row, String> {
    // The caller adds the line number.
    let line: Line =
        serde_json::from_str(line).map_err(|e| e.to_string().replace(" at line 1 column", " at column"))?;
    let job = |(resource, job): (String, Job)| RowJob {
        resource: Some(resource),
        interval: job.interval,
        priority: job.priority,
    };
    Ok(Row {
        external_id: line.external_id,
        name: line.name.unwrap_or_default(),
        group: line.group.unwrap_or_default(),
        jobs: line.jobs.unwrap_or_default().into_iter().map(job).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_id_is_required() {
        assert_eq!(row(r#"{"external_id":"a"}"#).unwrap().external_id, "a");
        let full =
            r#"{"external_id":"a","name":"A","group":null,"jobs":{"state":{"interval":"30s"},"energy":{}}}"#;
        let full = row(full).unwrap();
        assert_eq!(full.jobs[1].interval.as_deref(), Some("30s"));
        assert_eq!(full.jobs[0].resource.as_deref(), Some("energy"));
    }

    #[test]
    fn bad_rows_are_refused_with_the_reason() {
        for (line, says) in [
            (
                r#"{"external_id":"a","intervall":"1s"}"#,
                "unknown field `intervall`, expected one of `external_id`",
            ),
            (r#"{"external_id":"a","jobs":{"state":{"every":"1s"}}}"#, "unknown field `every`"),
            (r#"{"name":"a"}"#, "missing field `external_id`"),
            (r#"{"external_id":7}"#, "expected a string at column"),
            (r#"{"external_id":"a""#, "EOF"),
            ("[", "EOF"),
        ] {
            let refusal = row(line).unwrap_err();
            assert!(refusal.contains(says) && !refusal.contains("at line"), "{line}: {refusal}");
        }
    }
}

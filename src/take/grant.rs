//! What `take.lua` returns.

use crate::words::{CallId, JobId, ResourceName, UnixMs};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// Permission for one call at a given instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// Its number, and its fence.
    pub call: CallId,
    /// The lane it is for.
    pub lane: String,
    /// The resource it fetches.
    pub resource: ResourceName,
    /// From the script's run to the instant at which it may be sent.
    pub send_in_ms: f64,
    /// The jobs it serves.
    pub jobs: Vec<GrantedJob>,
}

/// One job of a granted call.
#[derive(Debug, Clone, PartialEq)]
pub struct GrantedJob {
    /// The job.
    pub id: JobId,
    /// When it was due.
    pub due: UnixMs,
    /// How often it failed in a row, in the same way.
    pub attempts: u32,
    /// In which way: see [`FailureKind`](super::FailureKind); 0 for none.
    pub kind: u8,
    /// The version of the preference that the schedule has.
    pub version: i64,
}

/// A lane that must wait, for what, and until when.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Bound {
    /// The lane; empty for all of them.
    pub lane: String,
    /// The quota's name, or `hold: ` and its reason.
    pub by: String,
    /// When it allows a call, ms since the epoch; negative: not before a call ends.
    pub until_ms: f64,
}

/// What one take found.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Taken {
    /// False: the schedule was not built on this run of the server, and nothing is granted until it is.
    pub live: bool,
    /// The schedule's clock as the script ran.
    pub now: UnixMs,
    /// How much later than the tolerance calls may be sent, ms.
    pub late_ms: f64,
    /// When to ask again if nothing else happens, ms from `now`; negative: not before something is put or a call ends.
    pub wake_in_ms: f64,
    /// Calls whose worker was lost.
    pub reaped: u32,
    /// What may be sent.
    pub grants: Vec<Grant>,
    /// Lanes that must wait.
    pub bound: Vec<Bound>,
    /// Jobs that were set aside because their records cannot be read.
    #[serde(deserialize_with = "job_ids")]
    pub corrupt: Vec<JobId>,
    /// How long the script ran, ms.
    pub script_ms: f64,
}

/// A row: the call's four values, then five per job. Tables are expensive for scripts, which keep ids as text.
impl<'de> Deserialize<'de> for Grant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Row;
        impl<'de> Visitor<'de> for Row {
            type Value = Grant;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "number, lane, resource, instant; id, due, attempts, kind and version of each job",
                )
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut row: A) -> Result<Grant, A::Error> {
                let mut grant = Grant {
                    call: next(&mut row)?,
                    lane: next(&mut row)?,
                    resource: next(&mut row)?,
                    send_in_ms: next(&mut row)?,
                    jobs: Vec::with_capacity(row.size_hint().unwrap_or(0) / 5),
                };
                while let Some(id) = row.next_element::<&str>()? {
                    grant.jobs.push(GrantedJob {
                        id: id.parse().map_err(serde::de::Error::custom)?,
                        due: next(&mut row)?,
                        attempts: next(&mut row)?,
                        kind: next(&mut row)?,
                        version: next(&mut row)?,
                    });
                }
                Ok(grant)
            }
        }
        deserializer.deserialize_seq(Row)
    }
}

fn next<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(row: &mut A) -> Result<T, A::Error> {
    row.next_element()?.ok_or_else(|| serde::de::Error::custom("a call is cut off"))
}

/// An id that is no number is not Paceline's: there is no job to be repaired.
fn job_ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<JobId>, D::Error> {
    let texts: Vec<String> = Deserialize::deserialize(deserializer)?;
    Ok(texts.iter().filter_map(|text| text.parse().ok()).collect())
}

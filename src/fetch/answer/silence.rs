//! Devices that a provider still tells of although they have fallen silent.

use crate::fetch::CallResult;
use crate::provider::Resource;
use crate::words::{Outcome, Record, UnixMs};

/// Marks as offline what was observed longer ago than the resource's `offline_after`. What is unchanged is judged by
/// its stored observation, as it is recorded.
pub(crate) fn mark_silent(resource: &Resource, result: &mut CallResult, now: UnixMs) {
    let Some(after) = resource.offline_after else { return };
    let is_silent =
        |record: &Record| record.observed_at.is_some_and(|at| now.since_ms(at) > after.as_ms().cast_signed());
    let fresh = result.outcomes.iter_mut().filter_map(|(_, outcome)| match outcome {
        Outcome::Fresh(record) => Some(record),
        _ => None,
    });
    for record in fresh.chain(&mut result.others).filter(|record| is_silent(record)) {
        record.online = false;
    }
}

//! Devices that a provider still tells of although they have fallen silent.

use super::elements::Element;
use crate::provider::Resource;
use crate::words::UnixMs;

/// The elements, of which those observed longer ago than the resource's `offline_after` are offline. What is unchanged,
/// and what has no data, is judged by its stored observation, as it is recorded.
pub(crate) fn silent_marked(resource: &Resource, mut elements: Vec<Element>, now: UnixMs) -> Vec<Element> {
    let Some(after) = resource.offline_after else { return elements };
    for element in &mut elements {
        if let Element::Read(record, _) = element
            && record.observed_at.is_some_and(|at| now.since_ms(at) > after.as_ms().cast_signed())
        {
            record.online = false;
        }
    }
    elements
}

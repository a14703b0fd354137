//! A device in a provider's device list.

use super::ResourceName;
use serde::Serialize;

/// One device of a provider's device list, after mapping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedDevice {
    /// The provider's id.
    pub external_id: String,
    /// The name; empty for none.
    pub name: String,
    /// The group (home or site); empty for none.
    pub group: String,
    /// The model; empty if unknown.
    pub model: String,
    /// The resources it has; none: the definition's default resources.
    pub resources: Option<Vec<ResourceName>>,
}

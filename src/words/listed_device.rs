//! What a provider's list of a connection's devices says of one.

use super::ResourceName;
use serde::Serialize;

/// One device of the list, mapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedDevice {
    /// The provider's id of it.
    pub external_id: String,
    /// What it is called there; empty for nothing.
    pub name: String,
    /// Its home or site; empty for none.
    pub group: String,
    /// What kind of device it is; empty where that is not told.
    pub model: String,
    /// What can be fetched of it; none: what a device gets by default.
    pub resources: Option<Vec<ResourceName>>,
}

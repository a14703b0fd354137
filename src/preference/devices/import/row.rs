//! A row of a file of either format.

/// A row as written; `None` and empty both mean absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// The provider's id of the device.
    pub external_id: String,
    /// Its label.
    pub name: String,
    /// Its group, such as a home.
    pub group: String,
    /// Its jobs.
    pub jobs: Vec<RowJob>,
}

/// A resource of a row; at least one field is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowJob {
    /// The connection.
    pub resource: Option<String>,
    /// The interval.
    pub interval: Option<String>,
    /// The priority.
    pub priority: Option<String>,
}

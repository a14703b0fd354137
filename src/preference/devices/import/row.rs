//! A row of a file, whatever the format.

/// A row as it was written; `None` and empty are the same: not said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// The provider's id of the device.
    pub external_id: String,
    /// What its owner calls it.
    pub name: String,
    /// Its home or site.
    pub group: String,
    /// What is wanted of it.
    pub jobs: Vec<RowJob>,
}

/// One resource of a row; never all empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowJob {
    /// Which.
    pub resource: Option<String>,
    /// How often.
    pub interval: Option<String>,
    /// How much it matters.
    pub priority: Option<String>,
}

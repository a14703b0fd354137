//! What a key may do.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The roles of API keys. Each includes the permissions of the one before.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A dashboard backend: reads its tenant's devices.
    Reader,
    /// A user: also sets preferences and manages connections.
    User,
    /// Runs the deployment: also sees the lag of every tenant.
    Operator,
}

impl Role {
    /// The name as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::User => "user",
            Self::Operator => "operator",
        }
    }

    /// The role with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Reader, Self::User, Self::Operator].into_iter().find(|r| r.as_str() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

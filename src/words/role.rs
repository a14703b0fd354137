//! What a key may do.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The three people who use Paceline. Each may do what those before it may.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A dashboard's backend: reads its tenant's devices.
    Reader,
    /// An owner: sets preferences too.
    User,
    /// Runs the deployment: sees every provider's lag too.
    Operator,
}

impl Role {
    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::User => "user",
            Self::Operator => "operator",
        }
    }

    /// The role of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Reader, Self::User, Self::Operator].into_iter().find(|r| r.as_str() == word)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

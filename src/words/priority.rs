//! How important a job is to its owner.

use super::text::excerpt;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The five classes a user can choose. Postgres and Redis store the number.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Priority {
    /// Watched right now.
    Realtime = 1,
    /// More important than most.
    High = 2,
    /// The default.
    #[default]
    Normal = 3,
    /// May wait.
    Low = 4,
    /// Only when there is spare quota.
    Background = 5,
}

impl Priority {
    /// All of them, most urgent first.
    pub const ALL: [Self; 5] = [Self::Realtime, Self::High, Self::Normal, Self::Low, Self::Background];

    /// The stored number, 1 (realtime) to 5 (background).
    pub fn class(self) -> u8 {
        self as u8
    }

    /// The priority with this stored number.
    pub fn from_class(class: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.class() == class)
    }

    /// The name users write.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Realtime => "realtime",
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
            Self::Background => "background",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is not a priority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a priority; use realtime, high, normal, low or background")]
pub struct UnknownPriority(String);

impl FromStr for Priority {
    type Err = UnknownPriority;
    fn from_str(text: &str) -> Result<Self, UnknownPriority> {
        Self::ALL
            .into_iter()
            .find(|p| p.as_str() == text)
            .ok_or_else(|| UnknownPriority(excerpt(text).into_owned()))
    }
}

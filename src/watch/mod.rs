//! Figures for operators: how late jobs run, how calls end, and how much of the data is fresh.

mod lag;
mod stats;

pub use lag::{JobCounts, LagReport, Provider as ProviderLag, Recent, Schedule, Sources, report};
pub use stats::{Stats, add};

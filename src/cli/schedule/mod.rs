//! Commands about jobs: preferences, "refresh now", lag, forecast, explanation.

pub(super) mod hold;
pub(super) mod lag;
pub(super) mod plan;
pub(super) mod refresh;
pub(super) mod set;
pub(super) mod why;

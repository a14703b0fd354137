//! Commands about jobs: how often, how late, and why.

pub(super) mod lag;
pub(super) mod plan;
pub(super) mod refresh;
pub(super) mod set;
pub(super) mod why;

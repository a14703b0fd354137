//! Rank: which ready job is served first. Pure; `take/lua/take/rank.lua` computes the same.

/// `base / delay^k`, the lowest first: 1 is the most urgent base, and a larger `k` lets waiting outweigh priority.
///
/// Under lasting overload all jobs are served at equal scores, so that each gets a share in proportion to
/// `base^(-1/k)`: weighted max-min fairness.
pub fn score(base: f64, delay_ms: i64, k: f64) -> f64 {
    base / (delay_ms.max(1) as f64).powf(k)
}

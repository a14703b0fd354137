//! How an adaptive quota's rate moves.

/// Multiplicative decrease: an adaptive rate is cut by this factor …
pub const CUT: f64 = 0.5;
/// … at most once per this share of its window, since all 429s of one burst carry the same information.
pub const CUT_PAUSE: f64 = 0.1;
/// Additive increase: a window of good responses raises the rate by this share of its ceiling.
pub const RAISE: f64 = 0.02;

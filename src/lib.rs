//! Paceline keeps device data fresh without breaking anybody's rate limit.

/// A third-party device cloud to practise on: real-looking devices behind a strict quota, with a referee.
pub mod cloud;

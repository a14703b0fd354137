//! Paceline keeps device data fresh without breaking anybody's rate limit.

//! Paceline keeps device data fresh without breaking anybody's rate limit.

pub mod local; // private Postgres and Redis for the first run and the tests

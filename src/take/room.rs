//! How many calls of each connection a take may grant.

use crate::words::ConnectionId;
use serde::{Serialize, Serializer};
use std::collections::HashMap;

/// So many calls of each connection, see `lua/take/room.lua`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Room {
    /// Of any that `of` does not name.
    pub most: usize,
    /// Of these.
    #[serde(serialize_with = "by_text")]
    pub of: HashMap<ConnectionId, usize>,
}

/// The scripts know connections as text.
fn by_text<S: Serializer>(of: &HashMap<ConnectionId, usize>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(of.iter().map(|(connection, calls)| (connection.to_string(), calls)))
}

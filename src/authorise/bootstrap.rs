//! Bootstrap values: what calls of a connection need and its provider is asked for once.

use super::Authoriser;
use crate::preference::{connections, learned};
use crate::words::{Connection, ConnectionId, UnixMs};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

/// Whether a connection's calls have the bootstrap values they need.
pub enum BootstrapState {
    /// They have them, or need none.
    Yes(Arc<Connection>),
    /// They must be asked for, by the holder of this lookup: until it is dropped, no other of this process asks.
    Ask(Lookup),
    /// Not now, and why.
    NotYet(String),
}

/// The exclusive right to ask for a connection's bootstrap values.
pub struct Lookup {
    all: Arc<Mutex<HashSet<ConnectionId>>>,
    connection: ConnectionId,
}

impl Drop for Lookup {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.connection);
    }
}

impl Authoriser {
    /// Whether a call of the connection can be made. Usually it can, and Postgres is not asked.
    pub async fn bootstrap_state(&self, connection: &Arc<Connection>) -> BootstrapState {
        if !self.client.fetcher.needs_bootstrap(connection) {
            return BootstrapState::Yes(connection.clone());
        }
        let lookup = {
            let mut all = self.client.lookups.lock().unwrap_or_else(PoisonError::into_inner);
            if !all.insert(connection.id) {
                return BootstrapState::NotYet("its account is being looked up".to_owned());
            }
            Lookup { all: self.client.lookups.clone(), connection: connection.id }
        };
        // They may have been stored since the connection was read.
        match connections::open(&self.app.pool, &self.app.sealer, &[connection.id.0], false).await {
            Ok(now) => match now.into_iter().find(|now| !self.client.fetcher.needs_bootstrap(now)) {
                Some(now) => {
                    // The token may be one that the older secrets brought: its refusal counts against those.
                    let secrets_version = connection.secrets_version;
                    let (token, devices) = (connection.token.clone(), connection.devices);
                    BootstrapState::Yes(Arc::new(Connection { token, devices, secrets_version, ..now }))
                }
                None => BootstrapState::Ask(lookup),
            },
            Err(error) => {
                tracing::warn!(connection = connection.id.0, %error, "account not looked up; will try again");
                BootstrapState::NotYet(
                    "its account cannot be looked up: Postgres cannot be reached".to_owned(),
                )
            }
        }
    }

    /// Stores bootstrap values: all that were asked for (`whole`), or a correction. If Postgres cannot be reached, the
    /// next call asks again.
    pub async fn learn(
        &self,
        connection: &Connection,
        values: &BTreeMap<String, String>,
        whole: bool,
        asked_at: UnixMs,
    ) {
        if values.is_empty() && !whole {
            return;
        }
        let of = self.client.fetcher.bootstrap_request_hash().filter(|_| whole);
        match learned::learn(&self.app.pool, connection, values, of.as_deref(), asked_at).await {
            Ok(()) => {
                let names: Vec<_> = values.keys().collect();
                tracing::info!(connection = connection.id.0, ?names, "bootstrap values stored");
            }
            Err(error) => {
                tracing::warn!(connection = connection.id.0, %error, "bootstrap values not stored yet")
            }
        }
    }
}

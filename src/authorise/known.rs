//! What a cloud must have told of an account before its calls are made.

use super::Authoriser;
use crate::preference::{connections, learned};
use crate::words::{Connection, ConnectionId, UnixMs};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

/// Whether it is known.
pub enum BootstrapState {
    /// It is, or nothing need be.
    Yes(Arc<Connection>),
    /// It must be asked for, by whoever holds this: others of this process wait until it is dropped.
    Ask(Asking),
    /// Not now, and why.
    NotYet(String),
}

/// The right to ask, of one call of a connection.
pub struct Asking {
    all: Arc<Mutex<HashSet<ConnectionId>>>,
    connection: ConnectionId,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.connection);
    }
}

impl Authoriser {
    /// Finds out whether a call of the connection can be made. Most of the time nobody is asked.
    pub async fn known(&self, connection: &Arc<Connection>) -> BootstrapState {
        if !self.client.fetcher.needs_bootstrap(connection) {
            return BootstrapState::Yes(connection.clone());
        }
        let asking = {
            let mut all = self.client.lookups.lock().unwrap_or_else(PoisonError::into_inner);
            if !all.insert(connection.id) {
                return BootstrapState::NotYet("its account is being looked up".to_owned());
            }
            Asking { all: self.client.lookups.clone(), connection: connection.id }
        };
        // It may have been learned since the connection was read.
        match connections::open(&self.app.pool, &self.app.sealer, &[connection.id.0], false).await {
            Ok(now) => match now.into_iter().find(|now| !self.client.fetcher.needs_bootstrap(now)) {
                Some(now) => {
                    // The token may be one that the older secrets brought: its refusal counts against those.
                    let secrets_version = connection.secrets_version;
                    let (token, devices) = (connection.token.clone(), connection.devices);
                    BootstrapState::Yes(Arc::new(Connection { token, devices, secrets_version, ..now }))
                }
                None => BootstrapState::Ask(asking),
            },
            Err(error) => {
                tracing::warn!(connection = connection.id.0, %error, "account not looked up; will try again");
                BootstrapState::NotYet("its account cannot be looked up: Postgres is away".to_owned())
            }
        }
    }

    /// Keeps what a cloud told of an account, all that was asked for (`whole`) or a correction. If Postgres is away,
    /// the next call asks again.
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
                tracing::info!(connection = connection.id.0, ?names, "learned of the account");
            }
            Err(error) => tracing::warn!(connection = connection.id.0, %error, "account not learned of yet"),
        }
    }
}

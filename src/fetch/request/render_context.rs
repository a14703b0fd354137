//! What the templates of logins and signatures see: an account, and no call of it.

use crate::provider::Provider;
use crate::words::{Connection, Secrets, UnixMs};
use minijinja::{Value, context};
use secrecy::ExposeSecret;
use std::collections::BTreeMap;

/// An account, and what the operator gives for it.
#[derive(Clone, Copy)]
pub(crate) struct RenderContext<'a> {
    pub(crate) provider: &'a Provider,
    pub(crate) connection: &'a Connection,
    pub(crate) operator: &'a Secrets,
    pub(crate) now: UnixMs,
}

impl RenderContext<'_> {
    /// What the templates of a login see.
    pub(crate) fn values(&self) -> Value {
        let uuid = uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string();
        context! {
            params => self.provider.with_defaults(self.connection.params.clone()),
            bootstrap => &self.connection.bootstrap,
            secrets => opened(&self.connection.secrets),
            operator => opened(self.operator),
            request => context! { uuid => uuid, epoch_ms => self.now.0 },
        }
    }

    /// What templates of URLs that are shown see: no secrets, since they may be logged where they lead.
    pub(crate) fn public_values(&self) -> Value {
        context! { params => self.provider.with_defaults(self.connection.params.clone()) }
    }
}

/// Secrets as templates see them.
pub(crate) fn opened(secrets: &Secrets) -> BTreeMap<String, String> {
    secrets.iter().map(|(name, secret)| (name.to_owned(), secret.expose_secret().to_owned())).collect()
}

//! Variables of the templates of logins and signatures, which belong to an account and not to a call.

use crate::provider::Provider;
use crate::words::{Connection, Secrets, UnixMs};
use minijinja::{Value, context};
use secrecy::ExposeSecret;
use std::collections::BTreeMap;

/// An account and the operator's secrets for its provider.
#[derive(Clone, Copy)]
pub(crate) struct RenderContext<'a> {
    pub(crate) provider: &'a Provider,
    pub(crate) connection: &'a Connection,
    pub(crate) operator: &'a Secrets,
    pub(crate) now: UnixMs,
}

impl RenderContext<'_> {
    /// Variables of a login's templates.
    pub(crate) fn values(&self) -> Value {
        let uuid = uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string();
        context! {
            params => self.provider.with_defaults(self.connection.params.clone()),
            bootstrap => &self.connection.bootstrap,
            secrets => exposed(&self.connection.secrets),
            operator => exposed(self.operator),
            request => context! { uuid => uuid, epoch_ms => self.now.0 },
        }
    }

    /// What is known of the account without its secrets.
    pub(crate) fn account_values(&self) -> Value {
        context! {
            params => self.provider.with_defaults(self.connection.params.clone()),
            bootstrap => &self.connection.bootstrap,
        }
    }

    /// Variables of the templates of URLs: no secrets, since the receiving server may log URLs.
    pub(crate) fn public_values(&self) -> Value {
        context! { params => self.provider.with_defaults(self.connection.params.clone()) }
    }
}

/// Secrets as template variables.
pub(crate) fn exposed(secrets: &Secrets) -> BTreeMap<String, String> {
    secrets.iter().map(|(name, secret)| (name.to_owned(), secret.expose_secret().to_owned())).collect()
}

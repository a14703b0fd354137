//! `paceline connection pause | resume | rename`, and closing one.

use crate::cli::confirm::confirm;
use crate::cli::{CliError, Context};
use crate::preference::standing::{self, ConnectionChange};
use crate::preference::{connections, tenants};
use serde::Serialize;
use std::fmt;

/// The connection to change.
#[derive(Debug, clap::Args)]
pub struct Named {
    /// Tenant that owns the connection
    #[arg(long, value_name = "NAME")]
    tenant: String,
    /// Label or number of the connection
    label: String,
}

#[derive(Serialize)]
struct Changed {
    id: i64,
    label: String,
    state: String,
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, label, state } = self;
        write!(f, "Connection {id}, {label:?}, is {state}.")
    }
}

pub(super) async fn pause(context: &Context, named: Named, paused: bool) -> Result<(), CliError> {
    change(context, named, ConnectionChange { label: None, paused: Some(paused) }).await
}

pub(super) async fn rename(context: &Context, named: Named, to: &str) -> Result<(), CliError> {
    change(context, named, ConnectionChange { label: Some(to.parse()?), paused: None }).await
}

async fn change(context: &Context, named: Named, wanted: ConnectionChange) -> Result<(), CliError> {
    let pool = &context.app.pool;
    let tenant = tenants::find(pool, &named.tenant).await?;
    let found = connections::find(pool, tenant, &named.label).await?;
    standing::change(pool, tenant, &found, wanted).await?;
    context.update_schedule().await;
    let row = connections::one(pool, tenant, found.id.0).await?;
    context.output.answer(&Changed { id: row.id, label: row.label, state: row.state })
}

/// Deletes the secrets of a connection, and keeps its devices and their history.
pub(super) async fn close(context: &Context, tenant: &str, label: String, yes: bool) -> Result<(), CliError> {
    let pool = &context.app.pool;
    let tenant = tenants::find(pool, tenant).await?;
    let found = connections::find(pool, tenant, &label).await?;
    confirm(&format!("the secrets and tokens of connection {label:?} at {}", found.provider), yes)?;
    standing::close(pool, tenant, &found).await?;
    context.update_schedule().await;
    context.output.answer(&Changed { id: found.id.0, label, state: "closed".to_owned() })
}

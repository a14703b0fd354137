//! `paceline connection remove`

use crate::cli::confirm::confirm;
use crate::cli::{CliError, Context};
use crate::keep::{self, Removal};
use crate::preference::{connections, tenants};
use serde::Serialize;
use std::fmt;

#[derive(Serialize)]
struct Removed {
    id: i64,
    label: String,
    #[serde(flatten)]
    removal: Removal,
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, label, removal } = self;
        write!(f, "Removed connection {id}, {label:?}, its secrets and tokens, and {removal}.")
    }
}

/// Removes the connection with all of its devices.
pub(super) async fn run(context: &Context, tenant: &str, label: String, yes: bool) -> Result<(), CliError> {
    let app = &context.app;
    let tenant = tenants::find(&app.pool, tenant).await?;
    let connection = connections::find(&app.pool, tenant, &label).await?;
    let counted = keep::count_connection(app, tenant, connection.id).await?;
    let what = format!("connection {label:?} at {} with {counted}", connection.provider);
    confirm(&what, yes)?;
    let removed = keep::remove_connection(app, tenant, connection.id).await.map_err(CliError::refused)?;
    let removal =
        removed.ok_or_else(|| CliError::refused("somebody else removed the connection meanwhile"))?;
    context.output.answer(&Removed { id: connection.id.0, label, removal })
}

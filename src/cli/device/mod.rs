//! `paceline device add | import | list | remove`

mod add;
mod import;
mod list;
mod remove;

use super::{CliError, Context};
use crate::discovery;
use crate::preference::devices::TenantConnection;
use crate::preference::{connections, tenants};
use crate::provider::Provider;
use std::sync::Arc;

/// What to do with devices.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Add a device, or change the one with the same external id
    Add(add::Args),
    /// Add or change many devices from a file or standard input
    Import(import::Args),
    /// List a tenant's devices with their jobs
    List(list::Args),
    /// Remove devices with their jobs and history
    Remove(remove::Args),
}

/// Runs the subcommand.
pub(super) async fn run(context: &Context, command: Command) -> Result<(), CliError> {
    match command {
        Command::Add(args) => add::run(context, args).await,
        Command::Import(args) => import::run(context, args).await,
        Command::List(args) => list::run(context, args).await,
        Command::Remove(args) => remove::run(context, args).await,
    }
}

/// Where devices are added.
struct Account {
    account: TenantConnection,
    provider: Arc<Provider>,
    /// What stands before the provider's own ids; empty for nothing.
    id_prefix: String,
}

/// Finds the tenant's connection and its provider.
async fn find_account(context: &Context, tenant: &str, label: &str) -> Result<Account, CliError> {
    let pool = &context.app.pool;
    let tenant = tenants::find(pool, tenant).await?;
    let connection = connections::find(pool, tenant, label).await?;
    let provider = context.app.registry.find(&connection.provider)?.clone();
    let account = TenantConnection { tenant, connection: connection.id, provider: provider.name.clone() };
    let id_prefix = discovery::id_prefix(&context.app, &provider, &account).await?;
    Ok(Account { account, provider, id_prefix })
}

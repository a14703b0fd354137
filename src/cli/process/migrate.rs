//! `paceline migrate`

use crate::app::StartError;
use crate::cli::{CliError, Global, Output, context, servers};
use crate::postgres;
use serde::Serialize;
use std::fmt;

/// It takes no arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paceline migrate
  paceline migrate --config /etc/paceline.toml

Needs Postgres only. Safe to run again, and from several machines at once. Commands migrate private servers \
automatically.")]
pub struct Args {}

#[derive(Serialize)]
struct Migrated {
    migrated: bool,
}

impl fmt::Display for Migrated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("The database is up to date.")
    }
}

/// Migrates the database.
pub(crate) async fn run(global: &Global, _args: Args) -> Result<(), CliError> {
    let settings = context::load_for_short_command(global)?;
    let servers = servers::acquire(&settings).await?;
    let migrate = async {
        let pool = postgres::connect(&servers.database_url, 2).await?;
        let result = postgres::migrate(&pool).await;
        pool.close().await;
        result
    };
    if let Err(error) = migrate.await {
        context::release_after_error(servers).await;
        return Err(StartError::from(error).into());
    }
    servers.release().await?;
    Output { json: global.json }.answer(&Migrated { migrated: true })
}

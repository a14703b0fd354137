//! `paceline migrate`

use super::{CliError, Global, Output, context, servers};
use crate::app::StartError;
use crate::postgres;
use serde::Serialize;
use std::fmt;

/// Its arguments: none of its own.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paceline migrate
  paceline migrate --config /etc/paceline.toml

Needs Postgres only. Safe to run again, and from several machines at once.")]
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

/// Migrates.
pub(super) async fn run(global: &Global, _args: Args) -> Result<(), CliError> {
    let settings = context::load_brief(global)?;
    let servers = servers::find(&settings).await?;
    let done = async {
        let pool = postgres::connect(&servers.database_url, 2).await?;
        let done = postgres::migrate(&pool).await;
        pool.close().await;
        done
    };
    if let Err(error) = done.await {
        context::leave_quietly(servers).await;
        return Err(StartError::from(error).into());
    }
    servers.leave().await?;
    Output { json: global.json }.answer(&Migrated { migrated: true })
}

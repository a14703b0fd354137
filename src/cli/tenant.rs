//! `paceline tenant list | weight`

use super::{CliError, Context, table};
use crate::preference::tenants::{self, TenantRow, Weight};
use serde::Serialize;
use std::fmt;

/// Telling the schedule of more jobs than this takes so long that somebody wonders.
const JOBS_QUIET: u64 = 10_000;

/// What to do with tenants.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List tenants, with their weights
    #[command(after_help = "\
Examples:
  paceline tenant list
  paceline tenant list --json")]
    List,
    /// Say how a tenant weighs where tenants contend
    #[command(after_help = "\
Examples:
  paceline tenant weight acme 3
  paceline tenant weight acme 1 --json

Where accounts wait for a quota that they share, such as the application's, one of weight 3 is served three times as
often as one of weight 1. A tenant begins with 1. It holds for each of the tenant's accounts, and at once.")]
    Weight {
        /// Whose
        name: String,
        /// From 1 to 1000: twice the weight, twice the share
        #[arg(value_name = "N", allow_hyphen_values = true)]
        weight: Weight,
    },
}

#[derive(Serialize)]
struct Listed {
    tenants: Vec<TenantRow>,
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tenants.is_empty() {
            return f.write_str("No tenants yet: `paceline key create` makes one.");
        }
        let mut table = table::with(&["id", "name", "weight", "connections", "devices"]);
        for row in &self.tenants {
            let figures = [row.connections, row.devices].map(|figure| figure.to_string());
            let [connections, devices] = &figures;
            table.add_row([&row.id.to_string(), &row.name, &row.weight.to_string(), connections, devices]);
        }
        table.fmt(f)
    }
}

#[derive(Serialize)]
struct Weighed {
    tenant: String,
    weight: Weight,
    jobs: u64,
}

impl fmt::Display for Weighed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenant, weight, jobs } = self;
        write!(f, "Tenant {tenant} weighs {weight}, which holds for ")?;
        match jobs {
            0 => f.write_str("the jobs it will have: it has none yet."),
            1 => f.write_str("its one job."),
            jobs => write!(f, "its {jobs} jobs."),
        }
    }
}

/// Does it.
pub(super) async fn run(context: &Context, command: Command) -> Result<(), CliError> {
    let pool = &context.app.pool;
    match command {
        Command::List => context.output.answer(&Listed { tenants: tenants::list(pool).await? }),
        Command::Weight { name, weight } => {
            let tenant = tenants::find(pool, &name).await?;
            let jobs = tenants::set_weight(pool, tenant, weight).await?;
            if jobs > JOBS_QUIET {
                context.output.note(&format!("stored; telling the schedule of {jobs} jobs"));
            }
            context.tell_schedule().await;
            context.output.answer(&Weighed { tenant: name, weight, jobs })
        }
    }
}

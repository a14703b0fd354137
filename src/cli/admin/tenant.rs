//! `paceline tenant list | weight`

use crate::cli::{CliError, Context, table};
use crate::preference::tenants::{self, TenantRow, Weight};
use serde::Serialize;
use std::fmt;

/// Updating the schedule of more jobs than this takes seconds, so a note is printed first.
const JOBS_WITHOUT_NOTE: u64 = 10_000;

/// What to do with tenants.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List tenants with their weights
    #[command(after_help = "\
Examples:
  paceline tenant list
  paceline tenant list --json")]
    List,
    /// Set a tenant's weight: its share where tenants contend for a quota
    #[command(after_help = "\
Examples:
  paceline tenant weight acme 3
  paceline tenant weight acme 1 --json

Where connections wait for a quota that they share, such as the application's, one of weight 3 is served three \
times as often as one of weight 1. The default is 1. The weight applies to each connection of the tenant, at once.")]
    Weight {
        /// Name of the tenant
        name: String,
        /// Weight, from 1 to 1000
        #[arg(value_name = "N", allow_hyphen_values = true)]
        weight: Weight,
    },
}

#[derive(Serialize)]
struct TenantList {
    tenants: Vec<TenantRow>,
}

impl fmt::Display for TenantList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tenants.is_empty() {
            return f.write_str("No tenants yet: `paceline key create` creates one.");
        }
        let mut table = table::new(&["id", "name", "weight", "connections", "devices"]);
        for row in &self.tenants {
            let [connections, devices] = [row.connections, row.devices].map(|count| count.to_string());
            table.add_row([&row.id.to_string(), &row.name, &row.weight.to_string(), &connections, &devices]);
        }
        table.fmt(f)
    }
}

#[derive(Serialize)]
struct WeightSet {
    tenant: String,
    weight: Weight,
    jobs: u64,
}

impl fmt::Display for WeightSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenant, weight, jobs } = self;
        write!(f, "Tenant {tenant} has weight {weight}; ")?;
        match jobs {
            0 => f.write_str("it has no jobs yet."),
            1 => f.write_str("applied to its 1 job."),
            jobs => write!(f, "applied to its {jobs} jobs."),
        }
    }
}

/// Runs the subcommand.
pub(crate) async fn run(context: &Context, command: Command) -> Result<(), CliError> {
    let pool = &context.app.pool;
    match command {
        Command::List => context.output.answer(&TenantList { tenants: tenants::list(pool).await? }),
        Command::Weight { name, weight } => {
            let tenant = tenants::find(pool, &name).await?;
            let jobs = tenants::set_weight(pool, tenant, weight).await?;
            if jobs > JOBS_WITHOUT_NOTE {
                context.output.note(&format!("stored; updating {jobs} jobs in the schedule"));
            }
            context.update_schedule().await;
            context.output.answer(&WeightSet { tenant: name, weight, jobs })
        }
    }
}

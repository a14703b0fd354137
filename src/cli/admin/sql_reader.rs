//! `paceline sql-reader create | list | drop`

use crate::cli::{CliError, Context, table};
use crate::preference::sql_readers::{self, SqlReaderRow};
use crate::preference::tenants;
use secrecy::ExposeSecret;
use serde::Serialize;
use std::fmt;

/// What to do with logins of Postgres.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Create a login and show its password once
    #[command(after_help = "\
Examples:
  paceline sql-reader create --tenant acme grafana_acme
  paceline sql-reader create --tenant acme grafana_acme --json

The login reads the views of the schema `dashboard`, and of them only what is the tenant's. The login that Paceline \
uses must be allowed to create roles.")]
    Create {
        /// Tenant whose data it may read
        #[arg(long, value_name = "NAME")]
        tenant: String,
        /// Name of the login
        name: String,
    },
    /// List a tenant's logins
    #[command(after_help = "\
Examples:
  paceline sql-reader list --tenant acme")]
    List {
        /// Tenant whose logins to list
        #[arg(long, value_name = "NAME")]
        tenant: String,
    },
    /// Drop a login; it sees nothing from then on
    #[command(after_help = "\
Examples:
  paceline sql-reader drop --tenant acme grafana_acme")]
    Drop {
        /// Tenant whose login it is
        #[arg(long, value_name = "NAME")]
        tenant: String,
        /// Name of the login
        name: String,
    },
}

#[derive(Serialize)]
struct Created {
    tenant: String,
    name: String,
    /// Shown only here: it is not stored.
    password: String,
}

impl fmt::Display for Created {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Login {} reads the schema dashboard, for tenant {}. Its password is shown only this once:\n",
            self.name, self.tenant
        )?;
        write!(f, "  {}", self.password)
    }
}

#[derive(Serialize)]
struct Readers {
    logins: Vec<SqlReaderRow>,
}

impl fmt::Display for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.logins.is_empty() {
            return f.write_str("No logins yet: `paceline sql-reader create` creates one.");
        }
        let mut table = table::new(&["login", "created"]);
        for row in &self.logins {
            table.add_row([&row.name, &row.created_at]);
        }
        table.fmt(f)
    }
}

#[derive(Serialize)]
struct Dropped {
    dropped: String,
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login {} is dropped.", self.dropped)
    }
}

/// Runs the subcommand.
pub(crate) async fn run(context: &Context, command: Command) -> Result<(), CliError> {
    let pool = &context.app.pool;
    match command {
        Command::Create { tenant, name } => {
            let id = tenants::find(pool, &tenant).await?;
            let password = sql_readers::create(pool, id, &name).await?.expose_secret().to_owned();
            context.output.answer(&Created { tenant, name, password })
        }
        Command::List { tenant } => {
            let id = tenants::find(pool, &tenant).await?;
            context.output.answer(&Readers { logins: sql_readers::list(pool, id).await? })
        }
        Command::Drop { tenant, name } => {
            sql_readers::drop(pool, tenants::find(pool, &tenant).await?, &name).await?;
            context.output.answer(&Dropped { dropped: name })
        }
    }
}

//! `paceline key create | list | revoke`

use crate::cli::{CliError, Context, table};
use crate::preference::keys::{self, KeyRow, Principal};
use crate::preference::tenants;
use crate::words::Role;
use secrecy::ExposeSecret;
use serde::Serialize;
use std::fmt;

/// What to do with API keys.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Create an API key and show it once; creates the tenant if it is new
    #[command(after_help = "\
Examples:
  paceline key create --tenant acme --role reader --label dashboard
  paceline key create --tenant acme --role operator --json
  paceline key create --tenant acme --role user --label contractor --days 90

Only a hash of the key is stored, so it cannot be shown again.")]
    Create {
        /// Tenant that the key belongs to
        #[arg(long, value_name = "NAME")]
        tenant: String,
        /// What the key may do
        #[arg(long)]
        role: Role,
        /// Label shown in lists
        #[arg(long, value_name = "TEXT", default_value = "")]
        label: String,
        /// Let it expire after so many days; by default it never does
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=3650))]
        days: Option<u16>,
    },
    /// List a tenant's API keys, without the keys themselves
    #[command(after_help = "\
Examples:
  paceline key list --tenant acme")]
    List {
        /// Tenant whose keys to list
        #[arg(long, value_name = "NAME")]
        tenant: String,
    },
    /// Revoke an API key; takes effect at once in every process
    #[command(after_help = "\
Examples:
  paceline key revoke --tenant acme 3")]
    Revoke {
        /// Tenant that the key belongs to
        #[arg(long, value_name = "NAME")]
        tenant: String,
        /// Number of the key, as `paceline key list` shows it
        id: i64,
    },
}

#[derive(Serialize)]
struct Created {
    id: i64,
    tenant: String,
    role: Role,
    /// Shown only here: it is not stored.
    key: String,
}

impl fmt::Display for Created {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Key {} of tenant {}, role {}. It is shown only this once:\n",
            self.id, self.tenant, self.role
        )?;
        write!(f, "  {}", self.key)
    }
}

#[derive(Serialize)]
struct KeyList {
    keys: Vec<KeyRow>,
}

impl fmt::Display for KeyList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.keys.is_empty() {
            return f.write_str("No keys yet: `paceline key create` creates one.");
        }
        let mut table = table::new(&["id", "key", "role", "label", "created", "used", "expires", "revoked"]);
        for key in &self.keys {
            let [used, expires, revoked] =
                [&key.used_at, &key.expires_at, &key.revoked_at].map(|at| at.as_deref().unwrap_or(""));
            let id = key.id.to_string();
            let hint = format!("{}…", key.hint);
            table.add_row([
                id.as_str(),
                &hint,
                &key.role,
                &key.label,
                &key.created_at,
                used,
                expires,
                revoked,
            ]);
        }
        table.fmt(f)
    }
}

#[derive(Serialize)]
struct Revoked {
    revoked: i64,
}

impl fmt::Display for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key {} is revoked.", self.revoked)
    }
}

/// Runs the subcommand.
pub(crate) async fn run(context: &Context, command: Command) -> Result<(), CliError> {
    let pool = &context.app.pool;
    match command {
        Command::Create { tenant, role, label, days } => {
            let principal = Principal { tenant: tenants::ensure(pool, &tenant).await?, role };
            let (id, key) = keys::create(pool, principal, &label, days).await?;
            context.output.answer(&Created { id, tenant, role, key: key.expose_secret().to_owned() })
        }
        Command::List { tenant } => {
            let keys = keys::list(pool, tenants::find(pool, &tenant).await?).await?;
            context.output.answer(&KeyList { keys })
        }
        Command::Revoke { tenant, id } => {
            keys::revoke(pool, tenants::find(pool, &tenant).await?, id).await?;
            context.output.answer(&Revoked { revoked: id })
        }
    }
}

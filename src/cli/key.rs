//! `paceline key create | list | revoke`

use super::{CliError, Context, table};
use crate::preference::keys::{self, KeyRow, Principal};
use crate::preference::tenants;
use crate::words::Role;
use secrecy::ExposeSecret;
use serde::Serialize;
use std::fmt;

/// What to do with keys.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a key and show it, this once; the tenant is made too if it is new
    #[command(after_help = "\
Examples:
  paceline key create --tenant acme --role reader --label dashboard
  paceline key create --tenant acme --role operator --json")]
    Create {
        /// Whose key
        #[arg(long, value_name = "NAME")]
        tenant: String,
        /// What it may do: read, also set preferences, also see the whole deployment
        #[arg(long)]
        role: Role,
        /// What to call it in lists
        #[arg(long, value_name = "TEXT", default_value = "")]
        label: String,
    },
    /// List a tenant's keys; the keys themselves are not kept
    #[command(after_help = "\
Examples:
  paceline key list --tenant acme")]
    List {
        /// Whose keys
        #[arg(long, value_name = "NAME")]
        tenant: String,
    },
    /// Revoke a key, everywhere at once
    #[command(after_help = "\
Examples:
  paceline key revoke --tenant acme 3")]
    Revoke {
        /// Whose key
        #[arg(long, value_name = "NAME")]
        tenant: String,
        /// Its number in `paceline key list`
        id: i64,
    },
}

#[derive(Serialize)]
struct Created {
    id: i64,
    tenant: String,
    role: Role,
    /// Shown here and nowhere else.
    key: String,
}

impl fmt::Display for Created {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Key {} of tenant {}, role {}. It is shown only now:\n",
            self.id, self.tenant, self.role
        )?;
        write!(f, "  {}", self.key)
    }
}

#[derive(Serialize)]
struct Listed {
    keys: Vec<KeyRow>,
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.keys.is_empty() {
            return f.write_str("No keys yet: `paceline key create` makes one.");
        }
        let mut table = table::with(&["id", "key", "role", "label", "made", "revoked"]);
        for key in &self.keys {
            let revoked = key.revoked_at.as_deref().unwrap_or("");
            let id = key.id.to_string();
            let hint = format!("{}…", key.hint);
            table.add_row([id.as_str(), &hint, &key.role, &key.label, &key.created_at, revoked]);
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

/// Does it.
pub(super) async fn run(context: &Context, command: Command) -> Result<(), CliError> {
    let pool = &context.app.pool;
    match command {
        Command::Create { tenant, role, label } => {
            let who = Principal { tenant: tenants::ensure(pool, &tenant).await?, role };
            let (id, key) = keys::create(pool, who, &label).await?;
            context.output.answer(&Created { id, tenant, role, key: key.expose_secret().to_owned() })
        }
        Command::List { tenant } => {
            let keys = keys::list(pool, tenants::find(pool, &tenant).await?).await?;
            context.output.answer(&Listed { keys })
        }
        Command::Revoke { tenant, id } => {
            keys::revoke(pool, tenants::find(pool, &tenant).await?, id).await?;
            context.output.answer(&Revoked { revoked: id })
        }
    }
}

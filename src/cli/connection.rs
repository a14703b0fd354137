//! `paceline connection add | list | authorize | discover | secret | plan`

use super::{CliError, Context, authorize, secret, table};
use crate::authorise;
use crate::discovery::{self, DiscoverRequest};
use crate::keep;
use crate::preference::connections::{self, ConnectionRow, NewConnection};
use crate::preference::discovered::Changes;
use crate::preference::tenants;
use crate::words::Interval;
use clap::builder::NonEmptyStringValueParser;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What to do with connections.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Add a tenant's account at a provider; the tenant is made too if it is new
    #[command(after_help = "\
Examples:
  paceline connection add --tenant acme --provider meadow --label main \\
      --param base_url=http://127.0.0.1:9000 --secret-file key.txt
  paceline connection add --tenant acme --provider signalk --label boat --param base_url=http://10.0.0.5:3000
  printf 'username=me\npassword=%s\n' \"$PASSWORD\" | \\
      paceline connection add --tenant acme --provider mycloud --label home --secret-stdin")]
    Add(Add),
    /// List a tenant's connections
    #[command(after_help = "\
Examples:
  paceline connection list --tenant acme")]
    List {
        /// Whose connections
        #[arg(long, value_name = "NAME")]
        tenant: String,
    },
    /// Let a connection's owner allow it at its provider: in a browser, or by a code to type in elsewhere
    #[command(after_help = "\
Examples:
  paceline connection authorize --tenant acme home

Shows where to go. After a browser, paste the address that it was sent back to, or the code in it; a code that is typed
in elsewhere is waited for.")]
    Authorize {
        /// Whose connection
        #[arg(long, value_name = "NAME")]
        tenant: String,
        /// Its label or number
        label: String,
    },
    /// Ask the cloud which devices a connection has, and keep what has changed
    #[command(after_help = "\
Examples:
  paceline connection discover --tenant acme main --dry-run
  paceline connection discover --tenant acme main

One call, ahead of what waits, granted by the quotas like any other. New devices are added with what they get by
default; those that the list leaves out are marked as missing, and kept. `paceline serve` asks by itself, too: see
[discovery] in the settings.")]
    Discover {
        /// Whose connection
        #[arg(long, value_name = "NAME")]
        tenant: String,
        /// Its label or number
        label: String,
        /// Only say what would change
        #[arg(long)]
        dry_run: bool,
        /// How long to wait for the quotas to let it
        #[arg(long, value_name = "TIME", default_value = "10s")]
        wait: Interval,
    },
    /// Say which of its provider's plans a connection is on: its limits are that plan's from now on
    #[command(after_help = "\
Examples:
  paceline connection plan --tenant acme home auto-assist

A plan that there is not is refused with those that there are. One is named by --param plan=NAME when a connection
is added.")]
    Plan {
        /// Whose connection
        #[arg(long, value_name = "NAME")]
        tenant: String,
        /// Its label or number
        label: String,
        /// The plan's name
        plan: String,
    },
    /// Give a connection new secrets and put it back to work; those that are not given stay
    #[command(after_help = "\
Examples:
  paceline connection secret --tenant acme main --secret-file key.txt
  paceline connection secret --tenant acme main --secret-stdin")]
    Secret {
        /// Whose connection
        #[arg(long, value_name = "NAME")]
        tenant: String,
        /// Its label or number
        label: String,
        /// Where the secrets are.
        #[command(flatten)]
        secret: secret::Source,
    },
}

/// The connection to add.
#[derive(Debug, clap::Args)]
pub struct Add {
    /// Whose connection
    #[arg(long, value_name = "NAME")]
    tenant: String,
    /// Where
    #[arg(long, value_name = "NAME")]
    provider: String,
    /// What to call it
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    label: String,
    /// What the provider's templates need, such as base_url; may be repeated
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = param)]
    params: Vec<(String, String)>,
    /// Where the secrets are.
    #[command(flatten)]
    secret: secret::Source,
}

fn param(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

#[derive(Serialize)]
struct Added {
    id: i64,
    tenant: String,
    provider: String,
    label: String,
    /// Whether its owner has still to allow it.
    awaits_owner: bool,
}

impl fmt::Display for Added {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, tenant, provider, label, awaits_owner } = self;
        write!(f, "Connection {id}, {label:?}, of tenant {tenant} at {provider} is added.")?;
        match awaits_owner {
            true => {
                write!(f, "\nIts owner allows it by `paceline connection authorize --tenant {tenant} {id}`.")
            }
            false => Ok(()),
        }
    }
}

#[derive(Serialize)]
struct Listed {
    connections: Vec<ConnectionRow>,
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.connections.is_empty() {
            return f.write_str("No connections yet: `paceline connection add` makes one.");
        }
        let mut table = table::with(&["id", "label", "provider", "state", "devices"]);
        for row in &self.connections {
            let state = match &row.reason {
                Some(reason) => format!("{}: {reason}", row.state),
                None => row.state.clone(),
            };
            let devices = match &row.discovery_error {
                Some(error) => format!("{}; no list: {error}", row.devices),
                None => row.devices.to_string(),
            };
            let provider = match &row.plan {
                Some(plan) => format!("{}, {plan}", row.provider),
                None => row.provider.clone(),
            };
            table.add_row([&row.id.to_string(), &row.label, &provider, &state, &devices]);
        }
        table.fmt(f)
    }
}

#[derive(Serialize)]
struct Discovered {
    dry_run: bool,
    #[serde(flatten)]
    changes: Changes,
}

impl fmt::Display for Discovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Changes { new, back, missing, changed, listed } = &self.changes;
        let would = if self.dry_run { "Nothing was changed; this would be" } else { "Done" };
        for device in new {
            writeln!(f, "new      {}  {}", device.external_id, device.name)?;
        }
        for (what, ids) in [("back", back), ("missing", missing), ("changed", changed)] {
            ids.iter().try_for_each(|id| writeln!(f, "{what:<8} {id}"))?;
        }
        let (new, back, missing, changed) = (new.len(), back.len(), missing.len(), changed.len());
        write!(f, "{would}: {listed} listed, {new} new, {back} back, {missing} missing, {changed} changed.")
    }
}

#[derive(Serialize)]
struct Planned {
    id: i64,
    label: String,
    plan: String,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Connection {} is on plan {}: its limits are that plan's from now on.",
            self.label, self.plan
        )
    }
}

#[derive(Serialize)]
struct Renewed {
    id: i64,
    label: String,
}

impl fmt::Display for Renewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection {} has new secrets.", self.label)
    }
}

/// Does it.
pub(super) async fn run(context: &Context, command: Command) -> Result<(), CliError> {
    let pool = &context.app.pool;
    match command {
        Command::Add(new) => add(context, new).await,
        Command::List { tenant } => {
            let connections = connections::list(pool, tenants::find(pool, &tenant).await?).await?;
            context.output.answer(&Listed { connections })
        }
        Command::Authorize { tenant, label } => authorize::run(context, &tenant, label).await,
        Command::Discover { tenant, label, dry_run, wait } => {
            let tenant = tenants::find(pool, &tenant).await?;
            let found = connections::find(pool, tenant, &label).await?;
            let provider = context.app.registry.find(&found.provider)?;
            let patience = Duration::from_millis(wait.as_ms());
            let request = DiscoverRequest { provider, tenant, connection: found.id, patience, dry_run };
            let changes = discovery::discover(&context.app, request).await.map_err(CliError::refused)?;
            context.output.answer(&Discovered { dry_run, changes })
        }
        Command::Plan { tenant, label, plan } => {
            let tenant = tenants::find(pool, &tenant).await?;
            let found = connections::find(pool, tenant, &label).await?;
            keep::set_plan(&context.app, tenant, &found, &plan).await.map_err(CliError::refused)?;
            context.output.answer(&Planned { id: found.id.0, label, plan })
        }
        Command::Secret { tenant, label, secret } => {
            let tenant = tenants::find(pool, &tenant).await?;
            let found = connections::find(pool, tenant, &label).await?;
            let changed = secret.read(context.app.registry.find(&found.provider)?)?;
            authorise::renew_secrets(&context.app, tenant, &found, changed).await?;
            context.tell_schedule().await;
            context.output.answer(&Renewed { id: found.id.0, label })
        }
    }
}

async fn add(context: &Context, new: Add) -> Result<(), CliError> {
    let pool = &context.app.pool;
    let provider = context.app.registry.find(&new.provider)?;
    let params = new.params.iter().cloned().collect::<BTreeMap<_, _>>();
    let secrets = new.secret.read(provider)?;
    // Before a tenant is made for it.
    provider.check_account(&params, &secrets, &context.app.settings.provider.of(&provider.name))?;
    let connection = NewConnection {
        tenant: tenants::ensure(pool, &new.tenant).await?,
        provider: provider.name.clone(),
        label: new.label.clone(),
        params,
        secrets,
    };
    let authorise::Added { id, awaits_owner } = authorise::add(&context.app, connection).await?;
    let Add { tenant, provider, label, .. } = new;
    context.output.answer(&Added { id: id.0, tenant, provider, label, awaits_owner })
}

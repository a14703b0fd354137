//! `paceline connection add | list | authorize | discover | pause | plan | remove | rename | resume | secret`

mod authorize;
mod remove;
mod secret;
mod standing;

use crate::authorise;
use crate::cli::{CliError, Context, table};
use crate::discovery::{self, DiscoverRequest};
use crate::keep;
use crate::preference::connections::{self, ConnectionRow, NewConnection};
use crate::preference::discovered::Changes;
use crate::preference::tenants;
use crate::words::{Interval, Label};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

pub(super) use secret::SecretArgs;

/// What to do with connections.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Add a connection, a tenant's account at a provider; creates the tenant if it is new
    #[command(after_help = "\
Examples:
  paceline connection add --tenant acme --provider meadow --label main \\
      --param base_url=http://127.0.0.1:9000 --secret-file key.txt
  paceline connection add --tenant acme --provider signalk --label boat \\
      --param base_url=http://10.0.0.5:3000
  printf 'username=me\\npassword=%s\\n' \"$PASSWORD\" | \\
      paceline connection add --tenant acme --provider mycloud --label home --secret-stdin

The provider's definition says which params and secrets it needs. Where it uses OAuth, the owner authorizes the \
connection afterwards: see `paceline connection authorize`.")]
    Add(Add),
    /// List a tenant's connections
    #[command(after_help = "\
Examples:
  paceline connection list --tenant acme")]
    List {
        /// Tenant whose connections to list
        #[arg(long, value_name = "NAME")]
        tenant: String,
    },
    /// Authorize a connection at its provider, in a browser or with a device code
    #[command(after_help = "\
Examples:
  paceline connection authorize --tenant acme home

Shows the address to open. Browser flow: paste the address that the browser was redirected to, or the code in it. \
Device flow: enter the code shown on any device; the command waits until it was entered or has expired.")]
    Authorize {
        /// Tenant that owns the connection
        #[arg(long, value_name = "NAME")]
        tenant: String,
        /// Label or number of the connection
        label: String,
    },
    /// List a connection's devices at its provider, and store what has changed
    #[command(after_help = "\
Examples:
  paceline connection discover --tenant acme main --dry-run
  paceline connection discover --tenant acme main

Makes one call, granted by the quotas like any other, ahead of waiting jobs. New devices are added with the \
definition's default jobs; devices absent from the list are marked as missing, and kept. Names follow the list, \
except those that you gave. Devices that you removed are not added. `paceline serve` does this automatically: see \
[discovery] in the settings.")]
    Discover {
        /// Tenant that owns the connection
        #[arg(long, value_name = "NAME")]
        tenant: String,
        /// Label or number of the connection
        label: String,
        /// Print what would change, and store nothing
        #[arg(long)]
        dry_run: bool,
        /// How long to wait until the quotas grant the call
        #[arg(long, value_name = "TIME", default_value = "10s")]
        wait: Interval,
    },
    /// Pause a connection: nothing is called for it until it is resumed
    #[command(after_help = "\
Examples:
  paceline connection pause --tenant acme main

Its devices keep their latest values, whose age grows; what their jobs ask for stays.")]
    Pause(standing::Named),
    /// Resume a paused connection
    #[command(after_help = "\
Examples:
  paceline connection resume --tenant acme main")]
    Resume(standing::Named),
    /// Give a connection another label
    #[command(after_help = "\
Examples:
  paceline connection rename --tenant acme main --to roof")]
    Rename {
        /// The connection.
        #[command(flatten)]
        named: standing::Named,
        /// The new label, unique within the tenant at the provider
        #[arg(long, value_name = "TEXT")]
        to: String,
    },
    /// Set the plan that a connection is on; the plan's limits apply at once
    #[command(after_help = "\
Examples:
  paceline connection plan --tenant acme home auto-assist

An unknown plan is refused with the list of known ones. To set the plan when a connection is added, use --param \
plan=NAME.")]
    Plan {
        /// Tenant that owns the connection
        #[arg(long, value_name = "NAME")]
        tenant: String,
        /// Label or number of the connection
        label: String,
        /// Name of the plan, as the provider's definition declares it
        plan: String,
    },
    /// Remove a connection with its secrets, devices, jobs and history, or keep all but the secrets
    #[command(after_help = "\
Examples:
  paceline connection remove --tenant acme main
  paceline connection remove --tenant acme main --yes --json
  paceline connection remove --tenant acme main --keep-history

Deletes the connection with its secrets and tokens, and its devices with their jobs, latest values, history and \
events; nothing of them is kept here. With --keep-history, only the secrets and tokens are deleted: the connection is \
closed, nothing is called for it, and its devices with their history can still be read; `paceline connection secret` \
opens it again. Access that its owner granted at the provider stays until it is withdrawn \
there.")]
    Remove {
        /// Tenant that owns the connection
        #[arg(long, value_name = "NAME")]
        tenant: String,
        /// Label or number of the connection
        label: String,
        /// Delete only the secrets and tokens
        #[arg(long)]
        keep_history: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Replace a connection's secrets and resume its jobs; secrets not given stay as they are
    #[command(after_help = "\
Examples:
  paceline connection secret --tenant acme main --secret-file key.txt
  paceline connection secret --tenant acme main --secret-stdin")]
    Secret {
        /// Tenant that owns the connection
        #[arg(long, value_name = "NAME")]
        tenant: String,
        /// Label or number of the connection
        label: String,
        /// Where to read the secrets from.
        #[command(flatten)]
        secret: secret::SecretArgs,
    },
}

/// The connection to add.
#[derive(Debug, clap::Args)]
pub struct Add {
    /// Tenant that owns the connection
    #[arg(long, value_name = "NAME")]
    tenant: String,
    /// Provider, as `paceline provider list` shows it
    #[arg(long, value_name = "NAME")]
    provider: String,
    /// Label, unique within the tenant
    #[arg(long, value_name = "TEXT")]
    label: String,
    /// Parameter of the provider's definition, such as base_url; may be repeated
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parse_param)]
    params: Vec<(String, String)>,
    /// Where to read the secrets from.
    #[command(flatten)]
    secret: secret::SecretArgs,
}

fn parse_param(text: &str) -> Result<(String, String), String> {
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
    /// Whether its owner must still authorize it.
    awaits_owner: bool,
}

impl fmt::Display for Added {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, tenant, provider, label, awaits_owner } = self;
        write!(f, "Added connection {id}, {label:?}, of tenant {tenant} at {provider}.")?;
        match awaits_owner {
            true => {
                write!(f, "\nNext, authorize it: `paceline connection authorize --tenant {tenant} {id}`.")
            }
            false => Ok(()),
        }
    }
}

#[derive(Serialize)]
struct ConnectionList {
    connections: Vec<ConnectionRow>,
}

impl fmt::Display for ConnectionList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.connections.is_empty() {
            return f.write_str("No connections yet: `paceline connection add` adds one.");
        }
        let mut table = table::new(&["id", "label", "provider", "state", "devices"]);
        for row in &self.connections {
            let state = match &row.reason {
                Some(reason) => format!("{}: {reason}", row.state),
                None => row.state.clone(),
            };
            let devices = match &row.discovery_error {
                Some(error) => format!("{}; discovery failed: {error}", row.devices),
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
struct DiscoveryReport {
    dry_run: bool,
    #[serde(flatten)]
    changes: Changes,
}

impl fmt::Display for DiscoveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Changes { new, found_again, missing, changed, removed, left_out, listed } = &self.changes;
        let heading = if self.dry_run { "Dry run, nothing stored" } else { "Done" };
        for device in new {
            writeln!(f, "new      {}  {}", device.external_id, device.name)?;
        }
        for (what, ids) in
            [("again", found_again), ("missing", missing), ("changed", changed), ("removed", removed)]
        {
            ids.iter().try_for_each(|id| writeln!(f, "{what:<8} {id}"))?;
        }
        let (new, again, missing, changed) = (new.len(), found_again.len(), missing.len(), changed.len());
        write!(
            f,
            "{heading}: {listed} listed, {new} new, {again} found again, {missing} missing, {changed} \
             changed."
        )?;
        if !left_out.is_empty() {
            let count = left_out.len();
            write!(
                f,
                " {count} were left out: the tenant has as many devices as `tenant.devices_max` allows; \
                 `paceline device add` adds them all the same."
            )?;
        }
        match removed.len() {
            0 => Ok(()),
            count => write!(
                f,
                " {count} were removed here and are not added; `paceline device add` adds a removed device again."
            ),
        }
    }
}

#[derive(Serialize)]
struct PlanSet {
    id: i64,
    label: String,
    plan: String,
}

impl fmt::Display for PlanSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection {} is on plan {}; the plan's limits apply from now on.", self.label, self.plan)
    }
}

#[derive(Serialize)]
struct SecretsReplaced {
    id: i64,
    label: String,
}

impl fmt::Display for SecretsReplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection {} has new secrets.", self.label)
    }
}

/// Runs the subcommand.
pub(super) async fn run(context: &Context, command: Command) -> Result<(), CliError> {
    let pool = &context.app.pool;
    match command {
        Command::Add(new) => add(context, new).await,
        Command::List { tenant } => {
            let connections = connections::list(pool, tenants::find(pool, &tenant).await?).await?;
            context.output.answer(&ConnectionList { connections })
        }
        Command::Authorize { tenant, label } => authorize::run(context, &tenant, label).await,
        Command::Discover { tenant, label, dry_run, wait } => {
            let tenant = tenants::find(pool, &tenant).await?;
            let connection = connections::find(pool, tenant, &label).await?;
            let provider = context.app.registry.find(&connection.provider)?.clone();
            let timeout = Duration::from_millis(wait.as_ms());
            let request = DiscoverRequest { provider, tenant, connection: connection.id, timeout, dry_run };
            let listed = context.until_interrupted(discovery::discover(&context.app, request)).await?;
            let changes = listed.map_err(CliError::refused)?;
            context.output.answer(&DiscoveryReport { dry_run, changes })
        }
        Command::Plan { tenant, label, plan } => {
            let tenant = tenants::find(pool, &tenant).await?;
            let connection = connections::find(pool, tenant, &label).await?;
            keep::set_plan(&context.app, tenant, &connection, &plan).await.map_err(CliError::refused)?;
            context.output.answer(&PlanSet { id: connection.id.0, label, plan })
        }
        Command::Pause(named) => standing::pause(context, named, true).await,
        Command::Resume(named) => standing::pause(context, named, false).await,
        Command::Rename { named, to } => standing::rename(context, named, &to).await,
        Command::Remove { tenant, label, keep_history: true, yes } => {
            standing::close(context, &tenant, label, yes).await
        }
        Command::Remove { tenant, label, keep_history: false, yes } => {
            remove::run(context, &tenant, label, yes).await
        }
        Command::Secret { tenant, label, secret } => {
            let tenant = tenants::find(pool, &tenant).await?;
            let connection = connections::find(pool, tenant, &label).await?;
            let changed = secret.read(context.app.registry.find(&connection.provider)?)?;
            authorise::renew_secrets(&context.app, tenant, &connection, changed).await?;
            context.update_schedule().await;
            context.output.answer(&SecretsReplaced { id: connection.id.0, label })
        }
    }
}

async fn add(context: &Context, new: Add) -> Result<(), CliError> {
    let pool = &context.app.pool;
    let label: Label = new.label.parse()?;
    let provider = context.app.registry.find(&new.provider)?;
    let params = new.params.iter().cloned().collect::<BTreeMap<_, _>>();
    let secrets = new.secret.read(provider)?;
    // Before the tenant is created, so that a refusal leaves nothing behind.
    provider.check_account(&params, &secrets, &context.app.settings.provider.of(&provider.name))?;
    let connection = NewConnection {
        tenant: tenants::ensure(pool, &new.tenant).await?,
        provider: provider.name.clone(),
        label: label.clone(),
        params,
        secrets,
    };
    // An operator's command is not bound by `tenant.connections_max`.
    let authorise::Added { id, awaits_owner } = authorise::add(&context.app, connection, None).await?;
    let Add { tenant, provider, .. } = new;
    context.output.answer(&Added { id: id.0, tenant, provider, label: label.to_string(), awaits_owner })
}

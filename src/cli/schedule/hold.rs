//! `paceline hold list | lift`

use crate::cli::{CliError, Context, table};
use crate::explain::{self, NamedHold};
use crate::preference::{connections, tenants};
use crate::take::{ActiveHold, HoldHolder, Taker};
use crate::words::{ConnectionId, DeviceId, Scope};
use serde::Serialize;
use std::fmt;

/// What to do with holds.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List what is held: no calls in a scope, because its provider refused some or too little is left
    #[command(after_help = "\
Examples:
  paceline hold list
  paceline hold list --provider netatmo --json

After a refusal (HTTP 429) calls wait as long as the provider says, and longer with each further refusal in a row; \
a reported wait longer than the provider's quotas count is tried again after the longest of their windows. Then one \
call goes first, and the hold is over when that has gone well. See [hold] in the settings.")]
    List(Filter),
    /// Lift holds before their time: calls go on at once, within the quotas
    #[command(after_help = "\
Examples:
  paceline hold lift netatmo
  paceline hold lift netatmo --connection 12
  paceline hold lift netatmo --tenant acme --connection main --group home
  paceline hold lift netatmo --device 7

Without options all holds of the provider are lifted. A hold comes back with the next refusal.")]
    Lift(Lift),
}

/// Which holds to list.
#[derive(Debug, clap::Args)]
pub struct Filter {
    /// List only holds of this provider
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// List only holds of this connection: its number, or with --tenant its label
    #[arg(long, value_name = "CONNECTION")]
    connection: Option<String>,
    /// Tenant that owns the connection
    #[arg(long, value_name = "NAME", requires = "connection")]
    tenant: Option<String>,
}

/// Which holds to lift.
#[derive(Debug, clap::Args)]
pub struct Lift {
    /// Provider whose holds to lift
    provider: String,
    /// Only holds of this connection, its groups and devices: its number, or with --tenant its label
    #[arg(long, value_name = "CONNECTION")]
    connection: Option<String>,
    /// Tenant that owns the connection
    #[arg(long, value_name = "NAME", requires = "connection")]
    tenant: Option<String>,
    /// Only the hold of this group of the connection
    #[arg(long, value_name = "NAME", requires = "connection")]
    group: Option<String>,
    /// Only the hold of this device: its number
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["connection", "group"])]
    device: Option<i64>,
}

#[derive(Serialize)]
struct HoldReport {
    provider: String,
    scope: Scope,
    tenant: Option<String>,
    connection: Option<String>,
    connection_id: Option<i64>,
    group: Option<String>,
    device: Option<i64>,
    reason: String,
    since: String,
    until: String,
    /// Until when the provider asked to wait; null if it did not say.
    reported_until: Option<String>,
    /// Refusals in a row; 0 if it does not follow from a refusal.
    refusals: u32,
    /// Whether a call is in flight that shows whether the hold is over.
    is_tried: bool,
}

impl From<NamedHold> for HoldReport {
    fn from(NamedHold { provider, hold, connection }: NamedHold) -> Self {
        let (tenant, label) = connection.map(|name| (name.tenant, name.label)).unzip();
        let ActiveHold { holder, until, refusals, is_tried, since, reported_until, reason } = hold;
        Self {
            provider: provider.to_string(),
            scope: holder.scope(),
            tenant,
            connection: label,
            connection_id: holder.connection().map(|id| id.0),
            device: if let HoldHolder::Device(_, device) = holder { Some(device.0) } else { None },
            group: if let HoldHolder::Group(_, group) = holder { Some(group) } else { None },
            reason,
            since: since.to_string(),
            until: until.to_string(),
            reported_until: reported_until.map(|reported| reported.to_string()),
            refusals,
            is_tried,
        }
    }
}

impl HoldReport {
    /// `connection 12 (acme, main), device 7`.
    fn held(&self) -> String {
        let Some(id) = self.connection_id else { return "all connections".to_owned() };
        let name = self.tenant.as_ref().zip(self.connection.as_ref());
        let name = name.map_or(String::new(), |(tenant, label)| format!(" ({tenant}, {label})"));
        let group = self.group.as_ref().map_or(String::new(), |group| format!(", group {group}"));
        let device = self.device.map_or(String::new(), |device| format!(", device {device}"));
        format!("connection {id}{name}{group}{device}")
    }
}

#[derive(Serialize)]
struct HoldList {
    holds: Vec<HoldReport>,
}

impl fmt::Display for HoldList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.holds.is_empty() {
            return f.write_str("Nothing is held.");
        }
        let headers = ["provider", "held", "since", "until", "asked until", "refusals", "reason"];
        let mut table = table::new(&headers);
        for hold in &self.holds {
            let until = if hold.is_tried { "one call tries it" } else { &hold.until };
            let reported = hold.reported_until.as_deref().unwrap_or("-");
            let refusals = hold.refusals.to_string();
            table.add_row([
                &hold.provider,
                &hold.held(),
                &hold.since,
                until,
                reported,
                &refusals,
                &hold.reason,
            ]);
        }
        write!(f, "{table}\n`paceline hold lift PROVIDER` ends holds before their time.")
    }
}

#[derive(Serialize)]
struct LiftReport {
    provider: String,
    lifted: usize,
}

impl fmt::Display for LiftReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { provider, lifted } = self;
        match lifted {
            0 => write!(f, "No such hold at {provider}: `paceline hold list` shows what is held."),
            1 => write!(f, "Lifted 1 hold of {provider}; calls go on at once, within the quotas."),
            _ => write!(f, "Lifted {lifted} holds of {provider}; calls go on at once, within the quotas."),
        }
    }
}

/// Runs the subcommand.
pub(crate) async fn run(context: &Context, command: Command) -> Result<(), CliError> {
    match command {
        Command::List(filter) => list(context, filter).await,
        Command::Lift(args) => lift(context, args).await,
    }
}

async fn list(context: &Context, filter: Filter) -> Result<(), CliError> {
    let app = &context.app;
    let only = match &filter.provider {
        Some(name) => Some(app.registry.find(name)?.name.clone()),
        None => None,
    };
    let connection = connection(context, filter.connection.as_deref(), filter.tenant.as_deref()).await?;
    let providers =
        app.registry.iter().filter(|provider| only.as_ref().is_none_or(|only| provider.name == *only));
    let mut holds = explain::holds(app, providers).await?;
    holds.retain(|named| connection.is_none() || named.hold.holder.connection() == connection);
    context.output.answer(&HoldList { holds: holds.into_iter().map(HoldReport::from).collect() })
}

async fn lift(context: &Context, args: Lift) -> Result<(), CliError> {
    let app = &context.app;
    let provider = app.registry.find(&args.provider)?;
    let connection = connection(context, args.connection.as_deref(), args.tenant.as_deref()).await?;
    let taker = Taker::new(app.redis.clone(), provider, &app.taker_settings());
    let wanted = match (connection, args.group, args.device.map(DeviceId)) {
        (Some(id), Some(group), _) => vec![HoldHolder::Group(id, group)],
        (Some(id), None, _) => vec![HoldHolder::Connection(id)],
        (None, _, Some(device)) => {
            let is_its = |holder: &HoldHolder| matches!(holder, HoldHolder::Device(_, of) if *of == device);
            let active = taker.holds(None).await?.into_iter().map(|hold| hold.holder);
            let its: Vec<_> = active.filter(is_its).collect();
            if its.is_empty() {
                return context.output.answer(&LiftReport { provider: args.provider, lifted: 0 });
            }
            its
        }
        (None, _, None) => Vec::new(),
    };
    let lifted = taker.lift(&wanted, None).await?.len();
    context.output.answer(&LiftReport { provider: provider.name.to_string(), lifted })
}

/// The connection of this number or, within a tenant, of this label.
async fn connection(
    context: &Context,
    asked: Option<&str>,
    tenant: Option<&str>,
) -> Result<Option<ConnectionId>, CliError> {
    let Some(asked) = asked else { return Ok(None) };
    let pool = &context.app.pool;
    if let Some(tenant) = tenant {
        let tenant = tenants::find(pool, tenant).await?;
        return Ok(Some(connections::find(pool, tenant, asked).await?.id));
    }
    let number = asked.parse().map(ConnectionId);
    let number = number.map_err(|_| {
        CliError::refused(format!("{asked:?} is no connection's number: give one, or name it with --tenant"))
    })?;
    Ok(Some(number))
}

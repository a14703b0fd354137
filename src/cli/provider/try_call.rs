//! `paceline provider try`

use crate::cli::{CliError, Context};
use crate::fetch::{Exchange, Trace};
use crate::preference::{connections, tenants};
use crate::provider::{Provider, Quota, QuotaKind};
use crate::trial::{self, Trial, Wanted};
use crate::words::{Interval, Outcome, Record, ResourceName, Scope};
use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt;
use std::time::Duration;

/// What to try.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paceline provider try govee --tenant acme --connection main
  paceline provider try govee --tenant acme --connection main --device H7143/52:8B:00:00:00:00:00:01
  paceline provider try meadow --tenant acme --connection main --resource energy --json | jq '.exchanges[].request'

One real call, ahead of what waits. It is granted by the quotas and counts in them like any other, and a refusal holds
others back likewise; what it reads is shown and not stored. Secrets are shown as ***. Exit code 0: the answer was
understood.")]
pub struct Args {
    /// The provider
    provider: String,
    /// Whose connection
    #[arg(long, value_name = "NAME")]
    tenant: String,
    /// Its label or number
    #[arg(long, value_name = "LABEL")]
    connection: String,
    /// For which device: its number or external id; the connection's first when absent
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    /// Which resource; may be left out where there is only one
    #[arg(long, value_name = "NAME")]
    resource: Option<String>,
    /// How long to wait for the quotas to let it
    #[arg(long, value_name = "TIME", default_value = "10s")]
    wait: Interval,
}

#[derive(Serialize)]
struct Shown {
    provider: String,
    resource: String,
    device: String,
    #[serde(flatten)]
    trace: Trace,
    took_ms: u64,
    /// Where the rule is.
    #[serde(skip)]
    file: String,
    outcome: &'static str,
    detail: String,
    record: Option<ShownRecord>,
    /// Of devices that were not asked for.
    others: Vec<ShownRecord>,
    holds: Vec<ShownHold>,
    cost: u32,
    quotas: Vec<String>,
}

#[derive(Serialize)]
struct ShownRecord {
    id: Option<String>,
    online: bool,
    observed_at: Option<String>,
    values: Map<String, Value>,
}

#[derive(Serialize)]
struct ShownHold {
    scope: Scope,
    until: String,
    reason: String,
}

impl From<&Record> for ShownRecord {
    fn from(record: &Record) -> Self {
        Self {
            id: record.external_id.clone(),
            online: record.online,
            observed_at: record.observed_at.map(|at| at.to_string()),
            values: record.values.clone(),
        }
    }
}

impl Shown {
    fn of(trial: Trial, provider: &Provider, resource: &ResourceName) -> Self {
        let Trial { external_id, trace, answer, took, cost, terms } = trial;
        let outcome = answer.outcomes.first().map(|(_, outcome)| outcome);
        let record = match outcome {
            Some(Outcome::Fresh(record)) => Some(record.into()),
            _ => None,
        };
        let holds = answer.holds.iter().map(|(hold, _)| ShownHold {
            scope: hold.scope,
            until: hold.until.to_string(),
            reason: hold.reason.clone(),
        });
        let counting = provider.quotas().filter(|quota| quota.counts(resource));
        Self {
            provider: provider.name.to_string(),
            resource: resource.to_string(),
            device: external_id,
            trace,
            took_ms: took.as_millis() as u64,
            file: provider.file.clone(),
            outcome: outcome.map_or("nothing", Outcome::as_str),
            detail: outcome.map(Outcome::detail).unwrap_or_default(),
            record,
            others: answer.others.iter().map(ShownRecord::from).collect(),
            holds: holds.collect(),
            cost,
            quotas: counting.map(|quota| in_words(quota, quota.amount_for(&terms))).collect(),
        }
    }
}

/// `day (10000 in 1day, connection)`
fn in_words(quota: &Quota, amount: u32) -> String {
    let amount = match (quota.kind, quota.window) {
        (QuotaKind::Concurrent, _) | (_, None) => format!("{amount} at once"),
        (QuotaKind::Errors, Some(window)) => format!("{amount} errors in a row in {window}"),
        (QuotaKind::Adaptive, Some(window)) => format!("up to {amount} in {window}"),
        (_, Some(window)) => format!("{amount} in {window}"),
    };
    format!("{} ({amount}, {})", quota.name, quota.scope.as_str())
}

/// Records of other devices that are shown one by one.
const OTHERS_SHOWN: usize = 5;

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.trace.exchanges.is_empty() {
            writeln!(f, "No request could be made.")?;
        }
        for exchange in &self.trace.exchanges {
            self.exchange(f, exchange)?;
        }
        writeln!(f, "All of it took {} ms.", self.took_ms)?;
        match self.detail.as_str() {
            "" => writeln!(f, "Outcome for {}: {}.", self.device, self.outcome)?,
            detail => writeln!(f, "Outcome for {}: {}: {detail}", self.device, self.outcome)?,
        }
        for record in self.record.iter().chain(self.others.iter().take(OTHERS_SHOWN)) {
            write!(f, "{record}")?;
        }
        if self.others.len() > OTHERS_SHOWN {
            writeln!(f, "  … and {} more devices that were not asked for", self.others.len() - OTHERS_SHOWN)?;
        }
        for hold in &self.holds {
            writeln!(f, "Hold: {} until {}: {}", hold.scope.as_str(), hold.until, hold.reason)?;
        }
        let quotas = if self.quotas.is_empty() { "no quota".to_owned() } else { self.quotas.join(", ") };
        write!(f, "Cost {} of {quotas}. No reading was stored.", self.cost)
    }
}

impl Shown {
    fn exchange(&self, f: &mut fmt::Formatter<'_>, exchange: &Exchange) -> fmt::Result {
        let Exchange { request, answer, rule } = exchange;
        writeln!(f, "{} {}", request.method, request.url)?;
        message(f, &request.headers, &request.body)?;
        let Some(came) = answer else { return writeln!(f, "\nNo answer.\n") };
        writeln!(f, "\nHTTP {}, {} bytes", came.status, came.body_bytes)?;
        message(f, &came.headers, &came.body)?;
        match rule {
            Some(line) => writeln!(f, "\nJudged by the rule at {}:{line}.\n", self.file),
            None => writeln!(f, "\nJudged by its status: no rule fits.\n"),
        }
    }
}

impl fmt::Display for ShownRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id.as_deref().unwrap_or("the device");
        let online = if self.online { "online" } else { "offline" };
        match &self.observed_at {
            Some(at) => writeln!(f, "  {id}: {online}, observed at {at}")?,
            None => writeln!(f, "  {id}: {online}")?,
        }
        self.values.iter().try_for_each(|(name, value)| writeln!(f, "    {name}  {value}"))
    }
}

fn message(f: &mut fmt::Formatter<'_>, headers: &[(String, String)], body: &str) -> fmt::Result {
    headers.iter().try_for_each(|(name, value)| writeln!(f, "  {name}: {value}"))?;
    body.lines().try_for_each(|line| writeln!(f, "  | {line}"))
}

pub(super) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let app = &context.app;
    let provider = app.registry.find(&args.provider)?;
    let tenant = tenants::find(&app.pool, &args.tenant).await?;
    let connection = connections::find(&app.pool, tenant, &args.connection).await?;
    if connection.provider != provider.name.as_str() {
        let (label, own) = (&args.connection, &connection.provider);
        return Err(CliError::refused(format!(
            "connection {label:?} is one of {own}, not of {}",
            provider.name
        )));
    }
    let (resource, _) = match (&args.resource, provider.only_resource()) {
        (Some(name), _) => provider.find_resource(name)?,
        (None, Some(only)) => only,
        (None, None) => {
            let known = provider.resource_list();
            return Err(CliError::refused(format!("say --resource: {} has {known}", provider.name)));
        }
    };
    let wanted = Wanted {
        provider,
        tenant,
        connection: connection.id,
        device: args.device.as_deref(),
        resource,
        patience: Duration::from_millis(args.wait.as_ms()),
    };
    let trial = trial::run(app, &wanted).await.map_err(CliError::refused)?;
    let went_well = matches!(
        trial.answer.outcomes.first(),
        Some((_, Outcome::Fresh(_) | Outcome::Unchanged | Outcome::DeviceOffline))
    );
    let shown = Shown::of(trial, provider, resource);
    context.output.answer(&shown)?;
    match went_well {
        true => Ok(()),
        false => Err(CliError::refused(format!("the call came to {}", shown.outcome))),
    }
}

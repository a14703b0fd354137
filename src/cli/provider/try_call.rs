//! `paceline provider try`

use crate::cli::{CliError, Context};
use crate::fetch::{Exchange, Trace};
use crate::preference::{connections, tenants};
use crate::provider::{Provider, Quota, QuotaKind};
use crate::trial::{self, Trial, TrialRequest};
use crate::words::{Interval, Outcome, Record, ResourceName, Scope};
use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt;
use std::time::Duration;

/// The call to make.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paceline provider try govee --tenant acme --connection main
  paceline provider try govee --tenant acme --connection main --device H7143/52:8B:00:00:00:00:00:01
  paceline provider try meadow --tenant acme --connection main --resource energy --json \\
      | jq '.exchanges[].request'

Makes one real call, ahead of waiting jobs. The quotas grant and count it like any other call, and a refusal by \
the provider holds other calls back likewise. Readings are shown, not stored. Secrets are shown as ***. Exit code \
0 if the outcome is fresh, unchanged, device_offline or no_data; 1 otherwise.")]
pub struct Args {
    /// Name of the provider
    provider: String,
    /// Tenant that owns the connection
    #[arg(long, value_name = "NAME")]
    tenant: String,
    /// Label or number of the connection
    #[arg(long, value_name = "LABEL")]
    connection: String,
    /// Device to fetch, by number or external id [default: the connection's first]
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    /// Resource to fetch; optional if the provider has only one
    #[arg(long, value_name = "NAME")]
    resource: Option<String>,
    /// How long to wait until the quotas grant the call
    #[arg(long, value_name = "TIME", default_value = "10s")]
    wait: Interval,
}

#[derive(Serialize)]
struct TrialReport {
    provider: String,
    resource: String,
    device: String,
    #[serde(flatten)]
    trace: Trace,
    took_ms: u64,
    /// The definition's file, for the rule's position.
    #[serde(skip)]
    file: String,
    outcome: &'static str,
    detail: String,
    record: Option<RecordView>,
    /// Unsolicited: records of devices that the call did not ask for.
    others: Vec<RecordView>,
    holds: Vec<HoldView>,
    cost: u32,
    quotas: Vec<String>,
}

#[derive(Serialize)]
struct RecordView {
    id: Option<String>,
    online: bool,
    observed_at: Option<String>,
    values: Map<String, Value>,
}

#[derive(Serialize)]
struct HoldView {
    scope: Scope,
    until: String,
    reason: String,
}

impl From<&Record> for RecordView {
    fn from(record: &Record) -> Self {
        Self {
            id: record.external_id.clone(),
            online: record.online,
            observed_at: record.observed_at.map(|at| at.to_string()),
            values: record.values.clone(),
        }
    }
}

impl TrialReport {
    fn new(trial: Trial, provider: &Provider, resource: &ResourceName) -> Self {
        let Trial { external_id, trace, answer, took, cost, inputs } = trial;
        let outcome = answer.outcomes.first().map(|(_, outcome)| outcome);
        let record = match outcome {
            Some(Outcome::Fresh(record)) => Some(record.into()),
            _ => None,
        };
        let holds = answer.holds.iter().map(|(hold, _)| HoldView {
            scope: hold.scope,
            until: hold.until.to_string(),
            reason: hold.reason.clone(),
        });
        let quotas = provider.quotas().filter(|quota| quota.counts(resource));
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
            others: answer.others.iter().map(RecordView::from).collect(),
            holds: holds.collect(),
            cost,
            quotas: quotas.map(|quota| quota_text(quota, quota.amount_for(&inputs))).collect(),
        }
    }
}

/// `day (10000 in 1day, connection)`
fn quota_text(quota: &Quota, amount: u32) -> String {
    let amount = match (quota.kind, quota.window) {
        (QuotaKind::Concurrent, _) | (_, None) => format!("{amount} at once"),
        (QuotaKind::Errors, Some(window)) => format!("{amount} errors in a row in {window}"),
        (QuotaKind::Adaptive, Some(window)) => format!("up to {amount} in {window}"),
        (_, Some(window)) => format!("{amount} in {window}"),
    };
    format!("{} ({amount}, {})", quota.name, quota.scope.as_str())
}

/// Unsolicited records that are shown; the rest is counted.
const OTHERS_SHOWN_MAX: usize = 5;

impl fmt::Display for TrialReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.trace.exchanges.is_empty() {
            writeln!(f, "No request was made.")?;
        }
        for exchange in &self.trace.exchanges {
            self.write_exchange(f, exchange)?;
        }
        writeln!(f, "Took {} ms in all.", self.took_ms)?;
        match self.detail.as_str() {
            "" => writeln!(f, "Outcome for {}: {}.", self.device, self.outcome)?,
            detail => writeln!(f, "Outcome for {}: {}: {detail}", self.device, self.outcome)?,
        }
        for record in self.record.iter().chain(self.others.iter().take(OTHERS_SHOWN_MAX)) {
            write!(f, "{record}")?;
        }
        if self.others.len() > OTHERS_SHOWN_MAX {
            let more = self.others.len() - OTHERS_SHOWN_MAX;
            writeln!(f, "  … and {more} more devices that the call did not ask for")?;
        }
        for hold in &self.holds {
            writeln!(f, "Hold: {} until {}: {}", hold.scope.as_str(), hold.until, hold.reason)?;
        }
        let quotas = if self.quotas.is_empty() { "no quota".to_owned() } else { self.quotas.join(", ") };
        write!(f, "Cost {} of {quotas}. No reading was stored.", self.cost)
    }
}

impl TrialReport {
    fn write_exchange(&self, f: &mut fmt::Formatter<'_>, exchange: &Exchange) -> fmt::Result {
        let Exchange { request, response, rule } = exchange;
        writeln!(f, "{} {}", request.method, request.url)?;
        write_message(f, &request.headers, &request.body)?;
        let Some(response) = response else { return writeln!(f, "\nNo response.\n") };
        writeln!(f, "\nHTTP {}, {} bytes", response.status, response.body_bytes)?;
        write_message(f, &response.headers, &response.body)?;
        match rule {
            Some(line) => writeln!(f, "\nJudged by the rule at {}:{line}.\n", self.file),
            None => writeln!(f, "\nJudged by its status: no rule matches.\n"),
        }
    }
}

impl fmt::Display for RecordView {
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

fn write_message(f: &mut fmt::Formatter<'_>, headers: &[(String, String)], body: &str) -> fmt::Result {
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
            "connection {label:?} is at provider {own}, not {}",
            provider.name
        )));
    }
    let (resource, _) = match (&args.resource, provider.only_resource()) {
        (Some(name), _) => provider.find_resource(name)?,
        (None, Some(only)) => only,
        (None, None) => {
            let known = provider.resource_list();
            return Err(CliError::refused(format!("give --resource: {} has {known}", provider.name)));
        }
    };
    let request = TrialRequest {
        provider: provider.clone(),
        tenant,
        connection: connection.id,
        device: args.device,
        resource: resource.clone(),
        timeout: Duration::from_millis(args.wait.as_ms()),
    };
    let trial = context.until_interrupted(trial::run(app, request)).await?.map_err(CliError::refused)?;
    let is_success = matches!(
        trial.answer.outcomes.first(),
        Some((_, Outcome::Fresh(_) | Outcome::Unchanged | Outcome::DeviceOffline | Outcome::NoData { .. }))
    );
    let report = TrialReport::new(trial, provider, resource);
    context.output.answer(&report)?;
    match is_success {
        true => Ok(()),
        false => Err(CliError::refused(format!("outcome of the call: {}", report.outcome))),
    }
}

//! A call for devices.

use super::{Exchanges, HoldView, Wanted, holds, quotas};
use crate::cli::{CliError, Context};
use crate::fetch::Trace;
use crate::provider::Provider;
use crate::trial::{self, Trial, TrialRequest};
use crate::words::{Outcome, Record, ResourceName};
use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt;

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
    /// What the call came to for each device; the first is also printed above.
    devices: Vec<DeviceView>,
    /// Unsolicited: records of devices that the call did not ask for.
    others: Vec<RecordView>,
    holds: Vec<HoldView>,
    cost: u32,
    quotas: Vec<String>,
}

#[derive(Serialize, Clone)]
struct RecordView {
    id: Option<String>,
    online: bool,
    observed_at: Option<String>,
    values: Map<String, Value>,
}

#[derive(Serialize, Clone)]
struct DeviceView {
    device: String,
    outcome: &'static str,
    detail: String,
    record: Option<RecordView>,
}

impl DeviceView {
    fn new(device: &str, outcome: Option<&Outcome>) -> Self {
        Self {
            device: device.to_owned(),
            outcome: outcome.map_or("nothing", Outcome::as_str),
            detail: outcome.map(Outcome::detail).unwrap_or_default(),
            record: match outcome {
                Some(Outcome::Fresh(record)) => Some(record.into()),
                _ => None,
            },
        }
    }
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
        let devices: Vec<_> =
            trial.outcomes().map(|(device, outcome)| DeviceView::new(device, outcome)).collect();
        let first = devices.first().cloned().unwrap_or_else(|| DeviceView::new("", None));
        let DeviceView { device, outcome, detail, record } = first;
        let Trial { trace, answer, took, cost, inputs, .. } = trial;
        Self {
            provider: provider.name.to_string(),
            resource: resource.to_string(),
            device,
            trace,
            took_ms: took.as_millis() as u64,
            file: provider.file.clone(),
            outcome,
            detail,
            record,
            devices,
            others: answer.others.iter().map(RecordView::from).collect(),
            holds: holds(&answer.holds),
            cost,
            quotas: quotas(provider, resource, &inputs),
        }
    }
}

/// Unsolicited records that are shown; the rest is counted.
const OTHERS_SHOWN_MAX: usize = 5;

impl fmt::Display for TrialReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Exchanges(&self.trace, Some(&self.file)).fmt(f)?;
        writeln!(f, "Took {} ms in all.", self.took_ms)?;
        for DeviceView { device, outcome, detail, record } in &self.devices {
            match detail.as_str() {
                "" => writeln!(f, "Outcome for {device}: {outcome}.")?,
                detail => writeln!(f, "Outcome for {device}: {outcome}: {detail}")?,
            }
            record.iter().try_for_each(|record| write!(f, "{record}"))?;
        }
        for record in self.others.iter().take(OTHERS_SHOWN_MAX) {
            write!(f, "{record}")?;
        }
        if self.others.len() > OTHERS_SHOWN_MAX {
            let more = self.others.len() - OTHERS_SHOWN_MAX;
            writeln!(f, "  … and {more} more devices that the call did not ask for")?;
        }
        self.holds.iter().try_for_each(|hold| writeln!(f, "{hold}"))?;
        let quotas = if self.quotas.is_empty() { "no quota".to_owned() } else { self.quotas.join(", ") };
        write!(f, "Cost {} of {quotas}. No reading was stored.", self.cost)
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

/// Makes the call and shows it.
pub(super) async fn run(
    context: &Context,
    wanted: Wanted,
    devices: Vec<String>,
    resource: Option<&str>,
) -> Result<(), CliError> {
    let provider = &wanted.provider;
    let (resource, _) = match (resource, provider.only_resource()) {
        (Some(name), _) => provider.find_resource(name)?,
        (None, Some(only)) => only,
        (None, None) => {
            let known = provider.resource_list();
            return Err(CliError::refused(format!("give --resource: {} has {known}", provider.name)));
        }
    };
    let request = TrialRequest {
        provider: provider.clone(),
        tenant: wanted.tenant,
        connection: wanted.connection,
        devices,
        resource: resource.clone(),
        timeout: wanted.timeout,
    };
    let trial = context.until_interrupted(trial::run(&context.app, request)).await?;
    let trial = trial.map_err(CliError::refused)?;
    let is_failure = |outcome: Option<&Outcome>| {
        use Outcome::{DeviceOffline, Fresh, NoData, Unchanged};
        !matches!(outcome, Some(Fresh(_) | Unchanged | DeviceOffline | NoData { .. }))
    };
    let failed = trial.outcomes().find(|(_, outcome)| is_failure(*outcome));
    let failed = failed.map(|(_, outcome)| outcome.map_or("nothing", Outcome::as_str));
    context.output.answer(&TrialReport::new(trial, provider, resource))?;
    match failed {
        None => Ok(()),
        Some(outcome) => Err(CliError::refused(format!("outcome of the call: {outcome}"))),
    }
}

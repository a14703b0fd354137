//! A call for the list of a connection's devices.

use super::{Exchanges, HoldView, Wanted, holds};
use crate::cli::{CliError, Context, table};
use crate::discovery::{self, DiscoverRequest, ListTrial};
use crate::fetch::Trace;
use crate::words::{ListedDevice, Outcome, ResourceName};
use serde::Serialize;
use std::fmt;

#[derive(Serialize)]
struct ListReport {
    provider: String,
    #[serde(flatten)]
    trace: Trace,
    took_ms: u64,
    /// The definition's file, for the rule's position.
    #[serde(skip)]
    file: String,
    /// `listed`, or why there is no list.
    outcome: &'static str,
    detail: String,
    devices: Vec<ListedDevice>,
    holds: Vec<HoldView>,
}

impl fmt::Display for ListReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Exchanges(&self.trace, Some(&self.file)).fmt(f)?;
        writeln!(f, "Took {} ms in all.", self.took_ms)?;
        match self.detail.as_str() {
            "" => writeln!(f, "Outcome: {}, {} devices.", self.outcome, self.devices.len())?,
            detail => writeln!(f, "Outcome: {}: {detail}", self.outcome)?,
        }
        if !self.devices.is_empty() {
            let mut table = table::new(&["id", "name", "group", "model", "resources"]);
            for device in &self.devices {
                let resources = device.resources.as_ref().map_or("by default".to_owned(), |names| {
                    names.iter().map(ResourceName::as_str).collect::<Vec<_>>().join(", ")
                });
                let ListedDevice { external_id, name, group, model, .. } = device;
                table.add_row([external_id, name, group, model, &resources]);
            }
            writeln!(f, "{table}")?;
        }
        self.holds.iter().try_for_each(|hold| writeln!(f, "{hold}"))?;
        write!(f, "Nothing was changed; `paceline connection discover` adds the devices.")
    }
}

/// Asks for the list and shows it.
pub(super) async fn run(context: &Context, wanted: Wanted) -> Result<(), CliError> {
    let request = DiscoverRequest {
        provider: wanted.provider.clone(),
        tenant: wanted.tenant,
        connection: wanted.connection,
        timeout: wanted.timeout,
        dry_run: true,
    };
    let listed = context.until_interrupted(discovery::try_list(&context.app, request)).await?;
    let ListTrial { trace, listing, took } = listed.map_err(CliError::refused)?;
    let (outcome, detail, devices) = match listing.devices {
        Ok(devices) => ("listed", String::new(), devices),
        Err(outcome) => (Outcome::as_str(&outcome), outcome.detail(), Vec::new()),
    };
    let report = ListReport {
        provider: wanted.provider.name.to_string(),
        trace,
        took_ms: took.as_millis() as u64,
        file: wanted.provider.file.clone(),
        outcome,
        detail,
        devices,
        holds: holds(&listing.holds),
    };
    context.output.answer(&report)?;
    match outcome {
        "listed" => Ok(()),
        other => Err(CliError::refused(format!("outcome of the call: {other}"))),
    }
}

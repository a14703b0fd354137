//! `paceline device remove`

use crate::cli::confirm::confirm;
use crate::cli::{CliError, Context};
use crate::keep::{self, Removal};
use crate::preference::{find, tenants};
use crate::words::{DeviceId, TenantId};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The devices to remove.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paceline device remove 17
  paceline device remove --tenant acme th-7c9e6679 th-1b2c3d4e --yes

Deletes the devices with their jobs, latest values, history and events; nothing of them is kept. A provider's list \
of devices does not add a removed device again: `paceline device add` and `device import` do.")]
pub struct Args {
    /// Numbers of the devices, or with --tenant their external ids
    #[arg(required = true, value_name = "DEVICE")]
    devices: Vec<String>,
    /// Tenant that owns the devices
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Serialize)]
struct Removed(Removal);

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(removal) = self;
        write!(f, "Removed {removal}. A provider's list does not add them again; `paceline device add` does.")
    }
}

/// Finds all devices before it asks, and removes none if one is unknown.
pub(super) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let app = &context.app;
    let tenant = match &args.tenant {
        Some(name) => Some(tenants::find(&app.pool, name).await?),
        None => None,
    };
    let mut by_tenant: BTreeMap<TenantId, BTreeSet<DeviceId>> = BTreeMap::new();
    for asked in &args.devices {
        let (tenant, found) = find::device(&app.pool, tenant, asked).await?;
        by_tenant.entry(tenant).or_default().insert(found.device);
    }
    let by_tenant: Vec<(TenantId, Vec<DeviceId>)> =
        by_tenant.into_iter().map(|(tenant, devices)| (tenant, devices.into_iter().collect())).collect();
    let mut counted = Removal::default();
    for (tenant, devices) in &by_tenant {
        counted = counted.plus(keep::count_devices(app, *tenant, devices).await?);
    }
    confirm(&counted.to_string(), args.yes)?;
    let mut removed = Removal::default();
    for (tenant, devices) in &by_tenant {
        let done = keep::remove_devices(app, *tenant, devices).await.map_err(CliError::refused)?;
        removed = removed.plus(done);
    }
    context.output.answer(&Removed(removed))
}

//! The demo's devices, with mixed intervals and priorities.

use crate::app::App;
use crate::cloud::{CloudDevice, CloudSettings};
use crate::preference::connections::{ConnectionError, NewConnection};
use crate::preference::devices::{NewDevice, TenantConnection};
use crate::preference::{connections, devices};
use crate::words::{Interval, Priority, ProviderName, ResourceName, Secrets, TenantId};
use std::collections::BTreeMap;

/// Devices per account, as many as in a large home.
const DEVICES_PER_ACCOUNT: u32 = 100;

/// Interval, ms, and priority of ten devices, repeated over the fleet. One in ten is watched live; most can wait.
const PREFERENCES: [(u64, Priority); 10] = [
    (10_000, Priority::Realtime),
    (30_000, Priority::Normal),
    (60_000, Priority::Normal),
    (60_000, Priority::Low),
    (30_000, Priority::High),
    (60_000, Priority::Normal),
    (120_000, Priority::Background),
    (30_000, Priority::Normal),
    (60_000, Priority::Low),
    (20_000, Priority::High),
];

/// Settings of a cloud with this many devices.
pub(super) fn cloud(devices: u32) -> CloudSettings {
    let accounts = devices.div_ceil(DEVICES_PER_ACCOUNT).max(1);
    CloudSettings { accounts, devices_per_account: devices.div_ceil(accounts), ..CloudSettings::default() }
}

/// Adds a connection with its devices for each account of the cloud. Returns the number of devices.
pub(super) async fn add(
    app: &App,
    tenant: TenantId,
    provider: &ProviderName,
    cloud: &CloudSettings,
    base_url: &str,
    mut devices_left: u32,
) -> Result<u32, ConnectionError> {
    let mut added = 0;
    for account in 0..cloud.accounts {
        let new = NewConnection {
            tenant,
            provider: provider.clone(),
            label: format!("home-{}", account + 1).parse()?,
            params: BTreeMap::from([("base_url".to_owned(), base_url.to_owned())]),
            secrets: Secrets::only(cloud.key(account)),
        };
        let connection = connections::add(&app.pool, &app.sealer, new).await?;
        let count = devices_left.min(cloud.devices_per_account);
        let new: Vec<_> =
            cloud.devices(account).take(count as usize).enumerate().map(|(n, d)| device(n, d)).collect();
        devices::add(&app.pool, &TenantConnection { tenant, connection, provider: provider.clone() }, &new)
            .await?;
        devices_left -= count;
        added += count;
    }
    Ok(added)
}

fn device(n: usize, known: CloudDevice) -> NewDevice {
    let (interval_ms, priority) = PREFERENCES[n % PREFERENCES.len()];
    let job = |resource: &str, ms, priority| {
        Some((resource.parse::<ResourceName>().ok()?, Interval::from_ms(ms)?, priority))
    };
    let energy = known.has_energy.then(|| job("energy", 60_000, Priority::Low)).flatten();
    NewDevice {
        external_id: known.id,
        name: known.name,
        group: String::new(),
        jobs: job("state", interval_ms, priority).into_iter().chain(energy).collect(),
    }
}

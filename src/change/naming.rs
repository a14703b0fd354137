//! Renames devices.

use crate::app::App;
use crate::postgres::PostgresError;
use crate::preference::devices::naming;
use crate::words::{DeviceId, TenantId};

/// Names a device, and shows it so at once. False: the tenant has no such device.
pub async fn rename_device(
    app: &App,
    tenant: TenantId,
    device: DeviceId,
    name: &str,
) -> Result<bool, PostgresError> {
    let renamed = naming::rename(&app.pool, tenant, device, name).await?;
    if renamed {
        // The outbox renews what is cached, too; but a device without jobs has nothing there.
        if let Err(error) = app.cache.forget([(tenant, device)]).await {
            tracing::debug!(device = device.0, %error, "cached device not renewed yet");
        }
    }
    Ok(renamed)
}

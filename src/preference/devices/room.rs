//! How many devices a tenant may have: a cloud's list may be long, and of a cloud that the tenant runs.

use super::batch::TenantConnection;
use super::device_list::DeviceList;
use crate::postgres::{PostgresError, Transaction};
use crate::preference::tenants;

/// For how many more devices the tenant has room.
pub(super) async fn left(
    tx: &mut Transaction,
    account: &TenantConnection,
    list: DeviceList<'_>,
) -> Result<u64, PostgresError> {
    let devices = tenants::room::devices(tx, account.tenant).await?;
    Ok(u64::from(list.devices_max).saturating_sub(devices))
}

/// Shows with the connection that devices were left out.
pub(super) async fn note(
    tx: &mut Transaction,
    account: &TenantConnection,
    list: DeviceList<'_>,
    left_out: usize,
) -> Result<(), PostgresError> {
    let (listed, max) = (list.devices.len(), list.devices_max);
    let why = format!(
        "{left_out} of {listed} listed devices were not added: a tenant may have {max} devices; remove some, or ask \
         the operator for more"
    );
    tracing::warn!(
        connection = account.connection.0,
        left_out,
        max,
        "a list of devices was too long for its tenant"
    );
    sqlx::query!(
        "UPDATE connections SET discovery_error = $3 WHERE tenant_id = $1 AND connection_id = $2",
        account.tenant.0,
        account.connection.0,
        why
    )
    .execute(tx)
    .await
    .map(drop)
    .map_err(PostgresError::on("store the list of devices"))
}

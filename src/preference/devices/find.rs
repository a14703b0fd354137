//! Finds the device and the resource that a command names.

use crate::postgres::{Pool, PostgresError};
use crate::preference::jobs::DeviceRef;
use crate::provider::{LookupError, Provider, Resource};
use crate::words::{ConnectionId, DeviceId, ResourceName, TenantId};

/// The name is unknown or ambiguous.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// There is no such device.
    #[error(
        "no device answers to {0:?}: give its number, or its external id and --tenant; \
         `paceline device list` shows both"
    )]
    NoDevice(String),
    /// Several devices match.
    #[error("several devices match {asked:?}: {numbers}; name one by its number, without --tenant")]
    Devices {
        /// The requested name.
        asked: String,
        /// Their numbers.
        numbers: String,
    },
    /// There is no such resource.
    #[error(transparent)]
    Resource(#[from] LookupError),
    /// Several resources are possible.
    #[error("device {device} has several resources: choose one with --resource, of {known}")]
    Resources {
        /// The device.
        device: DeviceId,
        /// The provider's resources.
        known: String,
    },
    /// The database.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
}

/// The device of this number or, within a tenant, of this external id.
pub async fn device(
    pool: &Pool,
    tenant: Option<TenantId>,
    asked: &str,
) -> Result<(TenantId, DeviceRef), FindError> {
    let rows = sqlx::query!(
        // Two branches, so that each uses its own index.
        r#"-- All tenants: if none is given: the operator names a device alone.
           SELECT d.tenant_id AS "tenant_id!", d.device_id AS "device_id!", c.provider AS "provider!",
                  d.connection_id AS "connection_id!", d.group_key AS "group_key!", c.state = 'active' AS "usable!",
                  t.weight AS "weight!"
           FROM (SELECT tenant_id, device_id, connection_id, group_key FROM devices
                 WHERE device_id = $2 AND ($1::bigint IS NULL OR tenant_id = $1)
                 UNION
                 SELECT tenant_id, device_id, connection_id, group_key FROM devices
                 WHERE tenant_id = $1 AND external_id = $3) d
           JOIN connections c USING (tenant_id, connection_id) JOIN tenants t USING (tenant_id) LIMIT 10"#,
        tenant.map(|t| t.0),
        asked.parse::<i64>().ok(),
        asked
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("find the device"))?;
    match rows.as_slice() {
        [] => Err(FindError::NoDevice(asked.to_owned())),
        [row] => {
            let subject = DeviceRef {
                device: DeviceId(row.device_id),
                provider: row.provider.clone(),
                connection: ConnectionId(row.connection_id),
                group: row.group_key.clone(),
                usable: row.usable,
                weight: row.weight.max(1) as u32,
            };
            Ok((TenantId(row.tenant_id), subject))
        }
        several => {
            let numbers: Vec<_> = several.iter().map(|row| row.device_id.to_string()).collect();
            Err(FindError::Devices { asked: asked.to_owned(), numbers: numbers.join(", ") })
        }
    }
}

/// The named resource; without a name, the provider's only one, or the only one for which the device has a job.
pub async fn resource<'a>(
    pool: &Pool,
    tenant: TenantId,
    device: DeviceId,
    provider: &'a Provider,
    asked: Option<&str>,
) -> Result<(&'a ResourceName, &'a Resource), FindError> {
    if let Some(name) = asked {
        return Ok(provider.find_resource(name)?);
    }
    if let Some(only) = provider.only_resource() {
        return Ok(only);
    }
    let jobs = sqlx::query_scalar!(
        "SELECT resource FROM jobs WHERE tenant_id = $1 AND device_id = $2 LIMIT 2",
        tenant.0,
        device.0
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read the device's jobs"))?;
    match jobs.as_slice() {
        [only] => Ok(provider.find_resource(only)?),
        _ => Err(FindError::Resources { device, known: provider.resource_list() }),
    }
}

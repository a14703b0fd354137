//! Puts a connection on another plan.

use super::tell_soon;
use crate::app::App;
use crate::postgres::PostgresError;
use crate::preference::connections::ConnectionRef;
use crate::preference::quota_inputs;
use crate::provider::LookupError;
use crate::words::TenantId;

/// Why a connection was not put on another plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// There is no such plan.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// Postgres.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
}

/// Puts a connection on another plan. Its limits are others at once, if Redis is there, else when the outbox is
/// drained.
pub async fn set_plan(
    app: &App,
    tenant: TenantId,
    found: &ConnectionRef,
    plan: &str,
) -> Result<(), PlanError> {
    let provider = app.registry.find(&found.provider)?;
    provider.check_plan(plan)?;
    // A connection without jobs has nothing in the schedule; its quota inputs follow with its first job.
    if let Some(job) = quota_inputs::set_plan(&app.pool, tenant, found.id, plan).await? {
        tell_soon(app, &provider.name, &[job]).await;
    }
    Ok(())
}

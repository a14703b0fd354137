//! Housekeeping: drains the outbox, rebuilds a lost schedule, checks and repairs it, keeps quota inputs up to date,
//! makes, rolls up and drops the history's partitions, and removes devices and connections.
//!
//! Any number of processes may keep house; what must not be done twice at once is done under an advisory lock.

mod check;
mod failing;
mod gone;
mod history;
mod incidents;
mod outbox;
mod plan;
mod quota_inputs;
mod rebuild;
mod remove;
mod rollup;
mod run;
mod turns;

pub use check::{CheckReport, Problem, check};
pub use incidents::end_forgotten;
pub use outbox::{drain, drain_soon, tell_soon};
pub use plan::{PlanError, set_plan};
pub use rebuild::{Rebuild, rebuild_if_lost};
pub use remove::{Removal, count_connection, count_devices, remove_connection, remove_devices};
pub use rollup::roll_up;
pub use run::{check_in_turn, run};
pub use turns::turn;

use crate::app::App;
use crate::postgres::{self, PostgresError};
use crate::preference::jobs::StoredJob;
use crate::redis::RedisError;
use crate::schedule::{Entry, offset_ms};

/// What housekeeping can fail by.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// Redis.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// Postgres.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
}

/// Has Postgres look at tables that were filled a moment ago. If it does not, statements are slow for a while.
async fn analyze_grown(app: &App) {
    let tables = ["connections", "devices", "jobs", "latest"];
    if let Err(error) = postgres::analyze_grown(&app.pool, &tables).await {
        tracing::debug!(%error, "tables not analyzed");
    }
}

/// The job as it goes into the schedule; none if it is not to be there.
fn entry(app: &App, stored: StoredJob) -> Option<Entry> {
    let provider = app.registry.get(stored.job.provider.as_str())?;
    let resource = provider.resource(stored.job.resource.as_str())?;
    stored.is_scheduled().then(|| Entry {
        offset_ms: offset_ms(&stored.job, resource.unit, resource.places()),
        last_run: stored.last_run,
        wanted_since: Some(stored.created_at),
        shared: resource.places() > 1,
        weight: stored.weight,
        failures: None,
        job: stored.job,
    })
}

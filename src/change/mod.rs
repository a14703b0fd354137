//! Changes what users ask for, and tells what they get: before they choose, and after.

mod advice;
mod defaults;
mod many;
mod naming;
mod one;
mod outlook;

pub use advice::Advice;
pub use defaults::{Followed, default_preferences, follow_default, remove_default, set_default};
pub use many::{ManyChanged, Slower, set_jobs};
pub use naming::rename_device;
pub use one::{Change, JobView, job, set_job};
pub use outlook::{Outlook, QuotaUse, outlook};

pub use crate::forecast::Plans;
pub use crate::preference::jobs::defaults::DefaultPreference;
pub use crate::preference::jobs::{JobFilter, Precondition};

use crate::forecast::ForecastFailed;
use crate::postgres::PostgresError;
use crate::words::text::excerpt;
use crate::words::{DeviceId, Interval, IntervalError, ResourceName, TimetableError};
use std::time::Duration;

/// What jobs get is computed within this time, or else left out of the answer to a change.
const FORECAST_TIMEOUT: Duration = Duration::from_secs(2);

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// Windows without the interval outside of them.
    #[error("windows need an interval too: it holds outside of them")]
    NoBase,
    /// Windows without a zone.
    #[error("windows need a zone, such as Europe/Paris: the times of day are of it")]
    NoZone,
    /// A zone without windows.
    #[error("a zone needs windows: it says of which place their times of day are")]
    ZoneAlone,
    /// The windows cannot be read.
    #[error("windows: {0}")]
    Windows(#[from] TimetableError),
    /// The tenant has no such device.
    #[error("there is no device {0}")]
    NoDevice(DeviceId),
    /// The device's provider is no longer defined.
    #[error("device {device} is at provider {provider:?}, which is no longer defined")]
    NoProvider {
        /// The device.
        device: DeviceId,
        /// The provider's name.
        provider: String,
    },
    /// The connection's provider is no longer defined.
    #[error("provider {0:?} is no longer defined")]
    ProviderGone(String),
    /// No device of the connection is in this home or site.
    #[error("no device of the connection is in the home or site {:?}", excerpt(.0))]
    NoGroup(String),
    /// No such preference stands at the connection or group.
    #[error("no preference for {resource} stands there")]
    NoDefault {
        /// The resource.
        resource: ResourceName,
    },
    /// The provider has no such resource.
    #[error("provider {provider} has no resource {asked:?}")]
    NoResource {
        /// The provider's name.
        provider: String,
        /// What was asked for.
        asked: String,
        /// Its resources.
        known: Vec<String>,
    },
    /// There is no such job.
    #[error("device {device} has no job for {resource}")]
    NoJob {
        /// The device.
        device: DeviceId,
        /// The resource.
        resource: ResourceName,
    },
    /// The interval.
    #[error(transparent)]
    Interval(#[from] IntervalError),
    /// An interval that is shorter than some of the jobs may have.
    #[error(
        "an interval of {asked} is too short for {jobs} of the jobs: {resource} of {provider} may be refreshed every \
         {minimum} at most; no job was changed"
    )]
    TooShort {
        /// The requested interval.
        asked: Interval,
        /// How many jobs it is too short for.
        jobs: usize,
        /// One of their resources, that with the longest minimum.
        resource: ResourceName,
        /// Its provider.
        provider: String,
        /// Its minimum.
        minimum: Interval,
    },
    /// The job is not as the request says.
    #[error("{resource} of device {device} was changed since you read it")]
    Outdated {
        /// The device.
        device: DeviceId,
        /// The resource.
        resource: ResourceName,
    },
    /// Postgres.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// What the jobs get could not be computed.
    #[error(transparent)]
    Forecast(#[from] ForecastFailed),
}

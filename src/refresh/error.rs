//! Why a job is not refreshed.

use crate::postgres::PostgresError;
use crate::redis::RedisError;
use crate::schedule::{Limited, LimitedBy, RefreshBounds, RefreshesLeft};
use crate::words::{DeviceId, ResourceName};

/// Why a job cannot be refreshed. The texts are for the command line.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The device has no job of this resource.
    #[error(
        "device {device} is not asked for {resource} yet: \
         `paceline set {device} --resource {resource} --interval TIME` asks for it"
    )]
    NoJob {
        /// The device.
        device: DeviceId,
        /// The resource.
        resource: ResourceName,
    },
    /// Its owner paused it.
    #[error(
        "{resource} of device {device} is paused by its owner: `paceline set {device} --resource {resource} --resume` \
         runs it again"
    )]
    Paused {
        /// The device.
        device: DeviceId,
        /// The resource.
        resource: ResourceName,
    },
    /// Its account may not be used.
    #[error(
        "the provider refuses the credential of connection {label:?} ({reason}): \
         `paceline connection secret --tenant NAME {label} --secret-file FILE` gives it a new one, or its owner allows \
         it again by `paceline connection authorize`"
    )]
    NeedsReauth {
        /// What its owner calls the account.
        label: String,
        /// Why.
        reason: String,
    },
    /// Its owner paused or closed its connection.
    #[error(
        "connection {label:?} is paused or closed by its owner: `paceline connection resume` resumes one that is paused"
    )]
    ConnectionPaused {
        /// What its owner calls the account.
        label: String,
    },
    /// Its provider is no longer defined.
    #[error("device {device} is at provider {provider:?}, which is no longer defined")]
    NoProvider {
        /// The device.
        device: DeviceId,
        /// The provider's name.
        provider: String,
    },
    /// A filter names no job.
    #[error("the filters name no job")]
    NoJobs,
    /// A filter names too many jobs.
    #[error("the filters name {jobs} jobs; at most {max} are refreshed at once: name fewer")]
    TooManyJobs {
        /// How many.
        jobs: usize,
        /// How many there may be.
        max: usize,
    },
    /// The schedule lacks it: it was lost, or is being changed.
    #[error("the job is not in the schedule yet; try again in a few seconds")]
    NotYet,
    /// The tenant asks for too many.
    #[error("{}", limit_text(.limited))]
    Limited {
        /// By what.
        limited: Limited,
        /// How many more it may ask for.
        left: RefreshesLeft,
        /// Of how many.
        bounds: RefreshBounds,
    },
    /// There is no such refresh, or not any more.
    #[error("there is no refresh {0}; refreshes are kept for a day")]
    Unknown(i64),
    /// The schedule did not answer in time.
    #[error("the schedule in Redis did not answer in time; try again in a few seconds")]
    NoAnswer,
    /// Redis.
    #[error("the schedule in Redis could not be asked; try again in a few seconds")]
    Redis(#[from] RedisError),
    /// Postgres.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
}

fn limit_text(Limited { by, wait }: &Limited) -> String {
    let seconds = wait.as_secs_f64().ceil();
    let why = match by {
        LimitedBy::Job => "this job was refreshed just now",
        LimitedBy::Tenant => "you asked for as many refreshes as you may at once",
        LimitedBy::Share(quota) => {
            return format!(
                "refreshes have had your share of the provider's limit {quota:?}, which all its users have in common: \
                 try again in {seconds} s, or set a shorter interval"
            );
        }
    };
    format!("{why}: try again in {seconds} s, or set a shorter interval")
}

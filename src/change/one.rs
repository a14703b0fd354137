//! One job.

use super::{ChangeError, FORECAST_TIMEOUT};
use crate::app::App;
use crate::forecast::{Gets, Plans, forecast_beside};
use crate::keep;
use crate::preference::jobs::defaults::{self, Whose};
use crate::preference::jobs::{self, Asked, DeviceRef, JobPatch, Precondition, StoredJob, Windows};
use crate::provider::{Provider, Resource};
use crate::read;
use crate::words::{
    DeviceId, Interval, Job, JobOrigin, Priority, ResourceName, TenantId, Timetable, UnixMs, Window,
};
use std::collections::HashSet;
use std::sync::Arc;
use tokio::time::timeout;

/// A change as a user writes it.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// The interval, as text: its minimum depends on the resource.
    pub interval: Option<String>,
    /// The windows that replace those that there are, if any; none of them: the interval holds at all times.
    pub windows: Option<Vec<Window>>,
    /// The zone of the windows.
    pub zone: Option<String>,
    /// The priority.
    pub priority: Option<Priority>,
    /// Whether the job is paused.
    pub paused: Option<bool>,
}

/// A job, and what it gets.
#[derive(Debug, Clone, PartialEq)]
pub struct JobView {
    /// The job, with the interval in force and the priority that its owner chose.
    pub job: Job,
    /// Its intervals by time of day.
    pub windows: Option<Windows>,
    /// Where the preference stands.
    pub origin: JobOrigin,
    /// When this was looked at.
    pub at: UnixMs,
    /// The shortest interval that its provider allows.
    pub minimum: Interval,
    /// What it gets in the long run; none while it is not scheduled, or if that could not be computed in time.
    pub gets: Option<Gets>,
    /// Whether it waits until its connection can be used again.
    pub waits_for_connection: bool,
}

/// What is asked of one resource of a device, and what it gets.
pub async fn job(
    app: &App,
    plans: &Plans,
    tenant: TenantId,
    device: DeviceId,
    resource: &str,
) -> Result<JobView, ChangeError> {
    let subject = Subject::find(app, tenant, device, resource).await?;
    let jobs = jobs::of_connections(&app.pool, &[subject.device.connection]).await?;
    let is_asked = |stored: &&StoredJob| subject.is(&stored.job);
    let Some(stored) = jobs.iter().find(is_asked).cloned() else {
        return Err(ChangeError::NoJob { device, resource: subject.resource_name });
    };
    let shown = stored.asked();
    Ok(subject.view(app, plans, shown, Some(jobs)).await)
}

/// Changes what is asked of one resource of a device; creates the job if there is none. With `dry_run` nothing is
/// changed: the answer says what would be.
#[expect(clippy::too_many_arguments, reason = "whose job, which change, and how")]
pub async fn set_job(
    app: &App,
    plans: &Plans,
    tenant: TenantId,
    device: DeviceId,
    resource: &str,
    change: &Change,
    precondition: Option<&Precondition>,
    dry_run: bool,
) -> Result<JobView, ChangeError> {
    let subject = Subject::find(app, tenant, device, resource).await?;
    let patch = change.patch(subject.resource.interval_min)?;
    let outdated = || ChangeError::Outdated { device, resource: subject.resource_name.clone() };
    if !dry_run {
        let (of, name) = (&subject.device, &subject.resource_name);
        let default = subject.resource.interval_default;
        let now = app.clock.now();
        let set = jobs::set(&app.pool, tenant, of, (name, default), &patch, precondition, now).await?;
        let mut asked = set.ok_or_else(outdated)?;
        if asked.origin == JobOrigin::Provider {
            // It may be new, and others may ask for it: its home or connection.
            asked = subject.followed(app, tenant, asked).await?;
        }
        // The preference is committed, whatever happens: what follows makes it take effect sooner, and tells more.
        keep::tell_soon(app, &subject.provider.name, &[asked.job.id]).await;
        if let Err(error) = read::refresh(app, tenant, &[device]).await {
            tracing::debug!(device = device.0, %error, "could not refresh the cached device");
        }
        return Ok(subject.view(app, plans, asked, None).await);
    }
    let mut jobs = jobs::of_connections(&app.pool, &[subject.device.connection]).await?;
    let found = jobs.iter().position(|stored| subject.is(&stored.job));
    let met = match (precondition, found) {
        (None, _) | (Some(Precondition::Exists), Some(_)) => true,
        (Some(Precondition::Versions(versions)), Some(at)) => versions.contains(&jobs[at].job.version),
        (Some(_), None) => false,
    };
    if !met {
        return Err(outdated());
    }
    let at = found.unwrap_or_else(|| {
        let default = subject.resource.interval_default;
        jobs.push(subject.device.new_job(
            tenant,
            &subject.provider.name,
            &subject.resource_name,
            default,
            app.clock.now(),
        ));
        jobs.len() - 1
    });
    patch.apply(&mut jobs[at], app.clock.now());
    Ok(subject.view(app, plans, jobs[at].asked(), Some(jobs)).await)
}

impl Change {
    /// The change, if a job with this minimum may have it.
    pub fn patch(&self, minimum: Interval) -> Result<JobPatch, ChangeError> {
        let interval =
            self.interval.as_ref().map(|text| Interval::parse_within(text, minimum)).transpose()?;
        let windows = match &self.windows {
            None if self.zone.is_some() => return Err(ChangeError::ZoneAlone),
            None => None,
            Some(windows) if windows.is_empty() => Some(None),
            Some(windows) => {
                let (base, zone) = (interval.ok_or(ChangeError::NoBase)?, self.zone.as_ref());
                let zone = zone.ok_or(ChangeError::NoZone)?;
                Some(Some(Windows { base, timetable: Timetable::new(zone, windows, minimum)? }))
            }
        };
        Ok(JobPatch { interval, windows, priority: self.priority, paused: self.paused })
    }

    /// The change, whatever the jobs' minimums.
    pub(super) fn patch_of_many(&self) -> Result<JobPatch, ChangeError> {
        self.patch(Interval::MIN)
    }
}

/// A resource of a device.
struct Subject<'a> {
    device: DeviceRef,
    provider: &'a Arc<Provider>,
    resource_name: ResourceName,
    resource: &'a Resource,
}

impl<'a> Subject<'a> {
    async fn find(
        app: &'a App,
        tenant: TenantId,
        device: DeviceId,
        asked: &str,
    ) -> Result<Self, ChangeError> {
        let found = jobs::device_of(&app.pool, tenant, device).await?.ok_or(ChangeError::NoDevice(device))?;
        let provider = app.registry.get(&found.provider);
        let provider =
            provider.ok_or_else(|| ChangeError::NoProvider { device, provider: found.provider.clone() })?;
        let (resource_name, resource) =
            asked.parse().ok().zip(provider.resource(asked)).ok_or_else(|| ChangeError::NoResource {
                provider: provider.name.to_string(),
                asked: asked.to_owned(),
                known: provider.resource_names().map(ToString::to_string).collect(),
            })?;
        Ok(Self { device: found, provider, resource_name, resource })
    }

    /// The job, once it follows the preference of its group or connection, if one stands there.
    async fn followed(&self, app: &App, tenant: TenantId, asked: Asked) -> Result<Asked, ChangeError> {
        let whose = Whose { tenant, connection: self.device.connection };
        defaults::follow_device(&app.pool, whose, self.device.device).await?;
        let found = jobs::by_id(&app.pool, &[asked.job.id.0]).await?.pop();
        Ok(found.map_or(asked, |stored| stored.asked()))
    }

    fn is(&self, job: &Job) -> bool {
        job.device == self.device.device && job.resource == self.resource_name
    }

    /// A job, and what it gets beside all jobs of its connection; none: as they are in Postgres.
    async fn view(self, app: &App, plans: &Plans, asked: Asked, jobs: Option<Vec<StoredJob>>) -> JobView {
        let Asked { job, windows, origin } = asked;
        // A job that probes a connection that was refused runs ever more rarely.
        let is_usable = self.device.usable;
        let gets = match job.state.is_scheduled() && is_usable {
            true => self.gets(app, plans, &job, jobs).await,
            false => None,
        };
        JobView {
            waits_for_connection: job.state.is_scheduled() && !is_usable,
            job,
            windows,
            origin,
            at: app.clock.now(),
            minimum: self.resource.interval_min,
            gets,
        }
    }

    /// What the job gets. That it cannot be told does not undo a change.
    async fn gets(&self, app: &App, plans: &Plans, job: &Job, jobs: Option<Vec<StoredJob>>) -> Option<Gets> {
        let planning = async {
            let jobs = match jobs {
                Some(jobs) => jobs,
                None => jobs::of_connections(&app.pool, &[job.connection]).await?,
            };
            let connections = HashSet::from([job.connection]);
            forecast_beside(app, plans, self.provider, &connections, jobs).await
        };
        let forecast = match timeout(FORECAST_TIMEOUT, planning).await {
            Ok(Ok(forecast)) => forecast,
            Ok(Err(error)) => {
                tracing::warn!(device = job.device.0, %error, "what a job gets could not be computed");
                return None;
            }
            Err(_) => {
                tracing::debug!(device = job.device.0, "what a job gets was not computed in time");
                return None;
            }
        };
        let (demand, effective) = forecast.jobs().find(|(demand, _)| demand.job == job.id)?;
        Some(forecast.gets(demand, effective))
    }
}

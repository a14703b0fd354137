//! Preferences of a whole connection, or of a group within it.

use super::{Change, ChangeError};
use crate::app::App;
use crate::keep;
use crate::preference::connections::ConnectionRef;
use crate::preference::jobs::defaults::{self, DefaultPreference, Whose};
use crate::provider::Provider;
use crate::words::{DeviceId, Interval, Priority, ResourceName, TenantId};
use std::sync::Arc;

/// What became of the jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Followed {
    /// How many jobs are otherwise than before.
    pub changed: u64,
    /// How many jobs have a preference of their own, which counts for them.
    pub own: u64,
}

/// The preferences of a connection and its groups.
pub async fn default_preferences(
    app: &App,
    tenant: TenantId,
    found: &ConnectionRef,
) -> Result<Vec<DefaultPreference>, ChangeError> {
    Ok(defaults::list(&app.pool, Whose { tenant, connection: found.id }).await?)
}

/// Sets the preference of a connection, or of a group within it. What the change leaves out stays; of a new one, it is
/// as the provider's defaults. With `replaces`, jobs that have one of their own give it up.
pub async fn set_default(
    app: &App,
    tenant: TenantId,
    found: &ConnectionRef,
    (group, resource): (&str, &str),
    change: &Change,
    replaces: bool,
) -> Result<(DefaultPreference, Followed), ChangeError> {
    let (provider, name) = resource_of(app, found, resource)?;
    let declared = provider.resource(name.as_str());
    let minimum = declared.map_or(Interval::MIN, |resource| resource.interval_min);
    let patch = change.patch(minimum)?;
    let whose = Whose { tenant, connection: found.id };
    if !group.is_empty() && !defaults::has_group(&app.pool, whose, group).await? {
        return Err(ChangeError::NoGroup(group.to_owned()));
    }
    let by_default = DefaultPreference {
        group: group.to_owned(),
        resource: name.clone(),
        interval: declared.map_or(Interval::MAX, |resource| resource.interval_default),
        windows: None,
        priority: Priority::default(),
    };
    let change = |new: &mut DefaultPreference| {
        new.interval = patch.interval.unwrap_or(new.interval);
        new.priority = patch.priority.unwrap_or(new.priority);
        if let Some(windows) = patch.windows {
            new.windows = windows.map(|windows| windows.timetable);
        }
    };
    let fallback = fallback(&provider);
    let set = defaults::set(&app.pool, whose, by_default, change, replaces, &fallback);
    let (new, changed) = set.await?;
    Ok((new, followed(app, whose, (group, &name), changed).await?))
}

/// Removes the preference of a connection or group; its jobs follow the next nearest.
pub async fn remove_default(
    app: &App,
    tenant: TenantId,
    found: &ConnectionRef,
    (group, resource): (&str, &str),
) -> Result<Followed, ChangeError> {
    let (provider, name) = resource_of(app, found, resource)?;
    let whose = Whose { tenant, connection: found.id };
    let removed = defaults::remove(&app.pool, whose, (group, &name), &fallback(&provider)).await?;
    let changed = removed.ok_or_else(|| ChangeError::NoDefault { resource: name.clone() })?;
    followed(app, whose, (group, &name), changed).await
}

/// Has a device's job give up its own preference and follow the nearest one.
pub async fn follow_default(
    app: &App,
    tenant: TenantId,
    device: DeviceId,
    resource: &str,
) -> Result<(), ChangeError> {
    let found = crate::preference::jobs::device_of(&app.pool, tenant, device).await?;
    let found = found.ok_or(ChangeError::NoDevice(device))?;
    let connection = ConnectionRef { id: found.connection, provider: found.provider };
    let (provider, name) = resource_of(app, &connection, resource)?;
    let whose = Whose { tenant, connection: connection.id };
    if !defaults::give_up(&app.pool, whose, (device, &name), &fallback(&provider)).await? {
        return Err(ChangeError::NoJob { device, resource: name });
    }
    keep::drain_soon(app).await;
    Ok(())
}

async fn followed(
    app: &App,
    whose: Whose,
    of: (&str, &ResourceName),
    changed: u64,
) -> Result<Followed, ChangeError> {
    keep::drain_soon(app).await;
    let own = defaults::own(&app.pool, whose, of).await?;
    Ok(Followed { changed, own: own.unsigned_abs() })
}

fn fallback(provider: &Arc<Provider>) -> impl Fn(&str) -> Option<Interval> + Sync + use<> {
    let provider = provider.clone();
    move |resource| Some(provider.resource(resource)?.interval_default)
}

fn resource_of(
    app: &App,
    found: &ConnectionRef,
    asked: &str,
) -> Result<(Arc<Provider>, ResourceName), ChangeError> {
    let gone = || ChangeError::ProviderGone(found.provider.clone());
    let provider = app.registry.get(&found.provider).ok_or_else(gone)?;
    let name = asked.parse().ok().filter(|name: &ResourceName| provider.resource(name.as_str()).is_some());
    let name = name.ok_or_else(|| ChangeError::NoResource {
        provider: provider.name.to_string(),
        asked: asked.to_owned(),
        known: provider.resource_names().map(ToString::to_string).collect(),
    })?;
    Ok((provider.clone(), name))
}

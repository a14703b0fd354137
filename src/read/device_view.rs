//! Devices as readers see them.

use super::With;
use crate::app::{App, DeviceLatest};
use crate::explain::{Turn, Turns};
use crate::provider::{ProviderOverview, ValueOverview};
use crate::record::view::JobMeta;
use crate::words::{DeviceId, Interval, JobState, Latest, Priority, UnixMs};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A device as readers see it.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct DeviceView {
    /// Its number here.
    #[schema(example = 17)]
    pub id: DeviceId,
    /// What its owner calls it.
    #[schema(example = "Living room")]
    pub name: String,
    /// The provider's own id of it.
    #[schema(example = "th-7c9e6679")]
    pub external_id: String,
    /// Its provider.
    #[schema(example = "meadow")]
    pub provider: String,
    /// The label of its connection.
    #[schema(example = "home")]
    pub connection: String,
    /// Its home or site; null for none.
    #[schema(required = true)]
    pub group: Option<String>,
    /// What kind of device it is; null where nobody tells.
    #[schema(required = true, example = "awair-element")]
    pub model: Option<String>,
    /// Since when the cloud's own list of devices leaves it out; null while it does not.
    #[schema(required = true)]
    pub missing_since: Option<String>,
    /// By resource.
    pub resources: BTreeMap<String, ResourceView>,
}

/// The last good value of one resource, how old it is, and what was asked.
///
/// Without a reading yet, what tells of one is null.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ResourceView {
    /// Name → value, as the provider's definition maps them.
    #[schema(required = true, example = json!({"temperature_c": 20.5}))]
    pub values: Option<Map<String, Value>>,
    /// When the source saw it, by the source's clock; null where it does not tell.
    #[schema(required = true, example = "2026-03-01T08:29:30.000Z")]
    pub observed_at: Option<String>,
    /// When a good answer last came.
    #[schema(required = true, example = "2026-03-01T08:30:00.000Z")]
    pub fetched_at: Option<String>,
    /// How old the values are: now minus `observed_at`, or minus `fetched_at` where that is null, ms.
    #[schema(required = true, example = 42_345)]
    pub age_ms: Option<i64>,
    /// How long ago a good answer last came: now minus `fetched_at`, ms.
    #[schema(required = true, example = 12_345)]
    pub fetched_ago_ms: Option<i64>,
    /// Whether both ages are as they should be: that of the answer at most the interval and its grace; that of the
    /// values, where the source tells a time, at most the definition's `stale_after`, or else six intervals and the
    /// source's usual pace.
    pub fresh: bool,
    /// Whether the provider says that it can reach the device.
    #[schema(required = true)]
    pub online: Option<bool>,
    /// How often it is asked to be refreshed.
    #[schema(example = "30s")]
    pub interval: String,
    /// How much it matters.
    pub priority: Priority,
    /// Whether it is scheduled.
    pub state: JobState,
    /// With `with=meta`: what the values are, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<BTreeMap<String, ValueOverview>>,
    /// With `with=turn`: when it is refreshed next, how often it is in the long run, and why it is late.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn: Option<Turn>,
}

impl DeviceView {
    pub(super) fn of(
        mut device: DeviceLatest,
        app: &App,
        id: DeviceId,
        now: UnixMs,
        with: With<'_>,
        turns: &mut Turns,
    ) -> Self {
        let provider = app.registry.get(&device.meta.provider).filter(|_| with.meta);
        let overview = provider.map(|provider| provider.overview());
        let mut turns = turns.remove(&id).unwrap_or_default();
        let resources = device.meta.jobs.into_iter().map(|(resource, job)| {
            let latest = device.latest.remove(&resource);
            let mut view = resource_view(app, &job, latest, now);
            view.meta = overview.and_then(|overview| meta(overview, &resource, view.values.as_ref()));
            view.turn = turns.remove(resource.as_str());
            (resource, view)
        });
        Self {
            id,
            resources: resources.collect(),
            name: device.meta.name,
            external_id: device.meta.external_id,
            provider: device.meta.provider,
            connection: device.meta.connection,
            group: Some(device.meta.group).filter(|group| !group.is_empty()),
            model: Some(device.meta.model).filter(|model| !model.is_empty()),
            missing_since: device.meta.missing_since.map(|at| at.to_string()),
        }
    }
}

impl ResourceView {
    /// Without what changes by time alone, so that two answers are equal if they say the same.
    fn ageless(&self) -> Self {
        Self { age_ms: None, fetched_ago_ms: None, ..self.clone() }
    }
}

impl DeviceView {
    /// Without what changes by time alone, so that two answers are equal if they say the same.
    pub fn ageless(&self) -> Self {
        let resources = self.resources.iter().map(|(name, view)| (name.clone(), view.ageless()));
        Self { resources: resources.collect(), ..self.clone() }
    }
}

/// What is known of the values that there are.
fn meta(
    overview: &ProviderOverview,
    resource: &str,
    values: Option<&Map<String, Value>>,
) -> Option<BTreeMap<String, ValueOverview>> {
    let resource = overview.resources.get(resource)?;
    let there = values?.keys().filter_map(|name| Some((name.clone(), resource.value(name)?)));
    Some(there.collect())
}

fn resource_view(app: &App, job: &JobMeta, latest: Option<Latest>, now: UnixMs) -> ResourceView {
    let interval = Interval::from_ms(job.interval_ms).unwrap_or(Interval::MAX);
    let grace_ms = app.grace_ms(interval);
    ResourceView {
        observed_at: latest.as_ref().and_then(|latest| latest.observed_at).map(|at| at.to_string()),
        fetched_at: latest.as_ref().map(|latest| latest.fetched_at.to_string()),
        online: latest.as_ref().map(|latest| latest.online),
        age_ms: latest.as_ref().map(|latest| latest.age_ms(now)),
        fetched_ago_ms: latest.as_ref().map(|latest| latest.fetched_ago_ms(now)),
        fresh: latest.as_ref().is_some_and(|latest| latest.is_fresh(interval, grace_ms, now)),
        values: latest.map(|latest| latest.values),
        interval: interval.to_string(),
        priority: job.priority,
        state: job.state,
        meta: None,
        turn: None,
    }
}

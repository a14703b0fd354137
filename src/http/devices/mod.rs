//! Endpoints that read devices.

pub(super) mod change;
mod cursor;
mod fields;
mod stream;
mod tagged;

pub(super) use stream::*;

use super::Api;
use super::auth::Authenticated;
use super::error::{ApiError, Problem};
use super::extract::{Path, Query};
use super::refusals::{Refusals, any_of};
use crate::read::{self, DeviceView, Filter, Sort, Span, With};
use crate::words::text::excerpt;
use crate::words::{DeviceId, JobState};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use fields::Fields;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use tagged::tagged;

const PAGE_SIZE: i64 = 100;
const PAGE_SIZE_MAX: i64 = 500;

/// Which devices to list, in which order, and what to tell of them.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DeviceQuery {
    /// Page size.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<i64>,
    /// Continues a list behind a page: its `next`, with the same filters and order.
    after: Option<String>,
    /// The order: by number, or by name without regard to case.
    #[param(inline, default = "id")]
    sort: Option<SortBy>,
    /// Only these devices: up to 500 numbers, separated by commas. Those that are not yours are left out.
    #[param(example = "17,18")]
    ids: Option<String>,
    /// Only devices at this provider.
    #[param(example = "meadow")]
    provider: Option<String>,
    /// Only devices of the connection with this label or number.
    #[param(example = "home")]
    connection: Option<String>,
    /// Only devices of this home or site.
    #[param(example = "Cabin")]
    group: Option<String>,
    /// Only devices with a job in this state.
    #[param(inline)]
    state: Option<JobState>,
    /// `true`: only devices with a resource that is scheduled and not fresh; `false`: only those without.
    stale: Option<bool>,
    /// Only devices with this text in their names, in upper or lower case.
    #[param(example = "room")]
    q: Option<String>,
    /// Only these parts: paths separated by commas, with `*` for every resource.
    #[param(example = "id,name,resources.*.values")]
    fields: Option<String>,
    /// What more to tell, separated by commas: `meta` (label, unit and kind of each value) and `turn` (when each
    /// resource is refreshed next, how often in the long run, and what it waits for).
    #[param(example = "meta,turn")]
    with: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum SortBy {
    Id,
    Name,
}

/// What to tell of a device.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ShownQuery {
    /// Only these parts: paths separated by commas, with `*` for every resource.
    #[param(example = "id,name,resources.*.values")]
    fields: Option<String>,
    /// What more to tell, separated by commas: `meta` (label, unit and kind of each value) and `turn` (when each
    /// resource is refreshed next, how often in the long run, and what it waits for).
    #[param(example = "meta,turn")]
    with: Option<String>,
}

/// Some of your devices.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct DevicePage {
    /// In the order asked for.
    devices: Vec<DeviceView>,
    /// The `after` that continues the list; null at its end.
    #[schema(required = true)]
    next: Option<String>,
    /// If the list was read at a replica of Postgres: at most how far it was behind, ms. Devices added or removed since
    /// may be missing; values are as new as ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 40)]
    replica_lag_ms: Option<u64>,
}

/// Parts of some of your devices: the answer to `fields`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct DevicePartsPage {
    /// In the order asked for.
    devices: Vec<Map<String, Value>>,
    /// The `after` that continues the list; null at its end.
    #[schema(required = true)]
    next: Option<String>,
    /// If the list was read at a replica of Postgres: at most how far it was behind, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    replica_lag_ms: Option<u64>,
}

/// Parts of a device: the answer to `fields`.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "its field is documentation")]
pub(super) struct DeviceParts(Map<String, Value>);

any_of! {
    /// A page of devices, or of parts of them.
    pub(super) DeviceList: DevicePage, DevicePartsPage
}

any_of! {
    /// A device, or parts of it.
    pub(super) OneDevice: DeviceView, DeviceParts
}

/// Lists your devices with their latest values.
///
/// Pages stay correct while devices are added, removed and renamed: a page continues behind the last device of the one
/// before, wherever that is by now.
#[utoipa::path(
    get, path = "/v1/devices", operation_id = "list_devices", tag = "devices", params(DeviceQuery),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "A page of devices; with `fields`, only those parts of them", body = DeviceList,
            headers(("ETag" = String, description = "Changes with the answer, but not with mere ages"))),
        (status = 304, description = "Nothing has changed since the answer with this `If-None-Match`"),
        (status = 400, description = "An invalid query parameter", body = Problem,
            content_type = "application/problem+json"),
        Refusals,
    )
)]
pub(super) async fn list(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
    headers: HeaderMap,
    Query(query): Query<DeviceQuery>,
) -> Result<Response, ApiError> {
    if let Some(provider) = &query.provider {
        api.app.registry.find(provider).map_err(|error| ApiError::BadQuery(error.to_string()))?;
    }
    let shown = Shown::read(query.fields.as_deref(), query.with.as_deref())?;
    let limit = query.limit.unwrap_or(PAGE_SIZE);
    if !(1..=PAGE_SIZE_MAX).contains(&limit) {
        return Err(ApiError::BadQuery(format!("limit is {limit}: it must be from 1 to {PAGE_SIZE_MAX}")));
    }
    let sort = query.sort.map_or(Sort::Id, |sort| match sort {
        SortBy::Id => Sort::Id,
        SortBy::Name => Sort::Name,
    });
    let after = query.after.clone();
    let filter = query.into_filter()?;
    let list = cursor::list_of(principal.tenant, &filter, sort);
    let after = after.map(|after| cursor::read(list, &after)).transpose()?;
    let span = Span { sort, after, limit };
    let page = read::devices(&api.app, principal.tenant, &filter, &span, shown.with(&api)).await?;
    let (next, replica_lag_ms) = (page.next.map(|next| cursor::write(list, next)), page.replica_lag_ms);
    // How far a replica is behind changes by time alone, as ages do.
    let same: Vec<_> = page.devices.iter().map(DeviceView::ageless).collect();
    let Some(fields) = &shown.fields else {
        let body = DevicePage { devices: page.devices, next, replica_lag_ms };
        return Ok(tagged(&headers, &(same, &body.next), &body));
    };
    let parts = |views: &[DeviceView]| views.iter().map(|view| fields.of_view(view)).collect::<Vec<_>>();
    let body = DevicePartsPage { devices: parts(&page.devices), next, replica_lag_ms };
    Ok(tagged(&headers, &(parts(&same), &body.next), &body))
}

/// Returns one device with its latest values and their age.
#[utoipa::path(
    get, path = "/v1/devices/{id}", operation_id = "get_device", tag = "devices", security(("bearer" = [])),
    params(("id" = i64, Path, description = "The device's number", example = 17), ShownQuery),
    responses(
        (status = 200, description = "The device; with `fields`, only those parts of it", body = OneDevice,
            headers(("ETag" = String, description = "Changes with the answer, but not with mere ages"))),
        (status = 304, description = "Nothing has changed since the answer with this `If-None-Match`"),
        (status = 400, description = "Not an id, or an invalid query parameter", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such device, or not yours", body = Problem,
            content_type = "application/problem+json"),
        Refusals,
    )
)]
pub(super) async fn show(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
    Path(id): Path<DeviceId>,
    headers: HeaderMap,
    Query(query): Query<ShownQuery>,
) -> Result<Response, ApiError> {
    let shown = Shown::read(query.fields.as_deref(), query.with.as_deref())?;
    let device = read::device(&api.app, principal.tenant, id, shown.with(&api)).await?;
    let device = device.ok_or(ApiError::NoSuchDevice(id))?;
    let same = device.ageless();
    Ok(match &shown.fields {
        Some(fields) => tagged(&headers, &fields.of_view(&same), &fields.of_view(&device)),
        None => tagged(&headers, &same, &device),
    })
}

/// What is told of a device.
struct Shown {
    fields: Option<Fields>,
    meta: bool,
    turns: bool,
}

impl Shown {
    fn read(fields: Option<&str>, with: Option<&str>) -> Result<Self, ApiError> {
        let fields = fields.map(Fields::parse).transpose()?;
        let mut shown = Self { fields, meta: false, turns: false };
        for word in with.iter().flat_map(|with| with.split(',')) {
            match word {
                "meta" => shown.meta = true,
                "turn" => shown.turns = true,
                _ => {
                    let word = excerpt(word);
                    return Err(ApiError::BadQuery(format!("with names {word:?}: it knows meta and turn")));
                }
            }
        }
        Ok(shown)
    }

    fn with<'a>(&self, api: &'a Api) -> With<'a> {
        With { meta: self.meta, turns: self.turns.then_some(&*api.plans) }
    }
}

impl Fields {
    fn of_view(&self, view: &DeviceView) -> Map<String, Value> {
        match serde_json::to_value(view).map(|value| self.of(&value)) {
            Ok(Value::Object(parts)) => parts,
            // A view is always an object.
            _ => Map::new(),
        }
    }
}

impl DeviceQuery {
    fn into_filter(self) -> Result<Filter, ApiError> {
        // Postgres refuses text with a NUL; refuse it here, so that it is not reported as an internal error.
        if [&self.provider, &self.connection, &self.group, &self.q]
            .into_iter()
            .flatten()
            .any(|text| text.contains('\0'))
        {
            return Err(ApiError::BadQuery(
                "provider, connection, group and q must not hold a NUL character".to_owned(),
            ));
        }
        Ok(Filter {
            ids: self.ids.as_deref().map(ids).transpose()?,
            provider: self.provider,
            connection: self.connection,
            group: self.group,
            state: self.state,
            stale: self.stale,
            name_contains: self.q,
        })
    }
}

/// The devices that a list of numbers names, each once.
pub(super) fn ids(text: &str) -> Result<Vec<DeviceId>, ApiError> {
    let id = |text: &str| {
        let id = text.trim().parse().ok().map(DeviceId);
        id.ok_or_else(|| ApiError::BadQuery(format!("ids holds {:?}, which is no number", excerpt(text))))
    };
    let ids = text.split(',').map(id).collect::<Result<BTreeSet<_>, _>>()?;
    if ids.len() as i64 > PAGE_SIZE_MAX {
        let found = ids.len();
        return Err(ApiError::BadQuery(format!(
            "ids names {found} devices: at most {PAGE_SIZE_MAX}; ask several times"
        )));
    }
    Ok(ids.into_iter().collect())
}

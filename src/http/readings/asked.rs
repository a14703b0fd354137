//! What is asked of the history, read from the query or the body.

use crate::history::Question;
use crate::http::error::ApiError;
use crate::words::text::excerpt;
use crate::words::{DeviceId, ResourceName, TenantId, UnixMs, duration_ms};
use serde::Deserialize;

const DAY_MS: i64 = 86_400_000;
/// Readings in one answer, if no limit is given.
const LIMIT: usize = 1_000;
/// More values of a reading are not named one by one.
const VALUES_MAX: usize = 100;

/// Which part of a device's history to return.
#[derive(Debug, Clone, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct DeviceHistory {
    /// A resource of the device's provider.
    #[param(required = true, example = "state")]
    resource: Option<String>,
    /// Only these values, separated by commas; all if absent.
    #[param(example = "temperature_c")]
    value: Option<String>,
    /// The beginning (RFC 3339); a day before `to` if absent.
    #[param(example = "2026-03-01T00:00:00Z")]
    from: Option<String>,
    /// The end (RFC 3339), which is not returned; now if absent.
    #[param(example = "2026-03-02T00:00:00Z")]
    to: Option<String>,
    /// The length of a step, in ms, s, m, h and d; of five minutes or more, a multiple of 5m. Readings as they came if
    /// absent.
    #[param(example = "5m")]
    step: Option<String>,
    /// At most so many readings, if there is no `step`.
    #[param(minimum = 1, default = 1000)]
    limit: Option<usize>,
    /// `json`, `csv` or `ndjson`; as the `Accept` header says if absent.
    #[param(example = "csv")]
    pub(super) format: Option<String>,
}

/// Whose history to return, and which part of it.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ManyHistories {
    /// The devices' numbers, each once.
    #[schema(example = json!([17, 18]))]
    devices: Vec<DeviceId>,
    /// A resource of the devices' providers.
    #[schema(example = "state")]
    resource: String,
    /// Only these values; all if absent.
    #[serde(default)]
    #[schema(example = json!(["temperature_c"]))]
    values: Vec<String>,
    /// The beginning (RFC 3339); a day before `to` if absent.
    #[schema(example = "2026-03-01T00:00:00Z")]
    from: Option<String>,
    /// The end (RFC 3339), which is not returned; now if absent.
    #[schema(example = "2026-03-02T00:00:00Z")]
    to: Option<String>,
    /// The length of a step, in ms, s, m, h and d; of five minutes or more, a multiple of 5m.
    #[schema(example = "1h")]
    step: String,
    /// `json`, `csv` or `ndjson`; as the `Accept` header says if absent.
    #[schema(example = "json")]
    pub(super) format: Option<String>,
}

/// What both ask.
#[derive(Debug)]
pub(super) struct Asked {
    resource: ResourceName,
    values: Vec<String>,
    pub(super) from: UnixMs,
    pub(super) to: UnixMs,
    pub(super) step_ms: Option<i64>,
}

impl Asked {
    pub(super) fn question(&self, tenant: TenantId, devices: Vec<DeviceId>) -> Question {
        Question { tenant, devices, resource: self.resource.clone(), values: self.values.clone() }
    }
}

impl DeviceHistory {
    pub(super) fn asked(&self, now: UnixMs) -> Result<Asked, ApiError> {
        let resource = self.resource.as_deref().ok_or_else(|| bad("resource is missing"))?;
        let values = self.value.iter().flat_map(|list| list.split(',')).map(str::to_owned);
        let step_ms = self.step.as_deref().map(step_ms).transpose()?;
        if step_ms.is_some() && self.limit.is_some() {
            return Err(bad("limit is of readings as they came; with a step, shorten the time instead"));
        }
        let (from, to) = time(self.from.as_deref(), self.to.as_deref(), now)?;
        Ok(Asked { resource: named(resource)?, values: checked(values.collect())?, from, to, step_ms })
    }

    pub(super) fn limit(&self, points_max: usize) -> Result<usize, ApiError> {
        let limit = self.limit.unwrap_or(LIMIT.min(points_max));
        if !(1..=points_max).contains(&limit) {
            return Err(bad(&format!("limit is {limit}: it must be from 1 to {points_max}")));
        }
        Ok(limit)
    }

    /// The `Link` to the readings that did not fit.
    pub(super) fn link(&self, device: DeviceId, next: UnixMs) -> String {
        let from = next.to_string();
        let (limit, to) = (self.limit.map(|limit| limit.to_string()), self.to.clone());
        let all = [
            ("resource", self.resource.clone()),
            ("value", self.value.clone()),
            ("from", Some(from)),
            ("to", to),
            ("limit", limit),
            ("format", self.format.clone()),
        ];
        let given = all.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish();
        format!("</v1/devices/{device}/readings?{query}>; rel=\"next\"")
    }
}

impl ManyHistories {
    pub(super) fn asked(&self, now: UnixMs) -> Result<Asked, ApiError> {
        let (from, to) = time(self.from.as_deref(), self.to.as_deref(), now)?;
        let values = checked(self.values.clone())?;
        Ok(Asked { resource: named(&self.resource)?, values, from, to, step_ms: Some(step_ms(&self.step)?) })
    }

    /// Each device once, in their order.
    pub(super) fn devices(&self, ids_max: usize) -> Result<Vec<DeviceId>, ApiError> {
        if self.devices.len() > ids_max {
            return Err(ApiError::TooManyIds { asked: self.devices.len(), max: ids_max });
        }
        if self.devices.is_empty() {
            return Err(bad("devices is empty: name at least one"));
        }
        let mut seen = std::collections::HashSet::new();
        match self.devices.iter().find(|device| !seen.insert(**device)) {
            Some(twice) => Err(bad(&format!("device {twice} is named twice"))),
            None => Ok(self.devices.clone()),
        }
    }
}

fn bad(text: &str) -> ApiError {
    ApiError::BadQuery(text.to_owned())
}

fn named(resource: &str) -> Result<ResourceName, ApiError> {
    resource.parse().map_err(|error: crate::words::NameError| bad(&error.to_string()))
}

fn checked(values: Vec<String>) -> Result<Vec<String>, ApiError> {
    if values.len() > VALUES_MAX {
        return Err(bad(&format!(
            "{} values are too many; name at most {VALUES_MAX}, or none",
            values.len()
        )));
    }
    // Postgres refuses text with a NUL.
    if values.iter().any(|value| value.is_empty() || value.contains('\0')) {
        return Err(bad("a value's name must not be empty, nor hold a NUL character"));
    }
    Ok(values)
}

fn step_ms(text: &str) -> Result<i64, ApiError> {
    let ms = duration_ms(text).and_then(|ms| i64::try_from(ms).ok()).filter(|ms| *ms > 0);
    ms.ok_or_else(|| {
        let quoted = excerpt(text);
        bad(&format!(
            "step is {quoted:?}: use numbers with the units ms, s, m, h and d, such as 5m or 1h 30m"
        ))
    })
}

fn time(from: Option<&str>, to: Option<&str>, now: UnixMs) -> Result<(UnixMs, UnixMs), ApiError> {
    let to = to.map(|text| instant("to", text)).transpose()?.unwrap_or(now);
    let from = from.map(|text| instant("from", text)).transpose()?.unwrap_or(to.plus_ms(-DAY_MS));
    if from >= to {
        return Err(bad(&format!("from is {from}, which is not before to, {to}")));
    }
    Ok((from, to))
}

/// The years that there is or may be history of.
const INSTANTS: std::ops::Range<i64> = 0..253_402_300_800_000;

fn instant(name: &str, text: &str) -> Result<UnixMs, ApiError> {
    // In a query, a plus that was not escaped is a space.
    let read = chrono::DateTime::parse_from_rfc3339(text)
        .or_else(|_| chrono::DateTime::parse_from_rfc3339(&text.replace(' ', "+")));
    let at = read.ok().map(|at| UnixMs(at.timestamp_millis())).filter(|at| INSTANTS.contains(&at.0));
    at.ok_or_else(|| {
        let quoted = excerpt(text);
        bad(&format!("{name} is {quoted:?}: write an instant since 1970, such as 2026-03-01T08:30:00Z"))
    })
}

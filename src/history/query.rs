//! Questions about the history, and their answers.

use super::bounds::{Bounds, TooManyPoints, Window};
use crate::app::App;
use crate::postgres::{Pool, PostgresError, Read};
use crate::provider::Registry;
use crate::record::rollup;
use crate::record::series::{self, Found, Head, Part, Place};
use crate::settings::History;
use crate::words::series::{Known, Level, Point, Span, Steps};
use crate::words::{DeviceId, ResourceName, TenantId, UnixMs};
use serde_json::Value;
use std::collections::HashMap;

const DAY_MS: i64 = 86_400_000;

/// What is asked about a resource of some devices.
#[derive(Debug, Clone)]
pub struct Question {
    /// Whose devices.
    pub tenant: TenantId,
    /// The devices.
    pub devices: Vec<DeviceId>,
    /// The resource.
    pub resource: ResourceName,
    /// Only these values; empty: all.
    pub values: Vec<String>,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The tenant has no such device.
    #[error("no device {0}")]
    NoSuchDevice(DeviceId),
    /// Its provider has no such resource.
    #[error("provider {provider} has no resource {asked}")]
    NoSuchResource {
        /// The provider.
        provider: String,
        /// As asked.
        asked: String,
        /// Those it has.
        known: Vec<String>,
    },
    /// The answer would be too large.
    #[error(transparent)]
    TooManyPoints(#[from] TooManyPoints),
    /// Postgres.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
}

/// A device's history by steps.
#[derive(Debug)]
pub struct StepSeries {
    /// The device.
    pub device: DeviceId,
    /// All steps.
    pub points: Vec<Point>,
    /// When nothing was known for at least a step.
    pub gaps: Vec<Span>,
    /// When the device was offline for at least a step.
    pub offline: Vec<Span>,
}

/// The answer to a question by steps.
#[derive(Debug)]
pub struct ByStep {
    /// One per device, in the order of the question.
    pub series: Vec<StepSeries>,
    /// From the beginning of the first step to the end of the last.
    pub span: Span,
    /// The level of the roll-ups that were read; none: readings were.
    pub level: Option<Level>,
    /// What happened before this is not kept so finely.
    pub kept_since: UnixMs,
}

/// A reading as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct RawPoint {
    /// When it was fetched.
    pub at: UnixMs,
    /// Until when it is known to have stood, or to stand now.
    pub until: UnixMs,
    /// When the source saw it.
    pub observed_at: Option<UnixMs>,
    /// Whether the device was online.
    pub online: bool,
    /// The values, by name.
    pub values: Vec<(String, Value)>,
}

/// A device's readings as they came.
#[derive(Debug)]
pub struct RawSeries {
    /// The device.
    pub device: DeviceId,
    /// The reading that stood when the time began.
    pub before: Option<RawPoint>,
    /// The readings.
    pub points: Vec<RawPoint>,
    /// When the first reading was fetched that did not fit.
    pub next: Option<UnixMs>,
    /// What happened before this is not kept.
    pub kept_since: UnixMs,
}

/// Answers by steps.
pub async fn steps(app: &App, question: &Question, window: Window) -> Result<Read<ByStep>, HistoryError> {
    let (now, level) = (app.clock.now(), Level::of_step(window.step_ms));
    let span = Span::of_steps(window.from, window.to, window.step_ms);
    let bounds = Bounds { points_max: app.settings.http.points_max };
    bounds.check(window, question.devices.len())?;
    let asked = app.history.ask(|pool| async move {
        let heads = series::heads(&pool, question.tenant, &question.devices, &question.resource).await?;
        let mut of: HashMap<DeviceId, (Steps, bool, Option<UnixMs>)> = HashMap::new();
        let width = bounds.check_width(window, heads.len(), question.names(&heads));
        if heads.len() < question.devices.len() || width.is_err() {
            return Ok((heads, of, width));
        }
        for head in &heads {
            of.insert(head.device, (Steps::new(span, window.step_ms), false, None));
        }
        let part = question.part(level, rolled_until(&pool, level).await?, span, None);
        series::read(&pool, &part, |found| {
            let Some((steps, any, next)) = of.get_mut(&found.device) else { return };
            match found.place {
                Place::After => {
                    let at = found.stretch.gap_since.unwrap_or(found.stretch.first_at);
                    *next = Some(next.map_or(at, |before| before.min(at)));
                }
                Place::Before | Place::Within => {
                    *any = true;
                    steps.take(question.only_asked(found).stretch);
                }
            }
        })
        .await?;
        Ok((heads, of, width))
    });
    let Read { answer: (heads, mut of, width), replica_lag_ms } = asked.await?;
    let by_device = question.check(heads, &app.registry)?;
    width?;
    let ended = question.devices.iter().filter_map(|device| {
        let (head, (mut steps, any, next)) = (by_device.get(device)?, of.remove(device)?);
        let mut known = next.map(Known::Next);
        if let (None, Some(standing)) = (next, &head.standing) {
            // Its row may be gone: what never changes outlives it.
            if !any && standing.reading.first_at < span.to {
                let reading = Found {
                    device: *device,
                    place: Place::Before,
                    stretch: standing.reading.clone(),
                    observed_at: None,
                };
                steps.take(question.only_asked(reading).stretch);
            }
            known = Some(Known::Until(seen_until(standing.seen_at, standing.stands_ms, now)));
        }
        let (points, gaps, offline) = steps.end(known, now);
        Some(StepSeries { device: *device, points, gaps, offline })
    });
    let series = ended.collect();
    let kept_since = kept_since(&app.settings.history, level, now);
    Ok(Read { answer: ByStep { series, span, level, kept_since }, replica_lag_ms })
}

/// Answers with at most `limit` readings of a device, the only one of the question, as they came.
pub async fn readings(
    app: &App,
    question: &Question,
    device: DeviceId,
    span: Span,
    limit: usize,
) -> Result<Read<RawSeries>, HistoryError> {
    let now = app.clock.now();
    let limited = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let asked = app.history.ask(|pool| async move {
        let heads = series::heads(&pool, question.tenant, &question.devices, &question.resource).await?;
        let part = question.part(None, UnixMs(0), span, Some(limited));
        let mut found = Vec::new();
        series::read(&pool, &part, |one| found.push(question.only_asked(one))).await?;
        Ok((heads, found))
    });
    let Read { answer: (heads, mut found), replica_lag_ms } = asked.await?;
    let mut by_device = question.check(heads, &app.registry)?;
    let head = by_device.remove(&device).ok_or(HistoryError::NoSuchDevice(device))?;
    let standing = head.standing;
    found.sort_by_key(|one| (one.place == Place::After, one.stretch.first_at));
    let mut points = Vec::with_capacity(found.len());
    for (n, one) in found.iter().enumerate() {
        let until = match (found.get(n + 1), &standing) {
            (Some(next), _) => one.stretch.stands_until(&next.stretch),
            (None, Some(standing)) => {
                seen_until(standing.seen_at, standing.stands_ms, now).max(one.stretch.last_at)
            }
            (None, None) => one.stretch.last_at,
        };
        points.push((one.place, one.raw(until)));
    }
    let before = points.iter().position(|(place, _)| *place == Place::Before).map(|n| points.remove(n).1);
    let mut points: Vec<_> =
        points.into_iter().filter(|(place, _)| *place == Place::Within).map(|(_, point)| point).collect();
    let next = points.get(limit).map(|first| first.at);
    points.truncate(limit);
    let kept_since = kept_since(&app.settings.history, None, now);
    Ok(Read { answer: RawSeries { device, before, points, next, kept_since }, replica_lag_ms })
}

/// What was confirmed a moment ago still stands.
fn seen_until(seen_at: UnixMs, stands_ms: i64, now: UnixMs) -> UnixMs {
    if now.since_ms(seen_at) <= stands_ms { now } else { seen_at }
}

async fn rolled_until(pool: &Pool, level: Option<Level>) -> Result<UnixMs, PostgresError> {
    let Some(level) = level else { return Ok(UnixMs(0)) };
    Ok(rollup::progress(pool, level).await?.map_or(UnixMs(0), |progress| progress.until))
}

fn kept_since(settings: &History, level: Option<Level>, now: UnixMs) -> UnixMs {
    let days = match level {
        None => settings.keep_days,
        Some(Level::FiveMinutes) => settings.keep_days_5m,
        Some(Level::Hour) => settings.keep_days_1h,
        Some(Level::Day) => settings.keep_days_1day,
    };
    let ms = i64::try_from(days).unwrap_or(i64::MAX).saturating_mul(DAY_MS);
    Level::Day.floor(UnixMs(now.0.saturating_sub(ms)))
}

impl Question {
    fn part(&self, level: Option<Level>, rolled_until: UnixMs, span: Span, limit: Option<i64>) -> Part {
        Part {
            tenant: self.tenant,
            devices: self.devices.clone(),
            resource: self.resource.clone(),
            value: (self.values.len() == 1).then(|| self.values[0].clone()),
            level,
            rolled_until,
            from: span.from,
            to: span.to,
            limit,
        }
    }

    fn only_asked(&self, mut found: Found) -> Found {
        if !self.values.is_empty() {
            found.stretch.values.retain(|name, _| self.values.contains(name));
        }
        found
    }

    /// How many values a point has, as far as what stands tells.
    fn names(&self, heads: &[Head]) -> usize {
        let standing = heads.iter().filter_map(|head| head.standing.as_ref());
        let asked = |name: &&String| self.values.is_empty() || self.values.contains(name);
        standing.map(|one| one.reading.values.keys().filter(asked).count()).max().unwrap_or(0)
    }

    /// The heads by device, if the tenant has all devices, and their providers the resource.
    fn check(&self, heads: Vec<Head>, registry: &Registry) -> Result<HashMap<DeviceId, Head>, HistoryError> {
        let heads: HashMap<_, _> = heads.into_iter().map(|head| (head.device, head)).collect();
        for device in &self.devices {
            let head = heads.get(device).ok_or(HistoryError::NoSuchDevice(*device))?;
            // A definition may be gone; its devices' history is not.
            let Some(provider) = registry.get(&head.provider) else { continue };
            if head.standing.is_none() && provider.resource(self.resource.as_str()).is_none() {
                return Err(HistoryError::NoSuchResource {
                    provider: head.provider.clone(),
                    asked: self.resource.to_string(),
                    known: provider.resource_names().map(ToString::to_string).collect(),
                });
            }
        }
        Ok(heads)
    }
}

impl Found {
    fn raw(&self, until: UnixMs) -> RawPoint {
        let values = self.stretch.values.iter();
        RawPoint {
            at: self.stretch.first_at,
            until,
            observed_at: self.observed_at,
            online: self.stretch.online,
            values: values.map(|(name, tally)| (name.clone(), tally.last.clone())).collect(),
        }
    }
}

//! The history as JSON.

use crate::history::{ByStep, Question, RawPoint, RawSeries};
use crate::postgres::Read;
use crate::words::series::{self, Level, Tally};
use crate::words::{DeviceId, UnixMs, duration_text};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A device's readings as they came.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Readings {
    /// The device.
    #[schema(example = 17)]
    pub(super) device: DeviceId,
    /// The resource.
    #[schema(example = "state")]
    pub(super) resource: String,
    /// The beginning.
    #[schema(example = "2026-03-01T00:00:00.000Z")]
    pub(super) from: String,
    /// The end, which is not of it.
    #[schema(example = "2026-03-02T00:00:00.000Z")]
    pub(super) to: String,
    /// The reading that stood at the beginning; null if nothing did.
    #[schema(required = true)]
    pub(super) before: Option<Reading>,
    /// The readings, in the order in which they were fetched. One that repeats the values came after a gap.
    pub(super) points: Vec<Reading>,
    /// The `from` of the readings that did not fit; null if all did.
    #[schema(required = true)]
    pub(super) next: Option<String>,
    /// What was before this is not kept.
    #[schema(example = "2026-02-01T00:00:00.000Z")]
    pub(super) kept_since: String,
    /// If a replica of Postgres was read: at most how far it was behind, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 40)]
    pub(super) replica_lag_ms: Option<u64>,
}

/// A reading.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Reading {
    /// When it was fetched.
    #[schema(example = "2026-03-01T08:30:00.000Z")]
    pub(super) at: String,
    /// Until when it is known to have stood. Nothing is known from then to the next reading.
    #[schema(example = "2026-03-01T08:35:00.000Z")]
    pub(super) until: String,
    /// When the source saw it, by the source's clock; null where it does not tell.
    #[schema(required = true, example = "2026-03-01T08:29:30.000Z")]
    pub(super) observed_at: Option<String>,
    /// Whether the device was online. If not, there are no values.
    pub(super) online: bool,
    /// Name → value.
    #[schema(example = json!({"temperature_c": 20.5}))]
    pub(super) values: Map<String, Value>,
}

/// A device's history by steps.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct StepReadings {
    /// The device.
    #[schema(example = 17)]
    pub(super) device: DeviceId,
    /// The resource.
    #[schema(example = "state")]
    pub(super) resource: String,
    /// The beginning of the first step.
    #[schema(example = "2026-03-01T00:00:00.000Z")]
    pub(super) from: String,
    /// The end of the last step.
    #[schema(example = "2026-03-02T00:00:00.000Z")]
    pub(super) to: String,
    /// The length of a step.
    #[schema(example = "5m")]
    pub(super) step: String,
    /// What was read: `readings`, or roll-ups by `5m`, `1h` or `1day`, whose newest part is readings.
    #[schema(example = "5m")]
    pub(super) source: &'static str,
    /// All steps.
    pub(super) points: Vec<StepPoint>,
    /// When nothing was known for at least a step.
    pub(super) gaps: Vec<Span>,
    /// When the device was offline for at least a step.
    pub(super) offline: Vec<Span>,
    /// What was before this is not kept by `source`; a longer step may reach further.
    #[schema(example = "2026-02-01T00:00:00.000Z")]
    pub(super) kept_since: String,
    /// If a replica of Postgres was read: at most how far it was behind, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 40)]
    pub(super) replica_lag_ms: Option<u64>,
}

/// What is known of one step. The rest of its time, nothing was known.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct StepPoint {
    /// When the step begins.
    #[schema(example = "2026-03-01T08:30:00.000Z")]
    pub(super) at: String,
    /// Readings in it: changes, not answers.
    #[schema(example = 30)]
    pub(super) readings: u64,
    /// For how long values were known, ms.
    #[schema(example = 300_000)]
    pub(super) known_ms: i64,
    /// For how long the device was offline, ms.
    #[schema(example = 0)]
    pub(super) offline_ms: i64,
    /// What was read or stood, by name.
    pub(super) values: BTreeMap<String, StepValue>,
}

/// What is known of a value in one step. Of numbers, and of bools with false as 0 and true as 1.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub(super) struct StepValue {
    /// The average of the numbers that were read; null if none was.
    #[schema(required = true, example = 20.5)]
    pub(super) avg: Option<f64>,
    /// The least that was read or stood.
    #[schema(required = true, example = 20.1)]
    pub(super) min: Option<f64>,
    /// The greatest that was read or stood.
    #[schema(required = true, example = 20.9)]
    pub(super) max: Option<f64>,
    /// The last that was read or stood.
    #[schema(example = json!(20.4))]
    pub(super) last: Value,
    /// The average over the time in which it was known; null if that is none.
    #[schema(required = true, example = 20.45)]
    pub(super) time_avg: Option<f64>,
    /// Readings of it.
    #[schema(example = 30)]
    pub(super) readings: u64,
}

/// A time.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[schema(as = TimeSpan)]
pub(super) struct Span {
    /// Its beginning.
    #[schema(example = "2026-03-01T09:00:00.000Z")]
    pub(super) from: String,
    /// Its end.
    #[schema(example = "2026-03-01T09:20:00.000Z")]
    pub(super) to: String,
}

/// The histories of many devices.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ManySeries<'a> {
    /// One per device.
    pub(super) series: &'a [StepReadings],
}

impl Readings {
    pub(super) fn new(question: &Question, span: series::Span, found: Read<RawSeries>) -> Self {
        let RawSeries { device, before, points, next, kept_since } = found.answer;
        Self {
            device,
            resource: question.resource.to_string(),
            from: span.from.to_string(),
            to: span.to.to_string(),
            before: before.map(Reading::from),
            points: points.into_iter().map(Reading::from).collect(),
            next: next.map(|next| next.to_string()),
            kept_since: kept_since.to_string(),
            replica_lag_ms: found.replica_lag_ms,
        }
    }
}

impl From<RawPoint> for Reading {
    fn from(point: RawPoint) -> Self {
        Self {
            at: point.at.to_string(),
            until: point.until.to_string(),
            observed_at: point.observed_at.map(|at| at.to_string()),
            online: point.online,
            values: point.values.into_iter().collect(),
        }
    }
}

impl StepReadings {
    pub(super) fn all(question: &Question, step_ms: i64, found: Read<ByStep>) -> Vec<Self> {
        let Read { answer: ByStep { series, span, level, kept_since }, replica_lag_ms } = found;
        let step = duration_text(step_ms.unsigned_abs());
        let of = |one: crate::history::StepSeries| Self {
            device: one.device,
            resource: question.resource.to_string(),
            from: span.from.to_string(),
            to: span.to.to_string(),
            step: step.clone(),
            source: level.map_or("readings", Level::name),
            points: one.points.into_iter().map(StepPoint::from).collect(),
            gaps: one.gaps.into_iter().map(Span::from).collect(),
            offline: one.offline.into_iter().map(Span::from).collect(),
            kept_since: kept_since.to_string(),
            replica_lag_ms,
        };
        series.into_iter().map(of).collect()
    }
}

impl From<series::Point> for StepPoint {
    fn from(point: series::Point) -> Self {
        Self {
            at: point.at.to_string(),
            readings: point.readings,
            known_ms: point.known_ms,
            offline_ms: point.offline_ms,
            values: point.values.into_iter().map(|(name, tally)| (name, tally.into())).collect(),
        }
    }
}

impl From<Tally> for StepValue {
    fn from(tally: Tally) -> Self {
        let (avg, time_avg) = (tally.avg(), tally.time_avg());
        Self { avg, min: tally.min, max: tally.max, last: tally.last, time_avg, readings: tally.readings }
    }
}

impl From<series::Span> for Span {
    fn from(span: series::Span) -> Self {
        let text = |at: UnixMs| at.to_string();
        Self { from: text(span.from), to: text(span.to) }
    }
}

//! Endpoints that read the history.

mod answer;
mod asked;
mod table;

use super::Api;
use super::auth::Authenticated;
use super::error::{ApiError, Problem};
use super::extract::{Json, Path, Query};
use super::refusals::{Refusals, any_of};
use crate::history::{self, HistoryError, Question, Window};
use crate::words::DeviceId;
use crate::words::series::Span;
use answer::{ManySeries, Readings, StepReadings};
use asked::{Asked, DeviceHistory, ManyHistories};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use table::Format;

any_of! {
    /// Readings as they came, or by steps.
    pub(super) ReadingsAnswer: Readings, StepReadings
}

/// Answers that only history has.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "its variants are documentation")]
enum HistoryRefusals {
    /// A parameter is not accepted, or the answer would have too many points; `detail` says which step fits
    #[response(status = 400, content_type = "application/problem+json")]
    NotAccepted(Problem),
    /// No such device, or not yours, or its provider has no such resource
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
}

/// Returns what a resource of a device was: readings as they came, or by steps.
///
/// Without `step`, the readings with the time until which each stood, at most `limit` of them; `next` is the `from` of
/// the further ones. With it, every step from that of `from` to that of `to`, counted from the epoch in UTC.
///
/// What was read stands until the next reading, and no longer than something was known of the device: answers that
/// failed or did not come make a gap. Steps in which nothing was known have no values.
#[utoipa::path(
    get, path = "/v1/devices/{id}/readings", operation_id = "get_readings", tag = "history", security(("bearer" = [])),
    params(("id" = i64, Path, description = "The device's number", example = 17), DeviceHistory),
    responses(
        (status = 200, description = "The readings: `Readings`, or with a step `StepReadings`", content(
            (ReadingsAnswer = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"))),
        HistoryRefusals, Refusals,
    )
)]
pub(super) async fn of_device(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
    Path(id): Path<DeviceId>,
    headers: HeaderMap,
    Query(query): Query<DeviceHistory>,
) -> Result<Response, ApiError> {
    let format = Format::of(query.format.as_deref(), &headers)?;
    let asked = query.asked(api.app.clock.now())?;
    let question = asked.question(principal.tenant, vec![id]);
    if let Some(step_ms) = asked.step_ms {
        let series = by_step(&api, &question, &asked, step_ms).await?;
        return table::respond(format, &series, series.first());
    }
    let limit = query.limit(api.app.settings.http.points_max)?;
    let span = Span { from: asked.from, to: asked.to };
    let found = history::readings(&api.app, &question, id, span, limit).await?;
    let next = found.answer.next.map(|next| query.link(id, next));
    let series = [Readings::new(&question, span, found)];
    let mut response = table::respond(format, &series, series.first())?;
    if let Some(Ok(link)) = next.map(HeaderValue::try_from) {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

/// Returns what a resource of many devices was, by steps.
#[utoipa::path(
    post, path = "/v1/readings/query", operation_id = "query_readings", tag = "history", security(("bearer" = [])),
    request_body = ManyHistories,
    responses(
        (status = 200, description = "One series per device, in the order of the query", content(
            (ManySeries = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"))),
        (status = 413, description = "The body is too large", body = Problem,
            content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "The body is not accepted", body = Problem,
            content_type = "application/problem+json"),
        HistoryRefusals, Refusals,
    )
)]
pub(super) async fn of_many(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
    headers: HeaderMap,
    Json(body): Json<ManyHistories>,
) -> Result<Response, ApiError> {
    let format = Format::of(body.format.as_deref(), &headers)?;
    let devices = body.devices(api.app.settings.http.ids_max)?;
    let asked = body.asked(api.app.clock.now())?;
    let step_ms = asked.step_ms.ok_or_else(|| ApiError::BadQuery("step is missing".to_owned()))?;
    let series = by_step(&api, &asked.question(principal.tenant, devices), &asked, step_ms).await?;
    table::respond(format, &series, Some(&ManySeries { series: &series }))
}

impl From<HistoryError> for ApiError {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::NoSuchDevice(id) => Self::NoSuchDevice(id),
            HistoryError::NoSuchResource { provider, asked, known } => {
                Self::NoSuchResource { provider, asked, known }
            }
            HistoryError::TooManyPoints(error) => Self::TooManyPoints(error),
            HistoryError::Postgres(error) => error.into(),
        }
    }
}

/// The answer by steps, and how it is written.
async fn by_step(
    api: &Api,
    question: &Question,
    asked: &Asked,
    step_ms: i64,
) -> Result<Vec<StepReadings>, ApiError> {
    let window = Window { from: asked.from, to: asked.to, step_ms };
    let found = history::steps(&api.app, question, window).await?;
    Ok(StepReadings::all(question, step_ms, found))
}

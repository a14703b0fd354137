//! The live stream: server-sent events of what changes.

use crate::cache::{ChangeId, NoChangeId};
use crate::http::Api;
use crate::http::auth::{Authenticated, bearer};
use crate::http::error::{ApiError, Problem};
use crate::http::extract::Query;
use crate::http::refusals::Refusals;
use crate::live::{Event, Filter, Reader};
use crate::preference::connection_name;
use crate::words::{JobState, TenantId};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use futures::future::pending;
use serde::Deserialize;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

const LAST_EVENT_ID: &str = "last-event-id";
/// How often a stream without events says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a client should wait before it connects again.
const RETRY: Duration = Duration::from_secs(2);

/// Whose changes to tell.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct StreamQuery {
    /// Only these devices: up to 500 numbers, separated by commas.
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
    /// Only devices with this text in their names, in upper or lower case.
    #[param(example = "room")]
    q: Option<String>,
}

/// Tells what changes in your devices, as it changes: server-sent events.
///
/// `event: ready` comes first, with the id to continue at. Then `reading` (a resource's new reading, with its device),
/// `device` (a device as `GET /v1/devices/{id}` shows it, after a change of it or of what is asked of it) and `gone`.
/// `resync` says that changes were missed: read the devices anew. `end` is the last word of a stream that the server
/// ends, with the reason. A comment comes every 15 s when nothing else does.
///
/// Ids grow. A client that connects again with the last one as `Last-Event-ID` gets what it missed, for ten minutes and
/// up to a thousand changes, or a `resync`. A reading that only confirms what was known is no change.
#[utoipa::path(
    get, path = "/v1/stream", operation_id = "stream", tag = "devices", security(("bearer" = [])),
    params(StreamQuery, ("Last-Event-ID" = Option<String>, Header, description = "Continue after this event")),
    responses(
        (status = 200, description = "Events, until either side ends them", body = String,
            content_type = "text/event-stream"),
        (status = 400, description = "An invalid query parameter or `Last-Event-ID`", body = Problem,
            content_type = "application/problem+json"),
        Refusals,
    )
)]
pub(in crate::http) async fn stream(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
    headers: HeaderMap,
    Query(query): Query<StreamQuery>,
) -> Result<Response, ApiError> {
    let key = bearer(&headers).ok_or(ApiError::NoKey)?.to_owned();
    let after = last_event_id(&headers)?;
    let filter = query.into_filter(&api, principal.tenant).await?;
    let reader = api.live.listen(principal.tenant, after, filter).await?;
    let keys = api.keys.changes();
    let expires = api.keys.find(&key).await?.ok_or(ApiError::BadKey)?.expires;
    let stream = Told { keys, expires, stop: api.stop.clone(), api, key, reader, state: Phase::First };
    let keep_alive = KeepAlive::new().interval(HEARTBEAT);
    let mut response = Sse::new(events(stream)).keep_alive(keep_alive).into_response();
    // Proxies that collect answers would hold events back.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<ChangeId>, ApiError> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let id = value.to_str().ok().filter(|text| !text.is_empty()).map(str::parse);
    match id {
        Some(Ok(id)) => Ok(Some(id)),
        Some(Err(_)) | None => {
            Err(ApiError::BadQuery(format!("Last-Event-ID is no id of an event: {NoChangeId}")))
        }
    }
}

/// A stream on its way to a client.
struct Told {
    api: Api,
    key: String,
    keys: watch::Receiver<u64>,
    expires: Option<Instant>,
    stop: CancellationToken,
    reader: Reader,
    state: Phase,
}

enum Phase {
    First,
    Running,
    Ended,
}

fn events(told: Told) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    futures::stream::unfold(told, |mut told| async move {
        let event = told.next().await?;
        Some((Ok(event), told))
    })
}

impl Told {
    /// The next event; none after the last word.
    async fn next(&mut self) -> Option<sse::Event> {
        match self.state {
            Phase::First => {
                self.state = Phase::Running;
                let id = self.reader.newest().to_string();
                return Some(sse::Event::default().event("ready").id(id).retry(RETRY).data("{}"));
            }
            Phase::Ended => return None,
            Phase::Running => {}
        }
        let why = loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break "the server is being stopped; connect again".to_owned(),
                changed = self.keys.changed() => {
                    let is_valid = matches!(self.api.keys.find(&self.key).await, Ok(Some(_)) | Err(_));
                    if changed.is_err() || !is_valid {
                        break "this API key was revoked".to_owned();
                    }
                }
                () = expired(self.expires) => break "this API key has expired".to_owned(),
                event = self.reader.next() => match event {
                    Ok(event) => return Some(shown(&event)),
                    Err(end) => break end.to_string(),
                },
            }
        };
        self.state = Phase::Ended;
        let data = serde_json::json!({ "reason": why }).to_string();
        Some(sse::Event::default().event("end").data(data))
    }
}

/// Waits until a key expires: for ever if it does not.
async fn expired(expires: Option<Instant>) {
    match expires {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

fn shown(event: &Arc<Event>) -> sse::Event {
    sse::Event::default().event(event.payload.name()).id(event.id.to_string()).data(&*event.json)
}

impl StreamQuery {
    async fn into_filter(self, api: &Api, tenant: TenantId) -> Result<Filter, ApiError> {
        if let Some(provider) = &self.provider {
            api.app.registry.find(provider).map_err(|error| ApiError::BadQuery(error.to_string()))?;
        }
        let (mut provider, mut connection) = (self.provider, self.connection);
        // No label consists of digits only.
        if let Some(id) = connection.as_deref().and_then(|text| text.parse().ok())
            && let Some((its, label)) = connection_name(&api.app.pool, tenant, id).await?
        {
            (provider, connection) = (provider.or(Some(its)), Some(label));
        }
        Ok(Filter {
            ids: self.ids.as_deref().map(super::ids).transpose()?.map(|ids| ids.into_iter().collect()),
            provider,
            connection,
            group: self.group,
            state: self.state,
            name_contains: self.q.map(|text| text.to_lowercase()),
            ends: false,
        })
    }
}

//! All errors of the API with their status, type and text (RFC 9457). No other file makes error responses.

mod convert;
mod kind;
pub(super) mod rate_limit;
mod shortened;

pub(super) use rate_limit::RateLimit;
pub(super) use shortened::shortened;

use crate::authorise::AuthoriseError;
use crate::change::ChangeError;
use crate::history::TooManyPoints;
use crate::live::LiveError;
use crate::postgres::PostgresError;
use crate::preference::connections::ConnectionError;
use crate::provider::LookupError;
use crate::words::priority::UnknownPriority;
use crate::words::text::excerpt;
use crate::words::{
    ConnectionId, DeviceId, Incident, Interval, IntervalError, ResourceName, Role, TextError, WebhookId,
};
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

/// Prefix of every problem document's type.
const TYPE_PREFIX: &str = "urn:paceline:problem:";

/// Longer addresses are refused, bytes.
pub(super) const URI_BYTES_MAX: usize = 8 << 10;
/// More headers are refused.
pub(super) const HEADERS_MAX: usize = 100;
/// Longer headers are refused: the bytes of all names and values.
pub(super) const HEADER_BYTES_MAX: usize = 32 << 10;

/// Why a request failed. The text says what to do next.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("missing API key: send \"Authorization: Bearer <key>\"; the operator gives you a key")]
    NoKey,
    #[error("this API key is unknown, has expired or was revoked; the operator gives you a new one")]
    BadKey,
    #[error("this key may make {amount} requests in {window}, and has; try again in {} s", rate_limit::seconds(*.wait))]
    TooManyRequests { amount: u32, window: Interval, wait: Duration },
    #[error("this endpoint needs a key of role {need} or higher; yours has role {have}")]
    Forbidden { need: Role, have: Role },
    #[error("the id in the path must be a whole number, as in /v1/devices/17")]
    BadId,
    #[error("{0}; /openapi.json describes the parameters")]
    BadQuery(String),
    #[error("{0}")]
    BadImport(String),
    #[error("{0}")]
    TooManyDevices(String),
    #[error("{0}")]
    TooManyPoints(TooManyPoints),
    #[error("{asked} devices are too many for one query; name at most {max}")]
    TooManyIds { asked: usize, max: usize },
    #[error("Idempotency-Key must be one text of 1 to 255 visible ASCII characters, such as a UUID")]
    BadName,
    #[error("the first request of this Idempotency-Key is still being served; repeat it in a few seconds")]
    StillServed,
    #[error("this Idempotency-Key was used for another request; use a new one for each request")]
    NameReused,
    #[error("unknown path; /openapi.json lists all endpoints")]
    NoSuchPath,
    #[error("this path does not support this method; the Allow header lists those it supports")]
    BadMethod,
    #[error("you have no device {0}; GET /v1/devices lists your devices")]
    NoSuchDevice(DeviceId),
    #[error("devices of {0} cannot be listed; ask the operator to add yours")]
    NotListable(String),
    #[error(
        "{0} may be called in private networks, so only the operator can add its connections; ask them to add yours"
    )]
    PrivateProvider(String),
    #[error(
        "the operator has not said yet at which hosts {0} may be called: ask for the host that you want to use"
    )]
    OpenHosts(String),
    #[error(
        "the connection cannot be used ({0}); store new secrets with PUT /v1/connections/ID/secrets, or, where its \
         owner must authorize it, get the URL with POST /v1/connections/ID/authorize"
    )]
    UnusableConnection(String),
    #[error(
        "the connection has no device yet, so there is no call to test it by; add one of its devices first"
    )]
    NothingToTest,
    #[error("no call was made: {by} allows none {when}; try again then")]
    NotYet { by: String, when: String },
    #[error(
        "no call was made: the provider fails for {} of {} connections since {} ({}), so only a few calls probe it, \
         and the next may be made {when}; try again then",
        incident.failing, incident.called, incident.since, incident.outcome
    )]
    Incident { incident: Incident, when: String },
    #[error("the connection is paused; PATCH /v1/connections/ID with {{\"paused\": false}} resumes it")]
    PausedConnection,
    #[error(
        "the connection is closed; store new secrets with PUT /v1/connections/ID/secrets, or, where its owner must \
         authorize it, get the URL with POST /v1/connections/ID/authorize"
    )]
    ClosedConnection,
    #[error("the provider was asked for the values that calls of this account need, and gave none: {0}")]
    NoAccount(String),
    #[error("the provider returned no usable device list: {0}; no device was changed")]
    NoList(String),
    #[error(
        "provider {provider} has no resource {:?}; its resources are {}", excerpt(.asked), known.join(", ")
    )]
    NoSuchResource { provider: String, asked: String, known: Vec<String> },
    #[error(
        "device {device} is at provider {provider:?}, which this server no longer knows; ask the operator for it"
    )]
    ProviderGone { device: DeviceId, provider: String },
    #[error(
        "device {device} has no job for {resource} yet; create it with PUT /v1/devices/{device}/jobs/{resource} and an \
         interval"
    )]
    NoSuchJob { device: DeviceId, resource: ResourceName },
    #[error(
        "{resource} of device {device} is paused; resume it with PUT /v1/devices/{device}/jobs/{resource} and \
         {{\"paused\": false}}"
    )]
    Paused { device: DeviceId, resource: ResourceName },
    #[error(
        "the provider refused the credential of connection {label:?} ({reason}); store new secrets with \
         PUT /v1/connections/ID/secrets, or, where its owner must authorize it, get the URL with \
         POST /v1/connections/ID/authorize"
    )]
    NeedsReauth { label: String, reason: String },
    #[error(
        "connection {label:?} is paused or closed; PATCH /v1/connections/ID with {{\"paused\": false}} resumes one \
         that is paused"
    )]
    ConnectionPaused { label: String },
    #[error(
        "connection {0} is closed and has no secrets any more; store new ones with PUT /v1/connections/{0}/secrets, \
         or, where its owner must authorize it, get the URL with POST /v1/connections/{0}/authorize"
    )]
    ConnectionClosed(ConnectionId),
    #[error("{0}")]
    BadLabel(#[from] TextError),
    #[error("you have no connection {}; GET /v1/connections lists your connections", excerpt(.0))]
    NoSuchConnection(String),
    #[error("{}", .0.for_users())]
    NoSuchProvider(LookupError),
    #[error("{}", .0.for_users())]
    BadConnection(LookupError),
    #[error("{0}")]
    LabelTaken(ConnectionError),
    #[error("{}", .0.for_users())]
    NotAuthorised(AuthoriseError),
    #[error("you have no refresh {0}; refreshes are kept for a day")]
    NoSuchRefresh(i64),
    #[error("you have no webhook {0}; GET /v1/webhooks lists your webhooks")]
    NoSuchWebhook(WebhookId),
    #[error("{0}")]
    BadWebhook(String),
    #[error(
        "you have {0} webhooks, as many as a tenant may have: delete one that you do not need, or ask the operator for \
         more"
    )]
    TooManyWebhooks(u32),
    #[error("none of your jobs is as you describe; GET /v1/devices lists your devices and their jobs")]
    NoSuchJobs,
    #[error("{jobs} jobs are as you describe, and at most {max} are refreshed at once; describe fewer")]
    TooManyJobs { jobs: usize, max: usize },
    #[error("{detail}")]
    TooManyRefreshes { detail: String, wait: Duration, left: RateLimit },
    #[error("{0}")]
    TooManyConnections(ConnectionError),
    #[error(
        "this browser did not begin this authorization, so nothing was changed: open the link that you were given in \
         the browser in which you sign in, or paste this page's address where you were asked for it"
    )]
    OtherBrowser,
    #[error("go on from the page that the link shows: a form of another page may not")]
    ForeignForm,
    #[error("{0}")]
    NoToken(AuthoriseError),
    #[error("{0}")]
    BadInterval(#[from] IntervalError),
    #[error("{0}; ask the operator for it")]
    NoProviderAnyMore(ChangeError),
    #[error("{0}; GET /v1/devices shows the groups of your devices")]
    NoSuchGroup(ChangeError),
    #[error("no preference for {0} stands there; GET /v1/connections/ID/preferences lists those that do")]
    NoSuchPreference(ResourceName),
    #[error("{0}")]
    BadWindows(ChangeError),
    #[error("{0}")]
    BadPriority(#[from] UnknownPriority),
    #[error("{0}")]
    IntervalTooShort(ChangeError),
    #[error(
        "{resource} of device {device} is not as your If-Match says, so nothing was changed; read it with \
         GET /v1/devices/{device}/jobs/{resource}, whose ETag names its version"
    )]
    Outdated { device: DeviceId, resource: ResourceName },
    #[error("what the jobs get could not be computed in time; try again in a few seconds")]
    NoForecast,
    #[error("the body changes nothing; give at least one of {0}")]
    NothingToChange(&'static str),
    #[error("the body must be a JSON object, not an array; /openapi.json describes its fields")]
    NoObject,
    #[error("{}", shortened(&.0.body_text()))]
    BadBody(#[from] JsonRejection),
    #[error("the address is longer than {URI_BYTES_MAX} bytes; leave out what the endpoint does not need")]
    UriTooLong,
    #[error(
        "the headers are more than {HEADERS_MAX} or longer than {HEADER_BYTES_MAX} bytes; leave out what the endpoint \
         does not need"
    )]
    HeadersTooLarge,
    #[error("send JSON with \"Content-Type: application/json\"")]
    BadContentType,
    #[error("the body is too large; send less, or in several requests")]
    BodyTooLarge,
    #[error(
        "the server's database is unavailable; cached devices are still served; try again in a few seconds"
    )]
    PostgresUnavailable(#[source] Arc<PostgresError>),
    #[error("the server's schedule is unavailable; try again in a few seconds")]
    RedisUnavailable(#[source] crate::redis::RedisError),
    #[error("the server cannot hear of changes now; devices can be read; try again in a few seconds")]
    LiveUnavailable(#[source] LiveError),
    #[error("the server is being stopped; connect again, which may reach another")]
    Stopping,
    #[error("the server's schedule did not answer in time; try again in a few seconds")]
    ScheduleTimedOut,
    #[error("this job is not in the server's schedule yet; try again in a few seconds")]
    JobNotScheduled,
    #[error(
        "all connections of the server are at work; try again in a few seconds, and keep connections open"
    )]
    NoConnectionLeft,
    #[error("{} did not answer within 1 s; requests that do not need it are still served", .0.join(" and "))]
    NotReady(Vec<&'static str>),
    #[error("the request timed out; reads, PUTs and refreshes are idempotent and may be repeated")]
    TimedOut,
    #[error("internal error; the request may be repeated; the server's log has the cause")]
    Internal(#[source] Box<dyn Error + Send + Sync>),
}

/// An error as `application/problem+json` (RFC 9457).
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub(super) struct Problem {
    /// Identifies the kind of problem; stable.
    #[serde(rename = "type")]
    #[schema(example = "urn:paceline:problem:no-such-device")]
    kind: String,
    /// A title for people; the same for every problem of this kind.
    #[schema(example = "No such device")]
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 404)]
    status: u16,
    /// What happened to what, and what to do next.
    #[schema(example = "you have no device 17; GET /v1/devices lists your devices")]
    detail: String,
}

impl ApiError {
    /// The problem for an error status that the framework, not a handler, answered.
    pub(super) fn from_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::NoSuchPath,
            StatusCode::METHOD_NOT_ALLOWED => Self::BadMethod,
            StatusCode::PAYLOAD_TOO_LARGE => Self::BodyTooLarge,
            StatusCode::GATEWAY_TIMEOUT => Self::TimedOut,
            StatusCode::URI_TOO_LONG => Self::UriTooLong,
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Self::HeadersTooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::BadContentType,
            status if status.is_client_error() => Self::BadQuery("the request is malformed".to_owned()),
            _ => Self::Internal(format!("the framework answered {status} without a problem").into()),
        }
    }

    fn detail(&self) -> String {
        match self {
            // axum's text for these names its own types.
            Self::BadBody(rejection) => match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => Self::BodyTooLarge.to_string(),
                StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::BadContentType.to_string(),
                _ => self.to_string(),
            },
            _ => self.to_string(),
        }
    }

    /// Logs the cause once. Only the operator may see it, so the response does not contain it.
    fn log(&self) {
        let (status, kind, _) = self.kind();
        let (mut causes, mut next) = (Vec::new(), self.source());
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        let cause = causes.join(": ");
        match status {
            StatusCode::INTERNAL_SERVER_ERROR => tracing::error!(kind, cause, "request failed"),
            status if status.is_server_error() => tracing::warn!(kind, cause, "request not served"),
            _ => {}
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.log();
        let (status, kind, title) = self.kind();
        let problem = Problem {
            kind: format!("{TYPE_PREFIX}{kind}"),
            title,
            status: status.as_u16(),
            detail: self.detail(),
        };
        let mut response = match &self {
            Self::TooManyRefreshes { left, .. } => (status, *left, Json(problem)).into_response(),
            _ => (status, Json(problem)).into_response(),
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(Problem::CONTENT_TYPE));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        let retry_after = match &self {
            Self::TooManyRefreshes { wait, .. } | Self::TooManyRequests { wait, .. } => {
                Some(rate_limit::seconds(*wait))
            }
            Self::StillServed => Some(1),
            _ => (status == StatusCode::SERVICE_UNAVAILABLE).then_some(5),
        };
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl Problem {
    /// The content type of every error response.
    pub(super) const CONTENT_TYPE: &str = "application/problem+json";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adhoc::AdHocError;
    use crate::provider::LoadError;

    #[test]
    fn internal_error_logs_its_cause_and_does_not_return_it() {
        let refused = || LoadError::Refused(Vec::new());
        for error in [
            ApiError::from(AuthoriseError::Definition(refused())),
            ApiError::from(AdHocError::Definition(refused())),
            ApiError::from_status(StatusCode::INTERNAL_SERVER_ERROR),
        ] {
            assert!(error.source().is_some() && error.detail().contains("the server's log"), "{error:?}");
        }
    }
}

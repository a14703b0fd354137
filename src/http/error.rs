//! Every error the API answers with: its status, its type and what it says (RFC 9457). Nowhere else.

use crate::adhoc::{AdHocError, RefreshError};
use crate::authorise::AuthoriseError;
use crate::discovery::DiscoverError;
use crate::keep::{KeepError, PlanError};
use crate::postgres::PostgresError;
use crate::preference::connections::ConnectionError;
use crate::provider::LookupError;
use crate::read::ReadError;
use crate::token::TokenError;
use crate::watch::LagError;
use crate::words::priority::UnknownPriority;
use crate::words::{DeviceId, IntervalError, ResourceName, Role};
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::error::Error;

/// How every problem document's type begins.
const TYPE_PREFIX: &str = "urn:paceline:problem:";

/// Why a request was not answered with what it asked for. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("send \"Authorization: Bearer <key>\"; `paceline key create` makes a key")]
    NoKey,
    #[error("this key is unknown or was revoked; `paceline key create` makes another")]
    BadKey,
    #[error("this needs a key of role {need} or higher; yours is of role {have}")]
    Forbidden { need: Role, have: Role },
    #[error("the id in the path must be a whole number, as in /v1/devices/17")]
    BadId,
    #[error("{0}; /openapi.json describes the parameters")]
    BadQuery(String),
    #[error("there is nothing at this path; /openapi.json lists what there is")]
    NoSuchPath,
    #[error("this path does not take this method; the Allow header names those it takes")]
    BadMethod,
    #[error("you have no device {0}; GET /v1/devices lists those you have")]
    NoSuchDevice(DeviceId),
    #[error(
        "{0} does not say how devices are listed: its operator adds them by `paceline device add`, or [discovery] to \
             its definition"
    )]
    NotListable(String),
    #[error(
        "connections to {0} go into private networks: its operator adds them by `paceline connection add`, or allows \
             this by the setting providers.private_by_api"
    )]
    PrivateProvider(String),
    #[error(
        "the connection cannot be used ({0}): its operator gives it a new credential by `paceline connection secret`"
    )]
    UnusableConnection(String),
    #[error("nothing was sent: {by} lets no call through {when}; try again then")]
    NotYet { by: String, when: String },
    #[error("the cloud gave no list: {0}; the devices are what they were")]
    NoList(String),
    #[error("provider {provider} has no resource {asked:?}; it has {}", known.join(", "))]
    NoSuchResource { provider: String, asked: String, known: Vec<String> },
    #[error(
        "device {device} is at provider {provider:?}, which this deployment has no definition of any more: its \
             operator can put {provider}.toml back into providers.dir"
    )]
    ProviderGone { device: DeviceId, provider: String },
    #[error(
        "device {device} is not asked for {resource} yet: PUT /v1/devices/{device}/jobs/{resource} with an interval \
         asks for it"
    )]
    NoSuchJob { device: DeviceId, resource: ResourceName },
    #[error(
        "{resource} of device {device} is paused: PUT /v1/devices/{device}/jobs/{resource} with {{\"paused\": false}} \
         runs it again"
    )]
    Paused { device: DeviceId, resource: ResourceName },
    #[error(
        "{resource} of device {device} is parked ({reason}): once that is mended, \
         PUT /v1/devices/{device}/jobs/{resource} with {{\"paused\": false}} runs it again"
    )]
    Parked { device: DeviceId, resource: ResourceName, reason: String },
    #[error(
        "the provider refuses the credential of connection {label:?} ({reason}): PUT /v1/connections/ID/secrets gives \
         it new ones; where its owner must allow it, POST /v1/connections/ID/authorize says where"
    )]
    NeedsReauth { label: String, reason: String },
    #[error("a connection needs a label: what do you call it?")]
    NoLabel,
    #[error("you have no connection {0}; GET /v1/connections lists those you have")]
    NoSuchConnection(String),
    #[error("{0}")]
    BadConnection(LookupError),
    #[error("{0}")]
    LabelTaken(ConnectionError),
    #[error("{0}")]
    NotAuthorised(AuthoriseError),
    #[error("{0}")]
    NoToken(AuthoriseError),
    #[error("{0}")]
    BadInterval(#[from] IntervalError),
    #[error("{0}")]
    BadPriority(#[from] UnknownPriority),
    #[error("the body asks for nothing: give at least one of interval, priority and paused")]
    NothingAsked,
    #[error("{}", .0.body_text())]
    BadBody(#[from] JsonRejection),
    #[error(
        "the body is too large; http.body_bytes_max in the server's settings bounds it, 1 MiB unless changed"
    )]
    BodyTooLarge,
    #[error(
        "the server's database could not be asked; cached devices are still served, try again in a few seconds"
    )]
    PostgresAway(#[source] PostgresError),
    #[error("the server's schedule could not be asked; try again in a few seconds")]
    RedisAway(#[source] crate::redis::RedisError),
    #[error("the server's schedule did not answer in time; try again in a few seconds")]
    ScheduleSlow,
    #[error("the server's schedule has not heard of this job yet; try again in a few seconds")]
    ScheduleBehind,
    #[error("{} did not answer within 1 s; this process serves what it can until then", .0.join(" and "))]
    NotReady(Vec<&'static str>),
    #[error(
        "no answer was ready in time; reads may be repeated, and so may a PUT or a refresh: \
         asked twice, it is done once"
    )]
    TooSlow,
    #[error("something went wrong on our side; the request may be repeated, the server's log knows more")]
    Internal(#[source] Box<dyn Error + Send + Sync>),
}

/// An error as `application/problem+json` (RFC 9457).
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub(super) struct Problem {
    /// Names the kind of problem; stable.
    #[serde(rename = "type")]
    #[schema(example = "urn:paceline:problem:no-such-device")]
    kind: String,
    /// The kind of problem for people; the same for every occurrence.
    #[schema(example = "No such device")]
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 404)]
    status: u16,
    /// What happened to what, and what to do next.
    #[schema(example = "you have no device 17; GET /v1/devices lists those you have")]
    detail: String,
}

impl ApiError {
    /// Status, type and title of each.
    fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::NoKey => (S::UNAUTHORIZED, "no-key", "No API key"),
            Self::BadKey => (S::UNAUTHORIZED, "bad-key", "API key not accepted"),
            Self::Forbidden { .. } => (S::FORBIDDEN, "forbidden", "Role too low"),
            Self::BadId => (S::BAD_REQUEST, "bad-id", "Not an id"),
            Self::BadQuery(_) => (S::BAD_REQUEST, "bad-query", "Bad query"),
            Self::NoSuchPath => (S::NOT_FOUND, "no-such-path", "No such path"),
            Self::BadMethod => (S::METHOD_NOT_ALLOWED, "bad-method", "Method not allowed"),
            Self::NoSuchDevice(_) => (S::NOT_FOUND, "no-such-device", "No such device"),
            Self::NotListable(_) => (S::CONFLICT, "not-listable", "Devices cannot be listed"),
            Self::PrivateProvider(_) => {
                (S::FORBIDDEN, "private-provider", "Only the operator adds connections to it")
            }
            Self::UnusableConnection(_) => (S::CONFLICT, "unusable-connection", "Connection cannot be used"),
            Self::NotYet { .. } => (S::SERVICE_UNAVAILABLE, "not-yet", "No quota left yet"),
            Self::NoList(_) => (S::BAD_GATEWAY, "no-list", "The cloud gave no list"),
            Self::NoSuchResource { .. } => (S::NOT_FOUND, "no-such-resource", "No such resource"),
            Self::ProviderGone { .. } => (S::CONFLICT, "provider-gone", "Provider no longer defined"),
            Self::NoSuchJob { .. } => (S::NOT_FOUND, "no-such-job", "Not asked for yet"),
            Self::Paused { .. } => (S::CONFLICT, "paused", "Paused"),
            Self::Parked { .. } => (S::CONFLICT, "parked", "Parked"),
            Self::NeedsReauth { .. } => (S::CONFLICT, "needs-reauth", "Credential refused"),
            Self::NoLabel => (S::UNPROCESSABLE_ENTITY, "no-label", "No label"),
            Self::NoSuchConnection(_) => (S::NOT_FOUND, "no-such-connection", "No such connection"),
            Self::BadConnection(_) => (S::UNPROCESSABLE_ENTITY, "bad-connection", "Connection not accepted"),
            Self::LabelTaken(_) => (S::CONFLICT, "label-taken", "Label taken"),
            Self::NotAuthorised(_) => (S::CONFLICT, "not-authorised", "Not authorised"),
            Self::NoToken(_) => (S::BAD_GATEWAY, "no-token", "No token from the provider"),
            Self::BadInterval(_) => (S::UNPROCESSABLE_ENTITY, "bad-interval", "Interval not accepted"),
            Self::BadPriority(_) => (S::UNPROCESSABLE_ENTITY, "bad-priority", "Priority not accepted"),
            Self::NothingAsked => (S::UNPROCESSABLE_ENTITY, "nothing-asked", "Nothing asked"),
            Self::BadBody(rejection) => match rejection.status() {
                S::PAYLOAD_TOO_LARGE => Self::BodyTooLarge.kind(),
                S::UNSUPPORTED_MEDIA_TYPE => {
                    (S::UNSUPPORTED_MEDIA_TYPE, "bad-content-type", "Content type not accepted")
                }
                S::UNPROCESSABLE_ENTITY => (S::UNPROCESSABLE_ENTITY, "bad-body", "Body not accepted"),
                _ => (S::BAD_REQUEST, "bad-json", "Malformed JSON"),
            },
            Self::BodyTooLarge => (S::PAYLOAD_TOO_LARGE, "body-too-large", "Body too large"),
            Self::PostgresAway(_) => (S::SERVICE_UNAVAILABLE, "database-away", "Database away"),
            Self::RedisAway(_) | Self::ScheduleSlow => {
                (S::SERVICE_UNAVAILABLE, "schedule-away", "Schedule away")
            }
            Self::ScheduleBehind => (S::SERVICE_UNAVAILABLE, "schedule-behind", "Schedule behind"),
            Self::NotReady(_) => (S::SERVICE_UNAVAILABLE, "not-ready", "Not ready"),
            Self::TooSlow => (S::GATEWAY_TIMEOUT, "too-slow", "No answer in time"),
            Self::Internal(_) => (S::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
        }
    }

    /// The problem a status stands for that was answered by the framework and not by a handler.
    pub(super) fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::NoSuchPath,
            StatusCode::METHOD_NOT_ALLOWED => Self::BadMethod,
            StatusCode::PAYLOAD_TOO_LARGE => Self::BodyTooLarge,
            StatusCode::GATEWAY_TIMEOUT => Self::TooSlow,
            status if status.is_client_error() => {
                Self::BadQuery("the request cannot be understood".to_owned())
            }
            _ => Self::Internal(format!("answered {status} without a word").into()),
        }
    }

    fn detail(&self) -> String {
        match self {
            // Its own text speaks of axum's words for it.
            Self::BadBody(rejection) => match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => Self::BodyTooLarge.to_string(),
                StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                    "send JSON with \"Content-Type: application/json\"".to_owned()
                }
                _ => self.to_string(),
            },
            _ => self.to_string(),
        }
    }

    /// What only the operator may know is logged here, once, and not answered.
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
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(Problem::CONTENT_TYPE));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

impl Problem {
    /// Of every error's body.
    pub(super) const CONTENT_TYPE: &str = "application/problem+json";
}

impl From<PostgresError> for ApiError {
    fn from(error: PostgresError) -> Self {
        if error.is_outage() { Self::PostgresAway(error) } else { Self::Internal(error.into()) }
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        let ReadError::Postgres(error) = error;
        error.into()
    }
}

impl From<PlanError> for ApiError {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Lookup(error) => Self::BadConnection(error),
            PlanError::Postgres(error) => error.into(),
        }
    }
}

impl From<AuthoriseError> for ApiError {
    fn from(error: AuthoriseError) -> Self {
        match error {
            AuthoriseError::Lookup(error) => Self::BadConnection(error),
            AuthoriseError::Connection(ConnectionError::Unknown(id)) => Self::NoSuchConnection(id),
            AuthoriseError::Connection(error @ ConnectionError::Taken { .. }) => Self::LabelTaken(error),
            AuthoriseError::Connection(ConnectionError::Postgres(error))
            | AuthoriseError::Token(TokenError::Postgres(error))
            | AuthoriseError::Postgres(error) => error.into(),
            AuthoriseError::OtherWay { .. }
            | AuthoriseError::NoWayBack(_)
            | AuthoriseError::Stale
            | AuthoriseError::Denied(_) => Self::NotAuthorised(error),
            AuthoriseError::NoToken(_) | AuthoriseError::NotYet { .. } => Self::NoToken(error),
            AuthoriseError::Connection(ConnectionError::Seal(_))
            | AuthoriseError::Token(TokenError::Seal(_))
            | AuthoriseError::Definition(_) => Self::Internal(error.into()),
        }
    }
}

impl From<RefreshError> for ApiError {
    /// With what to do in this API's words.
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::NoJob { device, resource } => Self::NoSuchJob { device, resource },
            RefreshError::Paused { device, resource } => Self::Paused { device, resource },
            RefreshError::Parked { device, resource, reason } => Self::Parked { device, resource, reason },
            RefreshError::NeedsReauth { label, reason } => Self::NeedsReauth { label, reason },
            RefreshError::NotYet => Self::ScheduleBehind,
            RefreshError::NoAnswer => Self::ScheduleSlow,
            RefreshError::Redis(error) => Self::RedisAway(error),
            RefreshError::Postgres(error) => error.into(),
        }
    }
}

impl From<DiscoverError> for ApiError {
    /// With what to do in this API's words.
    fn from(error: DiscoverError) -> Self {
        match error {
            DiscoverError::Undeclared(provider) => Self::NotListable(provider),
            DiscoverError::NoList(why) => Self::NoList(why),
            DiscoverError::NotSent(error) => error.into(),
            DiscoverError::Postgres(error) => error.into(),
        }
    }
}

impl From<AdHocError> for ApiError {
    /// With what to do in this API's words.
    fn from(error: AdHocError) -> Self {
        match error {
            AdHocError::Unusable => Self::UnusableConnection("its credential was refused".to_owned()),
            AdHocError::Refused(reason) => Self::UnusableConnection(reason),
            AdHocError::NotYet { by, when } => Self::NotYet { by, when },
            // Lists are all that this API goes on errands for.
            AdHocError::Unknown(why) => Self::NoList(why),
            AdHocError::Late => Self::ScheduleSlow,
            AdHocError::Redis(error) | AdHocError::Keep(KeepError::Redis(error)) => Self::RedisAway(error),
            AdHocError::Postgres(error) | AdHocError::Keep(KeepError::Postgres(error)) => error.into(),
            AdHocError::Definition(_) => Self::Internal(error.into()),
        }
    }
}

impl From<LagError> for ApiError {
    fn from(error: LagError) -> Self {
        match error {
            LagError::Postgres(error) => error.into(),
            LagError::Redis(error) => Self::RedisAway(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::LoadError;

    #[test]
    fn whatever_is_internal_has_a_cause_for_the_log_and_tells_it_to_nobody() {
        let refused = || LoadError::Refused(Vec::new());
        for error in [
            ApiError::from(AuthoriseError::Definition(refused())),
            ApiError::from(AdHocError::Definition(refused())),
            ApiError::of_status(StatusCode::INTERNAL_SERVER_ERROR),
        ] {
            assert!(error.source().is_some() && error.detail().contains("the server's log"), "{error:?}");
        }
    }
}

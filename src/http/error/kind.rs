//! Status, type and title of each problem. `docs/problems.md` lists them.

use super::ApiError;
use axum::http::StatusCode;

impl ApiError {
    /// Status, type and title.
    pub(super) fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::NoKey => (S::UNAUTHORIZED, "no-key", "No API key"),
            Self::BadKey => (S::UNAUTHORIZED, "bad-key", "API key not accepted"),
            Self::Forbidden { .. } => (S::FORBIDDEN, "forbidden", "Role too low"),
            Self::BadId => (S::BAD_REQUEST, "bad-id", "Not an id"),
            Self::BadQuery(_) => (S::BAD_REQUEST, "bad-query", "Bad query"),
            Self::BadImport(_) => (S::UNPROCESSABLE_ENTITY, "bad-import", "Import not accepted"),
            Self::TooManyDevices(_) => (S::CONFLICT, "too-many-devices", "Too many devices"),
            Self::TooManyPoints(_) => (S::BAD_REQUEST, "too-many-points", "Too many points"),
            Self::TooManyIds { .. } => (S::BAD_REQUEST, "too-many-ids", "Too many devices"),
            Self::BadName => (S::BAD_REQUEST, "bad-idempotency-key", "Idempotency key not accepted"),
            Self::StillServed => (S::CONFLICT, "still-served", "Request is being served"),
            Self::NameReused => (S::UNPROCESSABLE_ENTITY, "idempotency-key-reused", "Idempotency key reused"),
            Self::NoSuchPath => (S::NOT_FOUND, "no-such-path", "No such path"),
            Self::BadMethod => (S::METHOD_NOT_ALLOWED, "bad-method", "Method not allowed"),
            Self::NoSuchDevice(_) => (S::NOT_FOUND, "no-such-device", "No such device"),
            Self::NotListable(_) => (S::CONFLICT, "not-listable", "Devices cannot be listed"),
            Self::PrivateProvider(_) => {
                (S::FORBIDDEN, "private-provider", "Only an operator may add this connection")
            }
            Self::OpenHosts(_) => (S::FORBIDDEN, "host-not-allowed", "Host not allowed"),
            Self::UnusableConnection(_) => (S::CONFLICT, "unusable-connection", "Connection cannot be used"),
            Self::NothingToTest => (S::CONFLICT, "nothing-to-test", "Nothing to test"),
            Self::NotYet { .. } => (S::SERVICE_UNAVAILABLE, "not-yet", "No quota left"),
            Self::Incident { .. } => {
                (S::SERVICE_UNAVAILABLE, "provider-incident", "The provider fails for many")
            }
            Self::NoList(_) => (S::BAD_GATEWAY, "no-list", "No device list from the provider"),
            Self::NoSuchResource { .. } => (S::NOT_FOUND, "no-such-resource", "No such resource"),
            Self::NoSuchGroup(_) => (S::NOT_FOUND, "no-such-group", "No such home or site"),
            Self::NoSuchPreference(_) => (S::NOT_FOUND, "no-such-preference", "No such preference"),
            Self::NoProviderAnyMore(_) | Self::ProviderGone { .. } => {
                (S::CONFLICT, "provider-gone", "Provider no longer defined")
            }
            Self::NoSuchJob { .. } => (S::NOT_FOUND, "no-such-job", "No such job"),
            Self::Paused { .. } => (S::CONFLICT, "paused", "Paused"),
            Self::NeedsReauth { .. } => (S::CONFLICT, "needs-reauth", "Credential refused"),
            Self::NoAccount(_) => (S::BAD_GATEWAY, "no-account", "No account values from the provider"),
            Self::PausedConnection | Self::ConnectionPaused { .. } => {
                (S::CONFLICT, "connection-paused", "Connection paused")
            }
            Self::ClosedConnection | Self::ConnectionClosed(_) => {
                (S::CONFLICT, "connection-closed", "Connection closed")
            }
            Self::BadLabel(_) => (S::UNPROCESSABLE_ENTITY, "bad-label", "Label not accepted"),
            Self::NoSuchConnection(_) => (S::NOT_FOUND, "no-such-connection", "No such connection"),
            Self::NoSuchProvider(_) => (S::NOT_FOUND, "no-such-provider", "No such provider"),
            Self::BadConnection(_) => (S::UNPROCESSABLE_ENTITY, "bad-connection", "Connection not accepted"),
            Self::LabelTaken(_) => (S::CONFLICT, "label-taken", "Label taken"),
            Self::TooManyRequests { .. } => (S::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests"),
            Self::NoSuchRefresh(_) => (S::NOT_FOUND, "no-such-refresh", "No such refresh"),
            Self::NoSuchWebhook(_) => (S::NOT_FOUND, "no-such-webhook", "No such webhook"),
            Self::BadWebhook(_) => (S::UNPROCESSABLE_ENTITY, "bad-webhook", "Webhook not accepted"),
            Self::TooManyWebhooks(_) => (S::CONFLICT, "too-many-webhooks", "Too many webhooks"),
            Self::NoSuchJobs => (S::NOT_FOUND, "no-such-jobs", "No such jobs"),
            Self::TooManyJobs { .. } => (S::UNPROCESSABLE_ENTITY, "too-many-jobs", "Too many jobs"),
            Self::TooManyRefreshes { .. } => {
                (S::TOO_MANY_REQUESTS, "too-many-refreshes", "Too many refreshes")
            }
            Self::TooManyConnections(_) => (S::CONFLICT, "too-many-connections", "Too many connections"),
            Self::OtherBrowser => (S::FORBIDDEN, "other-browser", "Not the browser that began"),
            Self::ForeignForm => (S::FORBIDDEN, "foreign-form", "A form of another site"),
            Self::NotAuthorised(_) => (S::CONFLICT, "not-authorised", "Not authorised"),
            Self::NoToken(_) => (S::BAD_GATEWAY, "no-token", "No token from the provider"),
            Self::BadInterval(_) => (S::UNPROCESSABLE_ENTITY, "bad-interval", "Interval not accepted"),
            Self::BadWindows(_) => (S::UNPROCESSABLE_ENTITY, "bad-windows", "Windows not accepted"),
            Self::BadPriority(_) => (S::UNPROCESSABLE_ENTITY, "bad-priority", "Priority not accepted"),
            Self::IntervalTooShort(_) => (S::UNPROCESSABLE_ENTITY, "bad-interval", "Interval not accepted"),
            Self::Outdated { .. } => (S::PRECONDITION_FAILED, "outdated", "Changed since"),
            Self::NoForecast => (S::SERVICE_UNAVAILABLE, "no-forecast", "Not computed in time"),
            Self::NothingToChange(_) => (S::UNPROCESSABLE_ENTITY, "nothing-asked", "Nothing to change"),
            Self::BadBody(rejection) => match rejection.status() {
                S::PAYLOAD_TOO_LARGE => Self::BodyTooLarge.kind(),
                S::UNSUPPORTED_MEDIA_TYPE => Self::BadContentType.kind(),
                S::UNPROCESSABLE_ENTITY => (S::UNPROCESSABLE_ENTITY, "bad-body", "Body not accepted"),
                _ => (S::BAD_REQUEST, "bad-json", "Malformed JSON"),
            },
            Self::NoObject => (S::UNPROCESSABLE_ENTITY, "bad-body", "Body not accepted"),
            Self::UriTooLong => (S::URI_TOO_LONG, "uri-too-long", "Address too long"),
            Self::HeadersTooLarge => {
                (S::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers-too-large", "Headers too large")
            }
            Self::BadContentType => {
                (S::UNSUPPORTED_MEDIA_TYPE, "bad-content-type", "Content type not accepted")
            }
            Self::BodyTooLarge => (S::PAYLOAD_TOO_LARGE, "body-too-large", "Body too large"),
            Self::PostgresUnavailable(_) => (S::SERVICE_UNAVAILABLE, "database-away", "Database unavailable"),
            Self::RedisUnavailable(_) | Self::ScheduleTimedOut => {
                (S::SERVICE_UNAVAILABLE, "schedule-away", "Schedule unavailable")
            }
            Self::LiveUnavailable(_) => (S::SERVICE_UNAVAILABLE, "changes-away", "Changes unavailable"),
            Self::Stopping => (S::SERVICE_UNAVAILABLE, "stopping", "Server stops"),
            Self::JobNotScheduled => (S::SERVICE_UNAVAILABLE, "schedule-behind", "Job not scheduled yet"),
            Self::NoConnectionLeft => (S::SERVICE_UNAVAILABLE, "no-connection-left", "No connection left"),
            Self::NotReady(_) => (S::SERVICE_UNAVAILABLE, "not-ready", "Not ready"),
            Self::TimedOut => (S::GATEWAY_TIMEOUT, "too-slow", "Request timed out"),
            Self::Internal(_) => (S::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
        }
    }
}

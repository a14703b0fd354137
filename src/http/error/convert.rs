//! Errors of the rooms below as problems. Advice that names CLI commands is replaced by API requests.

use super::{ApiError, RateLimit};
use crate::adhoc::AdHocError;
use crate::app::RefillFailed;
use crate::authorise::AuthoriseError;
use crate::change::ChangeError;
use crate::discovery::DiscoverError;
use crate::explain::ForecastFailed;
use crate::keep::{KeepError, PlanError};
use crate::live::LiveError;
use crate::postgres::PostgresError;
use crate::preference::connections::ConnectionError;
use crate::preference::import::ImportError;
use crate::read::ReadError;
use crate::refresh::RefreshError;
use crate::token::TokenError;
use crate::trial::TrialError;
use crate::webhook::WebhookError;
use std::sync::Arc;

impl From<PostgresError> for ApiError {
    fn from(error: PostgresError) -> Self {
        Arc::new(error).into()
    }
}

impl From<Arc<PostgresError>> for ApiError {
    fn from(error: Arc<PostgresError>) -> Self {
        if error.is_outage() { Self::PostgresUnavailable(error) } else { Self::Internal(error.into()) }
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Postgres(error) => error.into(),
            ReadError::Forecast(error) => error.into(),
            ReadError::Refill(RefillFailed::Postgres(error)) => error.into(),
            ReadError::Refill(error @ RefillFailed::Task(_)) => Self::Internal(error.into()),
        }
    }
}

impl From<ForecastFailed> for ApiError {
    fn from(error: ForecastFailed) -> Self {
        match error {
            ForecastFailed::Postgres(error) => error.into(),
            ForecastFailed::TooSlow => Self::NoForecast,
            ForecastFailed::Task(_) => Self::Internal(error.into()),
        }
    }
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::NoDevice(device) => Self::NoSuchDevice(device),
            ChangeError::NoProvider { device, provider } => Self::ProviderGone { device, provider },
            ChangeError::NoResource { provider, asked, known } => {
                Self::NoSuchResource { provider, asked, known }
            }
            ChangeError::ProviderGone(_) => Self::NoProviderAnyMore(error),
            ChangeError::NoGroup(_) => Self::NoSuchGroup(error),
            ChangeError::NoDefault { resource } => Self::NoSuchPreference(resource),
            ChangeError::NoJob { device, resource } => Self::NoSuchJob { device, resource },
            ChangeError::NoBase | ChangeError::NoZone | ChangeError::ZoneAlone | ChangeError::Windows(_) => {
                Self::BadWindows(error)
            }
            ChangeError::Interval(error) => Self::BadInterval(error),
            ChangeError::TooShort { .. } => Self::IntervalTooShort(error),
            ChangeError::Outdated { device, resource } => Self::Outdated { device, resource },
            ChangeError::Postgres(error) => error.into(),
            ChangeError::Forecast(error) => error.into(),
        }
    }
}

impl From<LiveError> for ApiError {
    fn from(error: LiveError) -> Self {
        match error {
            LiveError::Redis(_) | LiveError::Silent => Self::LiveUnavailable(error),
            LiveError::Read(error) => error.into(),
            LiveError::Stopping => Self::Stopping,
        }
    }
}

impl From<KeepError> for ApiError {
    fn from(error: KeepError) -> Self {
        match error {
            KeepError::Redis(error) => Self::RedisUnavailable(error),
            KeepError::Postgres(error) => error.into(),
        }
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
            AuthoriseError::Connection(error @ ConnectionError::TooMany { .. }) => {
                Self::TooManyConnections(error)
            }
            AuthoriseError::Connection(ConnectionError::Closed(id)) => Self::ConnectionClosed(id),
            AuthoriseError::Connection(ConnectionError::Label(error)) => Self::BadLabel(error),
            AuthoriseError::Connection(ConnectionError::Postgres(error))
            | AuthoriseError::Token(TokenError::Postgres(error))
            | AuthoriseError::Postgres(error) => error.into(),
            AuthoriseError::Connection(ConnectionError::Changed(_))
            | AuthoriseError::OtherFlow { .. }
            | AuthoriseError::NoRedirectUrl(_)
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
    /// Replaces the advice, which names CLI commands, by API requests.
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::NoJob { device, resource } => Self::NoSuchJob { device, resource },
            RefreshError::Paused { device, resource } => Self::Paused { device, resource },
            RefreshError::ConnectionPaused { label } => Self::ConnectionPaused { label },
            RefreshError::NeedsReauth { label, reason } => Self::NeedsReauth { label, reason },
            RefreshError::Limited { ref limited, left, bounds } => Self::TooManyRefreshes {
                detail: error.to_string(),
                wait: limited.wait,
                left: RateLimit::of(bounds, left),
            },
            RefreshError::NoProvider { device, provider } => Self::ProviderGone { device, provider },
            RefreshError::NoJobs => Self::NoSuchJobs,
            RefreshError::TooManyJobs { jobs, max } => Self::TooManyJobs { jobs, max },
            RefreshError::Unknown(id) => Self::NoSuchRefresh(id),
            RefreshError::NotYet => Self::JobNotScheduled,
            RefreshError::NoAnswer => Self::ScheduleTimedOut,
            RefreshError::Redis(error) => Self::RedisUnavailable(error),
            RefreshError::Postgres(error) => error.into(),
        }
    }
}

impl From<WebhookError> for ApiError {
    fn from(error: WebhookError) -> Self {
        match error {
            WebhookError::Unknown(id) => Self::NoSuchWebhook(id),
            WebhookError::TooMany { max } => Self::TooManyWebhooks(max),
            WebhookError::Refused(why) => Self::BadWebhook(why),
            WebhookError::Label(error) => Self::BadLabel(error),
            WebhookError::Redis(error) => Self::LiveUnavailable(error.into()),
            WebhookError::Postgres(error) => error.into(),
            WebhookError::Read(error) => error.into(),
            WebhookError::Seal(_) | WebhookError::Client(_) => Self::Internal(error.into()),
        }
    }
}

impl From<DiscoverError> for ApiError {
    /// Replaces the advice, which names CLI commands, by API requests.
    fn from(error: DiscoverError) -> Self {
        match error {
            DiscoverError::Undeclared(provider) => Self::NotListable(provider),
            DiscoverError::NoList(why) => Self::NoList(why),
            DiscoverError::Superseded => Self::NoList(error.to_string()),
            DiscoverError::NotSent(error) => error.into(),
            DiscoverError::Postgres(error) => error.into(),
        }
    }
}

impl From<TrialError> for ApiError {
    /// Replaces the advice, which names CLI commands, by API requests.
    fn from(error: TrialError) -> Self {
        match error {
            TrialError::NotSent(error) => error.into(),
            TrialError::Postgres(error) | TrialError::Token(TokenError::Postgres(error)) => error.into(),
            TrialError::TokenNotYet(why) => Self::NotYet { by: why, when: "now".to_owned() },
            TrialError::NoDevice | TrialError::NoTokens(_) => Self::NothingToTest,
            TrialError::Stranger(_)
            | TrialError::TooMany { .. }
            | TrialError::Groups(..)
            | TrialError::Token(TokenError::Seal(_)) => Self::Internal(error.into()),
        }
    }
}

impl From<ImportError> for ApiError {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Header { .. } | ImportError::Unreadable { .. } => Self::BadImport(error.to_string()),
            ImportError::Full { .. } => Self::TooManyDevices(error.to_string()),
            ImportError::Stopped { source, .. } => source.into(),
        }
    }
}

impl From<AdHocError> for ApiError {
    /// Replaces the advice, which names CLI commands, by API requests.
    fn from(error: AdHocError) -> Self {
        match error {
            AdHocError::Unusable => Self::UnusableConnection("its credential was refused".to_owned()),
            AdHocError::Paused => Self::PausedConnection,
            AdHocError::Closed => Self::ClosedConnection,
            AdHocError::Refused(reason) => Self::UnusableConnection(reason),
            AdHocError::NotYet { by, when, .. } => Self::NotYet { by, when },
            AdHocError::Incident { incident, when, .. } => Self::Incident { incident, when },
            AdHocError::Bootstrap(why) => Self::NoAccount(why),
            AdHocError::Late | AdHocError::Abandoned => Self::ScheduleTimedOut,
            AdHocError::Redis(error) | AdHocError::Keep(KeepError::Redis(error)) => {
                Self::RedisUnavailable(error)
            }
            AdHocError::Postgres(error) | AdHocError::Keep(KeepError::Postgres(error)) => error.into(),
            AdHocError::Definition(_) | AdHocError::Task(_) => Self::Internal(error.into()),
        }
    }
}

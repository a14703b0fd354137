//! Errors of commands: one line of text and an exit code.

use crate::adhoc::AdHocError;
use crate::app::StartError;
use crate::authorise::AuthoriseError;
use crate::explain::ExplainError;
use crate::local::LocalError;
use crate::postgres::PostgresError;
use crate::preference::connections::ConnectionError;
use crate::preference::find::FindError;
use crate::preference::import::ImportError;
use crate::preference::keys::KeyError;
use crate::preference::sql_readers::SqlReaderError;
use crate::preference::tenants::TenantError;
use crate::provider::LookupError;
use crate::redis::RedisError;
use crate::refresh::RefreshError;
use crate::settings::SettingsError;
use crate::token::CanaryError;
use crate::webhook::WebhookError;
use crate::words::TextError;
use std::error::Error;

type Cause = Box<dyn Error + Send + Sync>;

/// Why a command failed.
#[derive(Debug)]
pub enum CliError {
    /// It could not start: arguments, settings, servers, files. Exit code 2.
    CannotStart(Cause),
    /// It was refused, it failed, or its check found problems. Exit code 1.
    Refused(Cause),
}

impl CliError {
    /// From an error or a text.
    pub fn cannot_start(cause: impl Into<Cause>) -> Self {
        Self::CannotStart(cause.into())
    }

    /// From an error or a text.
    pub fn refused(cause: impl Into<Cause>) -> Self {
        Self::Refused(cause.into())
    }

    /// The exit code of the process.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::CannotStart(_) => 2,
            Self::Refused(_) => 1,
        }
    }

    /// The error, followed by those of its sources that its text does not already contain.
    pub fn message(&self) -> String {
        let (Self::CannotStart(cause) | Self::Refused(cause)) = self;
        let mut text = cause.to_string();
        let mut next = cause.source();
        while let Some(source) = next {
            let more = source.to_string();
            if !text.contains(&more) {
                text = format!("{text}: {more}");
            }
            next = source.source();
        }
        text
    }
}

macro_rules! from {
    ($($error:ty => $kind:ident,)*) => {
        $(impl From<$error> for CliError {
            fn from(error: $error) -> Self {
                Self::$kind(error.into())
            }
        })*
    };
}

from!(
    SettingsError => CannotStart,
    StartError => CannotStart,
    LocalError => CannotStart,
    PostgresError => Refused,
    RedisError => Refused,
    TenantError => Refused,
    KeyError => Refused,
    SqlReaderError => Refused,
    ConnectionError => Refused,
    AuthoriseError => Refused,
    LookupError => Refused,
    TextError => Refused,
    CanaryError => Refused,
    FindError => Refused,
    AdHocError => Refused,
    RefreshError => Refused,
    ExplainError => Refused,
    ImportError => Refused,
    WebhookError => Refused,
);

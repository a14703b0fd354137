//! Why a command did not do what was asked: one sentence, and an exit code.

use crate::adhoc::RefreshError;
use crate::app::StartError;
use crate::authorise::AuthoriseError;
use crate::explain::ExplainError;
use crate::local::LocalError;
use crate::postgres::PostgresError;
use crate::preference::connections::ConnectionError;
use crate::preference::find::FindError;
use crate::preference::import::ImportError;
use crate::preference::keys::KeyError;
use crate::preference::tenants::TenantError;
use crate::provider::LookupError;
use crate::settings::SettingsError;
use crate::watch::LagError;
use std::error::Error;

type Cause = Box<dyn Error + Send + Sync>;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub enum CliError {
    /// It never began: arguments, settings, servers, files. Exit code 2.
    CannotStart(Cause),
    /// It was refused, did not work, or checked and found something wrong. Exit code 1.
    Refused(Cause),
}

impl CliError {
    /// For `map_err`, and for sentences.
    pub fn cannot_start(cause: impl Into<Cause>) -> Self {
        Self::CannotStart(cause.into())
    }

    /// For `map_err`, and for sentences.
    pub fn refused(cause: impl Into<Cause>) -> Self {
        Self::Refused(cause.into())
    }

    /// What the process ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::CannotStart(_) => 2,
            Self::Refused(_) => 1,
        }
    }

    /// The error with its sources, as far as it does not quote them already.
    pub fn sentence(&self) -> String {
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
    TenantError => Refused,
    KeyError => Refused,
    ConnectionError => Refused,
    AuthoriseError => Refused,
    LookupError => Refused,
    FindError => Refused,
    RefreshError => Refused,
    ExplainError => Refused,
    ImportError => Refused,
    LagError => Refused,
);

//! Settings: the default file built into the binary, a file over it, the environment over that.

mod given;

pub use given::{FormerKeys, Names, OperatorSecrets};

use crate::words::Interval;
use secrecy::SecretString;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The file that is the defaults.
pub const DEFAULTS: &str = include_str!("../config/default.toml");

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("settings: {0}; `config/default.toml` lists every key with its meaning")]
pub struct SettingsError(String);

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }
    };
}

section!(
    /// All settings; `config/default.toml` says what each means.
    Settings {
        /// Postgres.
        database: Database,
        /// Redis.
        redis: Redis,
        /// The private servers.
        local: Local,
        /// The sealing key.
        secret: Secret,
        /// The API.
        http: Http,
        /// Provider files.
        providers: Providers,
        /// The operator's own secrets, by provider and name.
        #[serde(default)]
        provider: OperatorSecrets,
        /// Which devices there are.
        discovery: Discovery,
        /// First runs.
        schedule: Schedule,
        /// The score.
        rank: Rank,
        /// Grants.
        take: Take,
        /// After failures that may pass.
        retry: Retry,
        /// After failures that do not.
        park: Park,
        /// What counts as fresh.
        fresh: Fresh,
        /// The cache.
        cache: Cache,
        /// Retention.
        history: History,
        /// Stopping.
        shutdown: Shutdown,
        /// Logs.
        log: Log,
    }
);
section!(
    /// `[database]`
    Database {
        /// Empty: a private server.
        url: SecretString,
        /// Per process.
        connections_max: u32,
    }
);
section!(
    /// `[redis]`
    Redis {
        /// Empty: a private server.
        url: SecretString,
        /// Before every key.
        prefix: String,
    }
);
section!(
    /// `[local]`
    Local {
        /// The private servers' data.
        dir: PathBuf,
    }
);
section!(
    /// `[secret]`
    Secret {
        /// The sealing key itself.
        key: SecretString,
        /// Or its file.
        key_file: PathBuf,
        /// Keys that only open what they sealed before.
        former_keys: FormerKeys,
    }
);
section!(
    /// `[http]`
    Http {
        /// Address and port.
        listen: String,
        /// Of requests.
        body_bytes_max: usize,
        /// Where browsers reach it; empty: they do not.
        public_url: String,
    }
);
section!(
    /// `[providers]`
    Providers {
        /// More definitions; empty for none.
        dir: PathBuf,
        /// Those whose calls may go into private networks.
        private_networks: Names,
        /// Whether users may add connections to those by the API.
        private_by_api: bool,
    }
);
section!(
    /// `[discovery]`
    Discovery {
        /// Whether lists of devices are asked for by themselves.
        automatic: bool,
        /// How often.
        every: Interval,
    }
);
section!(
    /// `[schedule]`
    Schedule {
        /// Over how long first runs are spread.
        first_run_spread: Interval,
    }
);
section!(
    /// `[rank]`
    Rank {
        /// The exponent.
        k: f64,
        /// Base priority.
        realtime: f64,
        /// Base priority.
        high: f64,
        /// Base priority.
        normal: f64,
        /// Base priority.
        low: f64,
        /// Base priority.
        background: f64,
    }
);
section!(
    /// `[take]`
    Take {
        /// How far ahead calls are granted.
        horizon: Interval,
        /// How far ahead what is not due yet is granted for its instant.
        ahead: Interval,
        /// How much of its interval before its time a job rides along in a call with free places.
        ride_share: f64,
        /// Never longer before it than this.
        ride_max: Interval,
        /// How long a call may take to be settled.
        lease: Interval,
        /// How late a call may be sent.
        tolerance: Interval,
    }
);
section!(
    /// `[retry]`
    Retry {
        /// The bound of the first wait.
        base: Interval,
        /// The bound of every wait.
        cap: Interval,
        /// How often.
        attempts_max: u32,
    }
);
section!(
    /// `[park]`
    Park {
        /// After so many.
        gone_after: u32,
        /// After so many.
        broken_after: u32,
    }
);
section!(
    /// `[fresh]`
    Fresh {
        /// Of the interval.
        grace_share: f64,
        /// At least.
        grace_min: Interval,
    }
);
section!(
    /// `[cache]`
    Cache {
        /// Unwritten for so long, forgotten.
        ttl: Interval,
    }
);
section!(
    /// `[history]`
    History {
        /// Older is dropped.
        keep_days: u64,
    }
);
section!(
    /// `[shutdown]`
    Shutdown {
        /// For calls that were sent.
        grace: Interval,
    }
);
section!(
    /// `[log]`
    Log {
        /// tracing's filter.
        filter: String,
        /// text or json.
        format: LogFormat,
    }
);

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl Providers {
    /// The operator's own definitions, if a directory is configured.
    pub fn dir(&self) -> Option<&Path> {
        (!self.dir.as_os_str().is_empty()).then_some(self.dir.as_path())
    }
}

impl Settings {
    /// Reads them: the defaults, then `file`, then the environment.
    pub fn load(file: Option<&Path>) -> Result<Self, SettingsError> {
        let mut sources =
            config::Config::builder().add_source(config::File::from_str(DEFAULTS, config::FileFormat::Toml));
        if let Some(path) = file {
            sources = sources.add_source(config::File::from(path).format(config::FileFormat::Toml));
        }
        let environment = config::Environment::with_prefix("PACELINE").prefix_separator("__").separator("__");
        let settings: Self = sources
            .add_source(environment.try_parsing(false))
            .build()
            .and_then(config::Config::try_deserialize)
            .map_err(|error| SettingsError(error.to_string()))?;
        settings.checked()
    }

    fn checked(self) -> Result<Self, SettingsError> {
        let rank = &self.rank;
        let bases = [rank.realtime, rank.high, rank.normal, rank.low, rank.background];
        if !(rank.k > 0.0 && rank.k <= 10.0) {
            return Err(SettingsError(format!("rank.k is {}: it must be above 0 and at most 10", rank.k)));
        }
        if !bases.iter().all(|b| b.is_finite() && *b > 0.0) || !bases.is_sorted() {
            return Err(SettingsError(
                "rank's bases must be above 0 and not fall from realtime to background".into(),
            ));
        }
        if !(0.0..=10.0).contains(&self.fresh.grace_share) {
            return Err(SettingsError("fresh.grace_share must be from 0 to 10".into()));
        }
        if !(0.0..=0.5).contains(&self.take.ride_share) {
            return Err(SettingsError("take.ride_share must be from 0 to 0.5".into()));
        }
        if self.database.connections_max < 4 {
            return Err(SettingsError(format!(
                "database.connections_max is {}: it must be at least 4, since locks and listeners hold some for long",
                self.database.connections_max
            )));
        }
        if self.cache.ttl.as_ms() < 1000 {
            return Err(SettingsError(format!("cache.ttl is {}: it must be at least 1s", self.cache.ttl)));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_default_file_is_complete() {
        assert_eq!(Settings::load(None).unwrap().http.body_bytes_max, 1 << 20);
    }

    #[test]
    fn every_default_key_carries_a_comment() {
        for line in DEFAULTS.lines().filter(|line| line.contains(" = ")) {
            let plain = ["realtime", "high", "normal", "low", "background", "base", "cap"];
            assert!(line.contains('#') || plain.iter().any(|key| line.starts_with(key)), "{line}");
        }
    }

    #[test]
    fn a_file_overrides_and_a_typo_is_refused() {
        let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        writeln!(file, "[take]\nhorizon = \"100ms\"").unwrap();
        assert_eq!(Settings::load(Some(file.path())).unwrap().take.horizon.as_ms(), 100);
        writeln!(file, "horizn = \"1s\"").unwrap();
        assert!(Settings::load(Some(file.path())).unwrap_err().to_string().contains("horizn"));
    }

    #[test]
    fn what_could_not_work_is_refused() {
        for (text, works) in [
            ("[database]\nconnections_max = 3", false),
            ("[database]\nconnections_max = 4", true),
            ("[cache]\nttl = \"999ms\"", false),
            ("[cache]\nttl = \"1s\"", true),
        ] {
            let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
            writeln!(file, "{text}").unwrap();
            let loaded = Settings::load(Some(file.path())).map(drop);
            assert_eq!(loaded.is_ok(), works, "{text}: {loaded:?}");
        }
    }
}

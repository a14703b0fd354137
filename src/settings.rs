//! Settings: the defaults built into the binary, overridden by a file, overridden by the environment.

mod lists;
mod validate;

pub use history::History;
pub use lists::{FormerKeys, Names, OperatorSecrets, Origins, ProviderHosts};
pub use tenant::{Refresh, Tenant, Webhooks};

use crate::words::Interval;
use secrecy::SecretString;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The default settings.
pub const DEFAULTS: &str = include_str!("../config/default.toml");

/// The settings are invalid.
#[derive(Debug, thiserror::Error)]
#[error("settings: {0}; `config/default.toml` documents every key")]
pub struct SettingsError(String);

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }
    };
}

mod history;
mod tenant;

section!(
    /// All settings; `config/default.toml` documents each.
    Settings {
        /// Postgres.
        database: Database,
        /// Redis.
        redis: Redis,
        /// Private servers.
        local: Local,
        /// The sealing key.
        secret: Secret,
        /// The API.
        http: Http,
        /// Limits of what a tenant has.
        tenant: Tenant,
        /// Provider definitions.
        providers: Providers,
        /// The operator's own secrets, by provider and name.
        #[serde(default)]
        provider: OperatorSecrets,
        /// Discovery of devices.
        discovery: Discovery,
        /// The schedule.
        schedule: Schedule,
        /// Limits of "refresh now".
        refresh: Refresh,
        /// The score that ranks jobs.
        rank: Rank,
        /// Granting calls.
        take: Take,
        /// Requests for tokens.
        token: Token,
        /// Retries after transient failures.
        retry: Retry,
        /// Parking of jobs that keep failing.
        probe: Probe,
        /// Waits after refusals.
        hold: Hold,
        /// Incidents of providers.
        incident: Incident,
        /// When a reading counts as fresh.
        fresh: Fresh,
        /// Webhooks.
        webhooks: Webhooks,
        /// The cache.
        cache: Cache,
        /// Retention of history.
        history: History,
        /// Shutdown.
        shutdown: Shutdown,
        /// Logs.
        log: Log,
    }
);
section!(
    /// `[database]`
    Database {
        /// Server URL; empty: start a private server.
        url: SecretString,
        /// URL of a standby for lists and counts; empty: they are read from the primary.
        read_url: SecretString,
        /// Pool size per process and server.
        connections_max: u32,
    }
);
section!(
    /// `[redis]`
    Redis {
        /// URL of a server, of nodes of a cluster, or of Sentinels; empty: start a private server.
        #[serde(deserialize_with = "lists::url_of_hosts")]
        url: SecretString,
        /// Prepended to every key.
        prefix: String,
    }
);
section!(
    /// `[local]`
    Local {
        /// Data directory of the private servers.
        dir: PathBuf,
    }
);
section!(
    /// `[secret]`
    Secret {
        /// The sealing key itself.
        key: SecretString,
        /// Or a file with the key.
        key_file: PathBuf,
        /// Former keys, which only open what they sealed.
        former_keys: FormerKeys,
    }
);
section!(
    /// `[http]`
    Http {
        /// Address and port.
        listen: String,
        /// Limit of a request's body.
        body_bytes_max: usize,
        /// Limit of the body of an import of devices.
        import_bytes_max: usize,
        /// Limit of an answer's points of history.
        points_max: usize,
        /// Limit of a query's devices.
        ids_max: usize,
        /// Limit of open connections; 0: by the descriptors of the process.
        connections_max: u32,
        /// Limit of the time in which a request's head must arrive.
        header_timeout: Interval,
        /// Limit of the time between two requests, or in which a client reads nothing of a response.
        idle_timeout: Interval,
        /// Requests of a key within `key_window` at each process; 0: any number.
        key_requests: u32,
        /// The window.
        key_window: Interval,
        /// Origins whose pages may call the API from a browser.
        cors_origins: Origins,
        /// Base URL at which browsers reach the API; empty: none.
        public_url: String,
    }
);
section!(
    /// `[providers]`
    Providers {
        /// Directory of further definitions; empty: none.
        dir: PathBuf,
        /// Providers whose calls may go to private networks.
        private_networks: Names,
        /// Whether users may add connections to these providers through the API.
        private_by_api: bool,
        /// Hosts that params may name beside those of the definitions.
        hosts: ProviderHosts,
    }
);
section!(
    /// `[discovery]`
    Discovery {
        /// Whether devices are discovered automatically.
        automatic: bool,
        /// How often each connection is listed.
        every: Interval,
    }
);
section!(
    /// `[schedule]`
    Schedule {
        /// First runs of new jobs are spread over this time.
        first_run_spread: Interval,
    }
);
section!(
    /// `[rank]`
    Rank {
        /// Exponent of the delay in the score.
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
        /// How long before its instant a call may be granted.
        horizon: Interval,
        /// How long before its due time a job may be granted, for that time.
        ahead: Interval,
        /// Share of its interval by which a job may be early to fill a free place of a call.
        ride_share: f64,
        /// Upper bound of that time.
        ride_max: Interval,
        /// How long a call may take until it is settled.
        lease: Interval,
        /// How late a call may still be sent.
        tolerance: Interval,
    }
);
section!(
    /// `[token]`
    Token {
        /// The timeout of a request for a token, if it is longer than that of the provider's calls.
        timeout: Interval,
    }
);
section!(
    /// `[retry]`
    Retry {
        /// Upper bound of the wait before the one early retry after a failure that may pass.
        base: Interval,
        /// The longest wait after failures that may pass.
        cap: Interval,
        /// Failures in a row after which a job counts as failing.
        failing_after: u32,
    }
);
section!(
    /// `[probe]`
    Probe {
        /// The longest wait between two attempts of a job that keeps failing.
        cap: Interval,
        /// "No such device" responses in a row.
        gone_after: u32,
        /// Unreadable responses in a row.
        broken_after: u32,
    }
);
section!(
    /// `[hold]`
    #[derive(Copy)]
    Hold {
        /// The shortest wait after a refusal, doubled by each further one in a row.
        first: Interval,
        /// Upper bound of that growth.
        cap: Interval,
        /// Upper bound of the wait where a provider asked for one that is longer than its quotas' windows.
        reported_cap: Interval,
    }
);
section!(
    /// `[incident]`
    Incident {
        /// At least so many connections of a provider fail the same way …
        connections_min: u32,
        /// … and at least this share of those that were called …
        share: f64,
        /// … within this time: then the provider has an incident.
        window: Interval,
        /// The first wait between probes.
        probe: Interval,
        /// The longest wait between probes.
        probe_cap: Interval,
    }
);
section!(
    /// `[fresh]`
    Fresh {
        /// Grace as a share of the interval.
        grace_share: f64,
        /// Minimum grace.
        grace_min: Interval,
    }
);
section!(
    /// `[cache]`
    Cache {
        /// Entries not written for this long expire.
        ttl: Interval,
    }
);
section!(
    /// `[shutdown]`
    Shutdown {
        /// Time for calls in flight to finish.
        grace: Interval,
    }
);
section!(
    /// `[log]`
    Log {
        /// A `tracing` filter.
        filter: String,
        /// Format of log lines.
        format: LogFormat,
    }
);

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl Providers {
    /// The directory of the operator's definitions, if configured.
    pub fn dir(&self) -> Option<&Path> {
        (!self.dir.as_os_str().is_empty()).then_some(self.dir.as_path())
    }
}

impl Settings {
    /// Loads the defaults, then `file`, then the environment.
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
        settings.validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn default_file_is_complete() {
        assert_eq!(Settings::load(None).unwrap().http.body_bytes_max, 1 << 20);
    }

    #[test]
    fn every_default_key_has_a_comment() {
        for line in DEFAULTS.lines().filter(|line| line.contains(" = ")) {
            let self_explanatory = ["realtime", "high", "normal", "low", "background", "base", "cap"];
            assert!(line.contains('#') || self_explanatory.iter().any(|key| line.starts_with(key)), "{line}");
        }
    }

    #[test]
    fn file_overrides_defaults_and_unknown_key_is_an_error() {
        let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        writeln!(file, "[take]\nhorizon = \"100ms\"").unwrap();
        assert_eq!(Settings::load(Some(file.path())).unwrap().take.horizon.as_ms(), 100);
        writeln!(file, "horizn = \"1s\"").unwrap();
        assert!(Settings::load(Some(file.path())).unwrap_err().to_string().contains("horizn"));
    }

    #[test]
    fn values_below_their_minimum_are_errors() {
        for (text, is_valid) in [
            ("[database]\nconnections_max = 3", false),
            ("[database]\nconnections_max = 4", true),
            ("[hold]\nfirst = \"16m\"", false),
            ("[cache]\nttl = \"999ms\"", false),
            ("[cache]\nttl = \"1s\"", true),
        ] {
            let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
            writeln!(file, "{text}").unwrap();
            let loaded = Settings::load(Some(file.path())).map(drop);
            assert_eq!(loaded.is_ok(), is_valid, "{text}: {loaded:?}");
        }
    }
}

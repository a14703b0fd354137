//! Settings of the simulated cloud.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use super::devices::{Fleet, Kind};
use super::failures::Failures;
use super::limits::Limit;
use super::rng::Key;

/// What to simulate. By default: three accounts, strict limits, no failures.
#[derive(Clone, Debug)]
pub struct CloudSettings {
    /// Address to listen on; port 0 picks a free port, which `ready` gets.
    pub listen: SocketAddr,
    /// Devices, values, derived keys and all random draws follow from it.
    pub seed: u64,
    /// Number of accounts; at least 1.
    pub accounts: u32,
    /// Devices of each account.
    pub devices_per_account: u32,
    /// API keys of the first accounts, in order; the keys of the others are derived from the seed.
    pub keys: Vec<String>,
    /// Limits, all of which apply. Empty: no limits.
    pub limits: Vec<Limit>,
    /// Latency of admitted requests, uniformly distributed. Refusals are immediate.
    pub latency_ms: RangeInclusive<u64>,
    /// Share of devices that are offline at any time, `0.0..=0.25`. Outages last 5 to 25 minutes.
    pub offline_share: f64,
    /// Injected failures.
    pub failures: Failures,
    /// Stop when standard input closes, so that the cloud ends with its parent process even if that is killed.
    pub exit_with_stdin: bool,
}

/// A simulated device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudDevice {
    /// Its id in the API.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether `/energy` has values for it.
    pub has_energy: bool,
}

impl Default for CloudSettings {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            seed: 1,
            accounts: 3,
            devices_per_account: 40,
            keys: Vec::new(),
            limits: vec![Limit::account(50, 10_000), Limit::account(6_000, 3_600_000), Limit::app(40, 1_000)],
            latency_ms: 20..=120,
            offline_share: 0.02,
            failures: Failures::default(),
            exit_with_stdin: false,
        }
    }
}

impl CloudSettings {
    /// The API key of an account (from 0): the configured one, or else one derived from the seed, so that it follows
    /// from the settings alone.
    pub fn key(&self, account: u32) -> String {
        let derived = || {
            let branch = Key::new(self.seed).with(KEYS).with(account.into());
            format!("mdw_{:016x}{:016x}", branch.bits(), branch.with(1).bits())
        };
        self.keys.get(account as usize).cloned().unwrap_or_else(derived)
    }

    /// The devices of an account (from 0).
    pub fn devices(&self, account: u32) -> impl Iterator<Item = CloudDevice> {
        let fleet = Fleet::new(self.seed, self.devices_per_account);
        (0..self.devices_per_account).map(move |index| {
            let device = fleet.device(account, index);
            let metered = matches!(device.kind, Kind::SolarInverter | Kind::PowerMeter);
            CloudDevice { id: device.id(), name: device.name(), has_energy: metered }
        })
    }

    /// The account of each key.
    pub(super) fn keys(&self) -> HashMap<String, u32> {
        (0..self.accounts).map(|account| (self.key(account), account)).collect()
    }

    /// Refuses invalid settings, with the setting and the reason.
    pub(super) fn check(&self) -> io::Result<()> {
        self.wrong_accounts_or_limits().or_else(|| self.wrong_shares()).map_or(Ok(()), |wrong| {
            let text = format!("the simulated cloud cannot start: {wrong}");
            Err(io::Error::new(io::ErrorKind::InvalidInput, text))
        })
    }

    fn wrong_accounts_or_limits(&self) -> Option<String> {
        let (accounts, each, most) = (self.accounts, self.devices_per_account, u32::MAX);
        if accounts == 0 {
            return Some("accounts is 0: at least one is needed".to_owned());
        }
        if accounts.checked_mul(each).is_none() {
            return Some(format!(
                "{accounts} accounts of {each} devices are too many: at most {most} devices in all"
            ));
        }
        if self.keys().len() < accounts as usize {
            return Some("two accounts have the same key: configure a different one for each".to_owned());
        }
        let limit = self.limits.iter().find(|limit| !limit.is_valid())?;
        Some(format!(
            "the limit {limit} is invalid: the amount must be at least 1, the window from 1 ms to a year"
        ))
    }

    fn wrong_shares(&self) -> Option<String> {
        if self.latency_ms.is_empty() {
            return Some(format!("latency {:?} ms is empty: put the smaller number first", self.latency_ms));
        }
        if !(0.0..=0.25).contains(&self.offline_share) {
            return Some(format!("offline share {} is outside 0 to 0.25", self.offline_share));
        }
        let failures = self.failures;
        let is_wrong = !failures.are_valid();
        is_wrong
            .then(|| format!("shares of failures must be 0 to 1 each and at most 1 together: {failures:?}"))
    }
}

/// The branch of the seed from which keys are drawn.
const KEYS: u64 = 0x6b65_7973;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_configured_or_derived_from_the_seed() {
        let settings = CloudSettings { keys: vec!["mine".to_owned()], ..CloudSettings::default() };
        assert_eq!(settings.key(0), "mine");
        assert_eq!(settings.key(1), CloudSettings::default().key(1));
        assert_ne!(settings.key(1), settings.key(2));
        assert_ne!(settings.key(1), CloudSettings { seed: 2, ..CloudSettings::default() }.key(1));
    }

    #[test]
    fn invalid_settings_are_refused_with_the_reason() {
        let refused = |change: fn(&mut CloudSettings)| {
            let mut settings = CloudSettings::default();
            change(&mut settings);
            settings.check().unwrap_err().to_string()
        };
        assert!(CloudSettings::default().check().is_ok());
        assert!(refused(|it| it.accounts = 0).contains("at least one"));
        assert!(refused(|it| it.devices_per_account = u32::MAX).contains("too many"));
        assert!(refused(|it| it.keys = vec!["same".to_owned(); 2]).contains("same key"));
        assert!(refused(|it| it.limits = vec![Limit::app(0, 1_000)]).contains("app:0/1s"));
        assert!(refused(|it| it.latency_ms = RangeInclusive::new(9, 3)).contains("smaller number first"));
        assert!(refused(|it| it.offline_share = 0.9).contains("0 to 0.25"));
        assert!(refused(|it| it.failures.error_share = f64::NAN).contains("shares of failures"));
    }
}

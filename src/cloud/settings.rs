//! Everything that can be chosen about the simulated cloud.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use super::chance::Key;
use super::failures::Failures;
use super::fleet::{Fleet, Kind};
use super::limit::Limit;

/// What to simulate. The default is a clean run: three accounts, strict limits, no failures.
#[derive(Clone, Debug)]
pub struct CloudSettings {
    /// Where to listen; port 0 takes a free one, told by `ready`.
    pub listen: SocketAddr,
    /// Decides the devices, their values, the derived keys and every draw of chance.
    pub seed: u64,
    /// Number of accounts; at least 1.
    pub accounts: u32,
    /// Devices of each account.
    pub devices_per_account: u32,
    /// API keys of the first accounts, in order; the others have the one derived from the seed.
    pub keys: Vec<String>,
    /// All hold at once. An empty list limits nothing.
    pub limits: Vec<Limit>,
    /// How long an admitted request takes, drawn evenly. Refusals are immediate.
    pub latency_ms: RangeInclusive<u64>,
    /// Share of devices that are offline at any time, `0.0..=0.25`. Outages last 5 to 25 minutes.
    pub offline_share: f64,
    /// What goes wrong on purpose.
    pub failures: Failures,
    /// Stop when standard input closes: whoever holds its other end may be killed without a chance to say so.
    pub exit_with_stdin: bool,
}

/// A simulated device, as its owner knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownDevice {
    /// The cloud's id of it.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// Whether `/energy` knows it.
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
    /// The API key of an account (from 0): the one handed in, else one derived from the seed, so that whoever
    /// knows the settings need not ask for it.
    pub fn key(&self, account: u32) -> String {
        let derived = || {
            let branch = Key::new(self.seed).with(KEYS).with(account.into());
            format!("mdw_{:016x}{:016x}", branch.bits(), branch.with(1).bits())
        };
        self.keys.get(account as usize).cloned().unwrap_or_else(derived)
    }

    /// The devices of an account (from 0): what its owner would know of them.
    pub fn devices(&self, account: u32) -> impl Iterator<Item = KnownDevice> {
        let fleet = Fleet::new(self.seed, self.devices_per_account);
        (0..self.devices_per_account).map(move |index| {
            let device = fleet.device(account, index);
            let metered = matches!(device.kind, Kind::SolarInverter | Kind::PowerMeter);
            KnownDevice { id: device.id(), name: device.name(), has_energy: metered }
        })
    }

    /// Whose key is whose.
    pub(super) fn keys(&self) -> HashMap<String, u32> {
        (0..self.accounts).map(|account| (self.key(account), account)).collect()
    }

    /// Refuses settings that cannot be simulated, saying which and why.
    pub(super) fn check(&self) -> io::Result<()> {
        self.wrong().or_else(|| self.wrong_chances()).map_or(Ok(()), |wrong| {
            let text = format!("the simulated cloud cannot start: {wrong}");
            Err(io::Error::new(io::ErrorKind::InvalidInput, text))
        })
    }

    fn wrong(&self) -> Option<String> {
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
            return Some("two accounts have the same key: hand in a different one for each".to_owned());
        }
        let limit = self.limits.iter().find(|limit| !limit.is_possible())?;
        Some(format!(
            "the limit {limit} cannot be kept: amount and window start at 1, a window ends at a year"
        ))
    }

    fn wrong_chances(&self) -> Option<String> {
        if self.latency_ms.is_empty() {
            return Some(format!("latency {:?} ms is empty: put the smaller figure first", self.latency_ms));
        }
        if !(0.0..=0.25).contains(&self.offline_share) {
            return Some(format!("offline share {} is outside 0 to 0.25", self.offline_share));
        }
        let failures = self.failures;
        let are_wrong = !failures.are_shares();
        are_wrong.then(|| format!("shares of failures are 0 to 1 each and at most 1 together: {failures:?}"))
    }
}

/// The branch of the seed that keys are drawn from.
const KEYS: u64 = 0x6b65_7973;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_handed_in_or_follow_from_the_seed() {
        let settings = CloudSettings { keys: vec!["mine".to_owned()], ..CloudSettings::default() };
        assert_eq!(settings.key(0), "mine");
        assert_eq!(settings.key(1), CloudSettings::default().key(1));
        assert_ne!(settings.key(1), settings.key(2));
        assert_ne!(settings.key(1), CloudSettings { seed: 2, ..CloudSettings::default() }.key(1));
    }

    #[test]
    fn impossible_settings_are_refused_in_words() {
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
        assert!(refused(|it| it.latency_ms = RangeInclusive::new(9, 3)).contains("smaller figure first"));
        assert!(refused(|it| it.offline_share = 0.9).contains("0 to 0.25"));
        assert!(refused(|it| it.failures.error_share = f64::NAN).contains("shares of failures"));
    }
}

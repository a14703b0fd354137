//! Devices, derived from their numbers; nothing is stored.

use super::kind::Kind;
use super::place::{Place, places};
use crate::cloud::rng::Key;

use Kind::{AirMonitor, PowerMeter, SolarInverter, Thermostat, WeatherStation};

/// Kinds of an account's devices, repeated. One of each comes first, so that a small account has every kind.
const MIX: [Kind; 10] = [
    Thermostat,
    SolarInverter,
    AirMonitor,
    WeatherStation,
    PowerMeter,
    Thermostat,
    AirMonitor,
    Thermostat,
    AirMonitor,
    Thermostat,
];

/// All devices of all accounts. Account `a` owns `per_account` numbers, from `a × per_account`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fleet {
    root: Key,
    per_account: u32,
}

/// A device. Everything random about it is drawn from its `key`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Device {
    pub(crate) kind: Kind,
    pub(crate) place: Place,
    pub(crate) key: Key,
    /// The key of the site, for what its devices share, such as weather.
    pub(crate) site: Key,
    /// Number of devices of the same kind and place before it.
    repeat: usize,
    tag: u32,
}

impl Device {
    /// Unique among all accounts, such as `th-7c9e6679`.
    pub(crate) fn id(&self) -> String {
        format!("{}-{:08x}", self.kind.prefix(), self.tag)
    }

    /// Unique within the account and kind: "Kitchen", then "Kitchen 2".
    pub(crate) fn name(&self) -> String {
        match self.repeat {
            0 => self.place.name.to_owned(),
            repeat => format!("{} {}", self.place.name, repeat + 1),
        }
    }

    pub(crate) fn model(&self) -> &'static str {
        self.key.with(MODEL).pick(self.kind.models())
    }
}

const MODEL: u64 = 1;
const DEVICES: u64 = 2;
const SITES: u64 = 3;
const TAGS: u64 = 4;

impl Fleet {
    pub(crate) fn new(seed: u64, per_account: u32) -> Self {
        Self { root: Key::new(seed), per_account }
    }

    pub(crate) fn per_account(&self) -> u32 {
        self.per_account
    }

    /// The device at an index below `per_account`.
    pub(crate) fn device(&self, account: u32, index: u32) -> Device {
        let number = account * self.per_account + index;
        let kind = MIX[index as usize % MIX.len()];
        let site = self.root.with(SITES).with(account.into());
        let (nth, choices) = (nth_of_kind(index as usize), places(kind));
        Device {
            kind,
            // Accounts start at different places, so that small accounts differ.
            place: choices[(nth + site.below(choices.len())) % choices.len()],
            key: self.root.with(DEVICES).with(number.into()),
            site,
            repeat: nth / choices.len(),
            tag: self.root.with(TAGS).scramble(number),
        }
    }

    /// The account's device of this id; `None` for ids of other accounts, as for those that do not exist.
    pub(crate) fn find(&self, account: u32, id: &str) -> Option<Device> {
        let (_, tag) = id.split_once('-')?;
        let number = self.root.with(TAGS).unscramble(u32::from_str_radix(tag, 16).ok()?);
        let index =
            number.checked_sub(account * self.per_account).filter(|index| *index < self.per_account)?;
        // The parsing above also accepts other prefixes and spellings of the number: only one of them is the id.
        Some(self.device(account, index)).filter(|device| device.id() == id)
    }
}

fn nth_of_kind(index: usize) -> usize {
    let kind = MIX[index % MIX.len()];
    let of_kind = |kinds: &[Kind]| kinds.iter().filter(|it| **it == kind).count();
    index / MIX.len() * of_kind(&MIX) + of_kind(&MIX[..index % MIX.len()])
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_found() {
        let fleet = Fleet::new(5, 500);
        let mut seen = HashSet::new();
        for (account, index) in (0..20).flat_map(|account| (0..500).map(move |index| (account, index))) {
            let device = fleet.device(account, index);
            assert!(seen.insert(device.id()), "{} twice", device.id());
            assert_eq!(fleet.find(account, &device.id()), Some(device));
        }
    }

    #[test]
    fn ids_of_other_accounts_and_other_spellings_are_unknown() {
        let fleet = Fleet::new(5, 10);
        let id = fleet.device(1, 0).id();
        assert_eq!(fleet.find(0, &id), None);
        for wrong in
            [id.replace("th", "pv"), id.to_uppercase(), id.replace('-', "-+"), String::new(), "th-".into()]
        {
            assert_eq!(fleet.find(1, &wrong), None, "{wrong}");
        }
    }

    #[test]
    fn names_are_unique_per_kind_and_the_first_five_devices_have_every_kind() {
        let fleet = Fleet::new(9, 200);
        let names: HashSet<_> =
            (0..200).map(|index| fleet.device(2, index)).map(|it| (it.kind, it.name())).collect();
        assert_eq!(names.len(), 200);
        let kinds: HashSet<Kind> = (0..5).map(|index| fleet.device(0, index).kind).collect();
        assert_eq!(kinds.len(), 5);
    }

    #[test]
    fn ids_depend_on_the_seed_only() {
        let ids = |seed| (0..10).map(|index| Fleet::new(seed, 10).device(0, index).id()).collect::<Vec<_>>();
        assert_eq!(ids(1), ids(1));
        assert_ne!(ids(1), ids(2));
    }
}

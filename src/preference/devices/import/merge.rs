//! Merges the rows of a device. A device may have several rows, anywhere in the file, each with other resources.

use super::Wanted;
use crate::provider::Provider;
use crate::words::ResourceName;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// Devices to add together.
pub(super) struct Batch {
    pub wanted: Vec<Wanted>,
    /// The number of rows they come from.
    pub rows: u64,
}

/// The next batch, and a few words of memory per earlier device.
pub(super) struct Merge {
    resources: Vec<ResourceName>,
    /// Hash of the id → the device's earlier rows. Two of a million ids collide once in 30 million files.
    seen: HashMap<u64, Seen>,
    hasher: RandomState,
    /// Id → index in `wanted`.
    places: HashMap<String, usize>,
    wanted: Vec<Wanted>,
    rows: u64,
}

struct Seen {
    row: u64,
    group: u64,
    /// One bit per resource, in the provider's order.
    resources: u64,
}

impl Merge {
    pub(super) fn new(provider: &Provider) -> Self {
        Self {
            resources: provider.resource_names().cloned().collect(),
            seen: HashMap::new(),
            hasher: RandomState::new(),
            places: HashMap::new(),
            wanted: Vec::new(),
            rows: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.wanted.len()
    }

    /// The number of distinct devices.
    pub(super) fn devices(&self) -> u64 {
        self.seen.len() as u64
    }

    /// Adds a row, unless it contradicts an earlier one.
    pub(super) fn put(&mut self, row: u64, new: Wanted) -> Result<(), String> {
        let key = self.hasher.hash_one(&new.device.external_id);
        let group = self.hasher.hash_one(&new.device.group);
        let resources = self.bits(&new);
        let seen = self.seen.entry(key).or_insert(Seen { row, group, resources: 0 });
        let id = &new.device.external_id;
        if seen.resources & resources != 0 {
            let first = seen.row;
            return Err(format!(
                "device {id:?} has this resource already, see row {first}: keep one of the rows"
            ));
        }
        if seen.group != group {
            let first = seen.row;
            return Err(format!(
                "device {id:?} is in another group in row {first}: write the same group in all its rows"
            ));
        }
        seen.resources |= resources;
        self.rows += 1;
        match self.places.get(id) {
            Some(account) => join(&mut self.wanted[*account], new),
            None => {
                self.places.insert(id.clone(), self.wanted.len());
                self.wanted.push(new);
            }
        }
        Ok(())
    }

    /// Takes the batch so far; none if it is empty.
    pub(super) fn take(&mut self) -> Option<Batch> {
        self.places.clear();
        let batch = Batch { wanted: std::mem::take(&mut self.wanted), rows: std::mem::take(&mut self.rows) };
        (!batch.wanted.is_empty()).then_some(batch)
    }

    fn bits(&self, new: &Wanted) -> u64 {
        let jobs = new.device.jobs.iter().chain(&new.by_default);
        let places = jobs.filter_map(|(name, ..)| self.resources.iter().position(|known| known == name));
        // With more than 64 resources bits are shared, and a device with two rows may be refused.
        places.fold(0, |bits, account| bits | 1 << (account % 64))
    }
}

fn join(old: &mut Wanted, new: Wanted) {
    if !new.device.name.is_empty() {
        old.device.name = new.device.name;
    }
    old.device.jobs.extend(new.device.jobs);
    old.by_default.extend(new.by_default);
}

#[cfg(test)]
mod tests {
    use super::super::{Row, RowJob, check};
    use super::*;
    use crate::provider::Registry;

    fn wanted(provider: &Provider, id: &str, group: &str, resource: &str) -> Wanted {
        let job = RowJob { resource: Some(resource.to_owned()), ..RowJob::default() };
        let (external_id, group) = (id.to_owned(), group.to_owned());
        check(provider, "", Row { external_id, group, name: resource.to_owned(), jobs: vec![job] }).unwrap()
    }

    #[test]
    fn rows_of_a_device_are_merged_across_batches() {
        let registry = Registry::load(None).unwrap();
        let meadow = registry.get("meadow").unwrap();
        let mut merge = Merge::new(meadow);
        merge.put(1, wanted(meadow, "a", "", "state")).unwrap();
        merge.put(2, wanted(meadow, "b", "", "state")).unwrap();
        merge.put(3, wanted(meadow, "a", "", "energy")).unwrap();
        let batch = merge.take().unwrap();
        assert_eq!((batch.wanted.len(), batch.rows), (2, 3));
        assert_eq!((batch.wanted[0].device.jobs.len(), batch.wanted[0].device.name.as_str()), (2, "energy"));

        assert!(merge.put(4, wanted(meadow, "a", "", "state")).unwrap_err().contains("row 1"));
        assert!(merge.take().is_none());
        assert!(merge.put(5, wanted(meadow, "b", "home", "energy")).unwrap_err().contains("group"));
        merge.put(6, wanted(meadow, "b", "", "energy")).unwrap();
        assert_eq!((merge.take().unwrap().rows, merge.devices()), (1, 2));
    }
}

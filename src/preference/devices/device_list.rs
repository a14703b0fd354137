//! A provider's list of a connection's devices, and the ids that stored devices get by it.

use super::batch::Origin;
use crate::words::{DeviceId, ListedDevice, UnixMs};
use std::collections::{HashMap, HashSet};

/// A stored device of a connection.
#[derive(Debug, Clone)]
pub struct Known {
    /// The id.
    pub device: DeviceId,
    /// The provider's id of the device.
    pub external_id: String,
    /// Its label.
    pub name: String,
    /// Who gave it the label; none if it has none or that is not known.
    pub name_origin: Option<Origin>,
    /// Its group, such as a home.
    pub group: String,
    /// Its model.
    pub model: String,
    /// Whether it was absent from an earlier list.
    pub missing: bool,
    /// Whether it was added before the list was requested: a newer device may be absent from the list.
    pub older: bool,
}

/// A provider's complete list of a connection's devices.
#[derive(Debug, Clone, Copy)]
pub struct DeviceList<'a> {
    /// The devices, each once.
    pub devices: &'a [ListedDevice],
    /// What stands before the provider's own ids; empty for nothing.
    pub id_prefix: &'a str,
    /// When it was requested, by Postgres's clock.
    pub asked_at: UnixMs,
    /// It adds no more to a tenant that has so many devices.
    pub devices_max: u32,
}

impl DeviceList<'_> {
    /// The whole ids of listed devices, by the provider's own.
    pub(super) fn by_own_id(&self) -> HashMap<&str, &str> {
        let ids = self.devices.iter().map(|one| one.external_id.as_str());
        ids.filter_map(|id| Some((id.strip_prefix(self.id_prefix)?, id)))
            .filter(|(own, id)| own != id)
            .collect()
    }

    /// Gives devices that are stored by the provider's own ids their whole ids. Returns the devices.
    pub(super) fn complete_ids(&self, known: &mut [Known]) -> Vec<DeviceId> {
        let by_own_id = self.by_own_id();
        let taken: HashSet<_> = known.iter().map(|one| one.external_id.clone()).collect();
        let mut completed = Vec::new();
        for one in known {
            let whole = by_own_id.get(one.external_id.as_str()).filter(|whole| !taken.contains(**whole));
            if let Some(whole) = whole {
                one.external_id = (*whole).to_owned();
                completed.push(one.device);
            }
        }
        completed
    }
}

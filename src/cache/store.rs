//! Reading and writing the cache.

use crate::redis::{Keys, Redis, RedisError};
use crate::words::{DeviceId, TenantId};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The field that holds the device's metadata.
pub const META: &str = "_";

/// One field of a device: a resource's latest reading, or [`META`].
#[derive(Debug, Clone)]
pub struct Slot {
    /// The tenant.
    pub tenant: TenantId,
    /// The device.
    pub device: DeviceId,
    /// The field.
    pub field: String,
    /// A lower version never overwrites a higher one.
    pub version: i64,
    /// What it holds.
    pub json: String,
}

/// The cache of devices in Redis.
#[derive(Clone)]
pub struct Cache {
    redis: Redis,
    keys: Keys,
    put: Arc<redis::Script>,
    ttl_s: u64,
}

impl Cache {
    /// A device expires when it was not written for `ttl_s`.
    pub fn new(redis: Redis, keys: Keys, ttl_s: u64) -> Self {
        Self { redis, keys, put: Arc::new(redis::Script::new(include_str!("put.lua"))), ttl_s }
    }

    /// Writes slots in one round trip. A slot with a lower version than the stored one changes nothing. Returns the
    /// devices whose metadata is not there, so that nobody can read them.
    pub async fn put(&self, slots: &[Slot]) -> Result<Vec<DeviceId>, RedisError> {
        if slots.is_empty() {
            return Ok(Vec::new());
        }
        let failed = |source| RedisError::Failed { what: "write the cache", source };
        let mut by_device: BTreeMap<(TenantId, DeviceId), Vec<&Slot>> = BTreeMap::new();
        for slot in slots {
            by_device.entry((slot.tenant, slot.device)).or_default().push(slot);
        }
        let mut link = self.redis.link();
        // A pipelined EVALSHA has no NOSCRIPT fallback: on NOSCRIPT, load the script and try once more.
        for load in [false, true] {
            let mut pipe = redis::pipe();
            if load {
                pipe.load_script(&self.put).ignore();
            }
            for ((tenant, device), slots) in &by_device {
                let mut call = self.put.key(self.keys.device(*tenant, *device));
                call.arg(self.ttl_s);
                for slot in slots {
                    call.arg(&slot.field).arg(slot.version).arg(&slot.json);
                }
                pipe.invoke_script(&call);
            }
            match pipe.query_async::<Vec<bool>>(&mut link).await {
                Err(error) if !load && is_noscript(&error) => {}
                Err(error) => return Err(failed(error)),
                Ok(complete) => {
                    let lacking = by_device.keys().zip(complete).filter(|(_, is_complete)| !is_complete);
                    return Ok(lacking.map(|((_, device), _)| *device).collect());
                }
            }
        }
        Ok(Vec::new())
    }

    /// Deletes one field of each of these devices in one round trip; the next reader refills it from Postgres.
    pub async fn forget(
        &self,
        devices: impl IntoIterator<Item = (TenantId, DeviceId)>,
        field: &str,
    ) -> Result<(), RedisError> {
        let mut pipe = redis::pipe();
        for (tenant, device) in devices {
            pipe.hdel(self.keys.device(tenant, device), field).ignore();
        }
        self.write(pipe).await
    }

    /// Deletes all that is cached of these devices in one round trip.
    pub async fn delete(
        &self,
        devices: impl IntoIterator<Item = (TenantId, DeviceId)>,
    ) -> Result<(), RedisError> {
        let mut pipe = redis::pipe();
        for (tenant, device) in devices {
            pipe.unlink(self.keys.device(tenant, device)).ignore();
        }
        self.write(pipe).await
    }

    async fn write(&self, pipe: redis::Pipeline) -> Result<(), RedisError> {
        if pipe.is_empty() {
            return Ok(());
        }
        pipe.query_async::<()>(&mut self.redis.link())
            .await
            .map_err(|source| RedisError::Failed { what: "write the cache", source })
    }

    /// The fields of these devices, in the same order, in one round trip. Empty for a device that is not cached.
    pub async fn get(
        &self,
        tenant: TenantId,
        devices: &[DeviceId],
    ) -> Result<Vec<HashMap<String, String>>, RedisError> {
        if devices.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipe = redis::pipe();
        for device in devices {
            pipe.hgetall(self.keys.device(tenant, *device));
        }
        let found: Vec<HashMap<String, String>> = pipe
            .query_async(&mut self.redis.link())
            .await
            .map_err(|source| RedisError::Failed { what: "read the cache", source })?;
        Ok(found.into_iter().map(strip_versions).collect())
    }
}

/// `"<version> <json>"` → `"<json>"`.
fn strip_versions(fields: HashMap<String, String>) -> HashMap<String, String> {
    let strip = |(field, text): (String, String)| Some((field, text.split_once(' ')?.1.to_owned()));
    fields.into_iter().filter_map(strip).collect()
}

fn is_noscript(error: &redis::RedisError) -> bool {
    error.code() == Some("NOSCRIPT") || error.to_string().contains("NOSCRIPT")
}

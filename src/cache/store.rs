//! Reading and writing the cache.

use super::ended::Ended;
use crate::redis::{Keys, Redis, RedisError};
use crate::words::{DeviceId, TenantId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// The field that holds the device's metadata.
pub const META: &str = "_";
/// Stands for a field where a change is that the device is gone.
pub(super) const GONE: &str = "-";
/// Expiry of the key that says that somebody waits; it is renewed for as long as they do.
const AWAITED_FOR: Duration = Duration::from_secs(10);
/// The most changes that a tenant's stream keeps, about.
const KEPT: usize = 4_096;

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
    /// Whether it is told as a change.
    pub is_change: bool,
}

/// What came of storing slots.
#[derive(Debug, Default)]
pub struct Stored {
    /// Devices whose metadata is not there, so that nobody can read them.
    pub incomplete: Vec<DeviceId>,
    /// Of the tenants that were asked about: those with somebody who waits for the end of a refresh.
    pub awaited: Vec<TenantId>,
}

/// The cache of devices in Redis.
#[derive(Clone)]
pub struct Cache {
    pub(super) redis: Redis,
    pub(super) keys: Keys,
    pub(super) scripts: Arc<Scripts>,
    ttl_s: u64,
}

pub(super) struct Scripts {
    put: redis::Script,
    announce: redis::Script,
    pub(super) listen: redis::Script,
}

impl Cache {
    /// A device expires when it was not written for `ttl_s`.
    pub fn new(redis: Redis, keys: Keys, ttl_s: u64) -> Self {
        let scripts = Scripts {
            put: redis::Script::new(include_str!("put.lua")),
            announce: redis::Script::new(include_str!("announce.lua")),
            listen: redis::Script::new(include_str!("listen.lua")),
        };
        Self { redis, keys, scripts: Arc::new(scripts), ttl_s }
    }

    /// Writes slots in one round trip. A slot with a lower version than the stored one changes nothing. Returns the
    /// devices whose metadata is not there, so that nobody can read them.
    pub async fn put(&self, slots: &[Slot]) -> Result<Vec<DeviceId>, RedisError> {
        Ok(self.put_and_ask(slots, &BTreeSet::new()).await?.incomplete)
    }

    /// Likewise; the same round trip finds out for which of these tenants somebody waits for the end of a refresh.
    pub async fn put_and_ask(
        &self,
        slots: &[Slot],
        tenants: &BTreeSet<TenantId>,
    ) -> Result<Stored, RedisError> {
        if slots.is_empty() && tenants.is_empty() {
            return Ok(Stored::default());
        }
        let mut by_device: BTreeMap<(TenantId, DeviceId), Vec<&Slot>> = BTreeMap::new();
        for slot in slots {
            by_device.entry((slot.tenant, slot.device)).or_default().push(slot);
        }
        let changes = slots.iter().filter(|slot| slot.is_change);
        let changes = changes.map(|slot| (slot.tenant, slot.device, slot.field.as_str()));
        let changes = self.announcements(changes);
        let mut answers: Vec<i64> = self
            .run(|pipe| {
                for ((tenant, device), slots) in &by_device {
                    let mut call = self.scripts.put.key(self.keys.device(*tenant, *device));
                    call.arg(self.ttl_s);
                    for slot in slots {
                        call.arg(&slot.field).arg(slot.version).arg(&slot.json);
                    }
                    pipe.invoke_script(&call);
                }
                // After what they are about, so that whoever is told reads the new.
                changes.iter().for_each(|call| {
                    pipe.invoke_script(call).ignore();
                });
                tenants.iter().for_each(|tenant| {
                    pipe.exists(self.keys.awaited(*tenant));
                });
            })
            .await?;
        let asked = answers.split_off(by_device.len());
        let lacking = by_device.keys().zip(answers).filter(|(_, is_complete)| *is_complete == 0);
        let awaited = tenants.iter().zip(asked).filter(|(_, is_awaited)| *is_awaited != 0);
        Ok(Stored {
            incomplete: lacking.map(|((_, device), _)| *device).collect(),
            awaited: awaited.map(|(tenant, _)| *tenant).collect(),
        })
    }

    /// Makes workers publish the ends of the tenant's calls for the next ten seconds.
    pub async fn note_awaited(&self, tenant: TenantId) -> Result<(), RedisError> {
        let mut set = redis::cmd("SET");
        set.arg(self.keys.awaited(tenant)).arg("").arg("PX").arg(AWAITED_FOR.as_millis() as u64);
        let noted: Result<(), _> = set.query_async(&mut self.redis.link()).await;
        noted.map_err(|source| RedisError::Failed { what: "note that a refresh is awaited", source })
    }

    /// Publishes that calls for these devices have ended, successfully or not.
    pub async fn publish_ended(&self, ended: &BTreeSet<(TenantId, DeviceId)>) -> Result<(), RedisError> {
        let mut pipe = redis::pipe();
        for (tenant, device) in ended {
            pipe.publish(self.keys.changes(*tenant), Ended { device: *device }.to_string()).ignore();
        }
        let published: Result<(), _> = pipe.query_async(&mut self.redis.link()).await;
        published.map_err(|source| RedisError::Failed { what: "publish that calls have ended", source })
    }

    /// Script calls that tell these changes: one for each tenant.
    fn announcements<'a>(
        &self,
        changes: impl Iterator<Item = (TenantId, DeviceId, &'a str)>,
    ) -> Vec<redis::ScriptInvocation<'_>> {
        let mut by_tenant: BTreeMap<TenantId, redis::ScriptInvocation<'_>> = BTreeMap::new();
        for (tenant, device, field) in changes {
            let call = by_tenant.entry(tenant).or_insert_with(|| {
                let mut call = self.scripts.announce.key(self.keys.changes(tenant));
                call.arg(KEPT);
                call
            });
            call.arg(device.0).arg(field);
        }
        by_tenant.into_values().collect()
    }

    /// Runs a pipeline that may be repeated. A pipelined EVALSHA has no NOSCRIPT fallback: on NOSCRIPT, the scripts are
    /// loaded and it runs once more.
    async fn run<T: redis::FromRedisValue>(
        &self,
        fill: impl Fn(&mut redis::Pipeline),
    ) -> Result<Vec<T>, RedisError> {
        let mut load = false;
        loop {
            let mut pipe = redis::pipe();
            if load {
                pipe.load_script(&self.scripts.put).ignore();
                pipe.load_script(&self.scripts.announce).ignore();
            }
            fill(&mut pipe);
            match pipe.query_async(&mut self.redis.link()).await {
                Err(error) if !load && is_noscript(&error) => load = true,
                answer => {
                    return answer.map_err(|source| RedisError::Failed { what: "write the cache", source });
                }
            }
        }
    }

    /// Deletes the metadata of each of these devices in one round trip, and tells that they changed; the next reader
    /// refills it from Postgres.
    pub async fn forget(
        &self,
        devices: impl IntoIterator<Item = (TenantId, DeviceId)>,
    ) -> Result<(), RedisError> {
        self.change(devices, META, |pipe, key| {
            pipe.hdel(key, META).ignore();
        })
        .await
    }

    /// Deletes all that is cached of these devices in one round trip, and tells that they are gone.
    pub async fn delete(
        &self,
        devices: impl IntoIterator<Item = (TenantId, DeviceId)>,
    ) -> Result<(), RedisError> {
        self.change(devices, GONE, |pipe, key| {
            pipe.unlink(key).ignore();
        })
        .await
    }

    async fn change(
        &self,
        devices: impl IntoIterator<Item = (TenantId, DeviceId)>,
        field: &str,
        write: impl Fn(&mut redis::Pipeline, String),
    ) -> Result<(), RedisError> {
        let devices: Vec<_> = devices.into_iter().collect();
        if devices.is_empty() {
            return Ok(());
        }
        let changes = self.announcements(devices.iter().map(|(tenant, device)| (*tenant, *device, field)));
        let fill = |pipe: &mut redis::Pipeline| {
            devices.iter().for_each(|(tenant, device)| write(pipe, self.keys.device(*tenant, *device)));
            changes.iter().for_each(|call| {
                pipe.invoke_script(call).ignore();
            });
        };
        self.run::<()>(fill).await.map(drop)
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

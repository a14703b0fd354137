//! The quota inputs of connections in the schedule.

use super::Queue;
use super::queue::now_arg;
use crate::redis::RedisError;
use crate::words::{ConnectionId, ProviderName, QuotaInputs, UnixMs};

/// A connection's quota inputs, as they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaInputsUpdate {
    /// The connection.
    pub connection: ConnectionId,
    /// Its quota inputs.
    pub inputs: QuotaInputs,
    /// When, µs since the epoch: an older reading never overwrites a newer.
    pub read_at_us: i64,
}

/// The most connections in one script call.
const BATCH: usize = 500;

impl Queue {
    /// Makes the schedule know the quota inputs of these connections of one provider. `overwrite`: even newer ones,
    /// for repair.
    pub async fn put_quota_inputs(
        &self,
        provider: &ProviderName,
        updates: &[QuotaInputsUpdate],
        overwrite: bool,
        now: Option<UnixMs>,
    ) -> Result<(), RedisError> {
        let (now, overwrite) = (now_arg(now), if overwrite { "1" } else { "" });
        let script = &self.scripts.put_quota_inputs;
        for batch in updates.chunks(BATCH) {
            let row = |of: &QuotaInputsUpdate| {
                (of.connection.to_string(), of.inputs.plan.clone(), of.inputs.devices, of.read_at_us)
            };
            let packed = script.pack(&batch.iter().map(row).collect::<Vec<_>>())?;
            let args = [now.as_bytes(), overwrite.as_bytes(), &packed];
            script.run::<i64>(&self.redis, &self.keys.anchor(provider), &args).await?;
        }
        Ok(())
    }

    /// The quota inputs that the schedule has of these connections, in their order; none for one it does not know.
    pub async fn quota_inputs(
        &self,
        provider: &ProviderName,
        connections: &[ConnectionId],
    ) -> Result<Vec<Option<QuotaInputs>>, RedisError> {
        let mut found = Vec::with_capacity(connections.len());
        for batch in connections.chunks(BATCH) {
            let ids: Vec<_> = batch.iter().map(ToString::to_string).collect();
            let args: Vec<_> = ids.iter().map(|id| id.as_bytes()).collect();
            let anchor = self.keys.anchor(provider);
            let stored: Vec<(i64, String)> =
                self.scripts.get_quota_inputs.ask(&self.redis, &anchor, &args).await?;
            found.extend(stored.into_iter().map(|(devices, plan)| {
                u32::try_from(devices).ok().map(|devices| QuotaInputs { plan, devices })
            }));
        }
        Ok(found)
    }
}

//! Telling the schedule what the limits of connections depend on.

use super::Queue;
use super::queue::now_arg;
use crate::redis::RedisError;
use crate::words::{ConnectionId, ProviderName, QuotaInputs, UnixMs};

/// A connection's terms, as they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaInputsUpdate {
    /// Whose.
    pub connection: ConnectionId,
    /// Its terms.
    pub terms: QuotaInputs,
    /// When, µs since the epoch: an older reading never overwrites a newer.
    pub read_at_us: i64,
}

/// The most connections in one script call.
const BATCH: usize = 500;

impl Queue {
    /// Makes the schedule know the terms of these connections of one provider. `believe`:
    /// whatever it knows, for repair.
    pub async fn put_quota_inputs(
        &self,
        provider: &ProviderName,
        told: &[QuotaInputsUpdate],
        believe: bool,
        now: Option<UnixMs>,
    ) -> Result<(), RedisError> {
        let (now, believe) = (now_arg(now), if believe { "1" } else { "" });
        let script = &self.scripts.terms;
        for batch in told.chunks(BATCH) {
            let row = |told: &QuotaInputsUpdate| {
                (told.connection.to_string(), told.terms.plan.clone(), told.terms.devices, told.read_at_us)
            };
            let packed = script.pack(&batch.iter().map(row).collect::<Vec<_>>())?;
            let args = [now.as_bytes(), believe.as_bytes(), &packed];
            script.run::<i64>(&self.redis, &self.keys.anchor(provider), &args).await?;
        }
        Ok(())
    }

    /// What the schedule knows of these connections' terms, in their order; none of one that it has not heard of.
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
            let kept: Vec<(i64, String)> = self.scripts.inputs_of.ask(&self.redis, &anchor, &args).await?;
            found.extend(kept.into_iter().map(|(devices, plan)| {
                u32::try_from(devices).ok().map(|devices| QuotaInputs { plan, devices })
            }));
        }
        Ok(found)
    }
}

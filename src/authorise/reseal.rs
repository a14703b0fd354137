//! Seals everything again under the current key, row by row. Until a row's turn, a former key opens it; a row that a
//! pass missed is left for the next pass.

use crate::app::App;
use crate::postgres::PostgresError;
use crate::preference::webhooks;
use crate::token::{self, CanaryError};
use crate::words::{ConnectionId, WebhookId};
use std::collections::BTreeSet;

/// Passes over all rows: one that changes during a pass is sealed by the next.
const PASSES: u32 = 5;

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Resealed {
    /// How many values were sealed again: secrets, tokens, pending authorisations and webhooks count one by
    /// one.
    pub sealed: u64,
    /// Connections with a value that no key opens.
    pub unopenable: BTreeSet<i64>,
    /// Webhooks whose secrets no key opens.
    pub unopenable_webhooks: BTreeSet<i64>,
    /// Values that changed during every pass.
    pub left: u64,
}

/// Seals everything again. `progress` is given the number of values sealed so far.
pub async fn reseal(app: &App, mut progress: impl FnMut(u64)) -> Result<Resealed, CanaryError> {
    let (pool, sealer) = (&app.pool, &app.sealer);
    let (mark, mut all) = (sealer.current_prefix(), Resealed::default());
    token::delete_expired(pool, app.clock.now()).await?;
    for _ in 0..PASSES {
        (all.left, all.unopenable, all.unopenable_webhooks) = (0, BTreeSet::new(), BTreeSet::new());
        let mut after = ConnectionId(0);
        loop {
            let (found, last) = token::sealed_by_other_keys(pool, &mark, after).await?;
            for value in found {
                match sealer.reseal(value.context, &value.sealed) {
                    Ok(sealed) if token::replace(pool, &value, &sealed).await? => all.sealed += 1,
                    Ok(_) => all.left += 1,
                    Err(_) => drop(all.unopenable.insert(value.context.owner().0)),
                }
            }
            progress(all.sealed);
            match last {
                Some(last) => after = last,
                None => break,
            }
        }
        reseal_webhooks(app, &mark, &mut all).await?;
        progress(all.sealed);
        if all.left == 0 {
            // Last: until then a process that has the former key only is right to start.
            token::reseal_canary(pool, sealer).await?;
            break;
        }
    }
    Ok(all)
}

async fn reseal_webhooks(app: &App, mark: &[u8], all: &mut Resealed) -> Result<(), PostgresError> {
    let mut after = WebhookId(0);
    loop {
        let found = webhooks::sealed_by_other_keys(&app.pool, mark, after).await?;
        let Some(last) = found.last() else { return Ok(()) };
        after = last.id;
        for value in &found {
            let opened = app.sealer.open_signing(value.id, &value.sealed);
            match opened.and_then(|secrets| app.sealer.seal_signing(value.id, &secrets)) {
                Ok(sealed) if webhooks::replace(&app.pool, value, &sealed).await? => all.sealed += 1,
                Ok(_) => all.left += 1,
                Err(_) => drop(all.unopenable_webhooks.insert(value.id.0)),
            }
        }
    }
}

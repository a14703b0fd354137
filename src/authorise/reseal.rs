//! Sealing everything again under the current key. What one pass does not get to, another does: each row is replaced by
//! itself, and until then a former key opens it.

use crate::app::App;
use crate::postgres::PostgresError;
use crate::token;
use crate::words::ConnectionId;
use std::collections::BTreeSet;

/// Passes over all rows: one that changes while it is looked at is looked at again.
const PASSES: u32 = 5;

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Resealed {
    /// Sealed again, secrets, tokens and owners' ways back each by itself.
    pub sealed: u64,
    /// Connections of which something no key opens.
    pub unopenable: BTreeSet<i64>,
    /// Rows that changed whenever they were looked at.
    pub left: u64,
}

/// Does it. `progress` is told how many are done by then.
pub async fn reseal(app: &App, mut progress: impl FnMut(u64)) -> Result<Resealed, PostgresError> {
    let (pool, sealer) = (&app.pool, &app.sealer);
    let (mark, mut all) = (sealer.current_prefix(), Resealed::default());
    token::forget_late(pool, app.clock.now()).await?;
    for _ in 0..PASSES {
        (all.left, all.unopenable) = (0, BTreeSet::new());
        let mut after = ConnectionId(0);
        loop {
            let (found, last) = token::others(pool, &mark, after).await?;
            for lying in found {
                match sealer.reseal(lying.place, &lying.sealed) {
                    Ok(sealed) if token::replace(pool, &lying, &sealed).await? => all.sealed += 1,
                    Ok(_) => all.left += 1,
                    Err(_) => drop(all.unopenable.insert(lying.place.owner().0)),
                }
            }
            progress(all.sealed);
            match last {
                Some(last) => after = last,
                None => break,
            }
        }
        if all.left == 0 {
            break;
        }
    }
    Ok(all)
}

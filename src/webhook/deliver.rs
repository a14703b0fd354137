//! Delivers to one webhook: batch after batch, until nothing is left or an attempt fails.

use super::batch::{self, Batch, Progress, compose, stream_filter};
use super::decide::{Failed, Standing, Verdict, decide};
use super::error::WebhookError;
use super::look::Due;
use super::sign;
use crate::app::App;
use crate::fetch::{NoReceipt, Push, Receipt};
use crate::live::Filter;
use crate::preference::webhooks::deliveries::{self, Claimed, Failure, Pending};
use crate::words::{SigningSecrets, UnixMs};
use std::time::Duration;

/// A claim expires after this; it is renewed with each batch. Longer than a batch takes.
const LEASE_MS: i64 = 60_000;
/// After so many batches in a row, other webhooks have their turn.
const BATCHES_MAX: usize = 20;
/// The longest error that is stored, characters.
const ERROR_CHARS_MAX: usize = 200;

/// Delivers to a webhook, if no other process does.
pub async fn deliver(app: &App, due: &Due) -> Result<(), WebhookError> {
    let now = app.clock.now();
    let claimed = deliveries::claim(&app.pool, due.tenant, due.id, now, now.plus_ms(LEASE_MS)).await?;
    let Some(claimed) = claimed else { return Ok(()) };
    let ended = deliver_claimed(app, &claimed).await;
    if ended.is_err()
        && let Err(error) = deliveries::release(&app.pool, &claimed).await
    {
        tracing::debug!(%error, webhook = claimed.id.0, "claim not ended; it expires");
    }
    ended
}

async fn deliver_claimed(app: &App, claimed: &Claimed) -> Result<(), WebhookError> {
    let secrets = match &claimed.secrets_sealed {
        Some(sealed) => app.sealer.open_signing(claimed.id, sealed),
        None => Err(crate::seal::SealError::UnopenableWebhook(claimed.id)),
    };
    let secrets = match secrets {
        Ok(secrets) => secrets,
        // The operator's to mend: tried again as if nobody had answered.
        Err(error) => {
            tracing::error!(webhook = claimed.id.0, %error, "webhook not delivered to");
            let why = NoReceipt("its secret cannot be read; rotate it, or ask the operator".to_owned());
            let standing = standing(claimed, &Session::default());
            return note(app, claimed, standing, &Err(why)).await.map(drop);
        }
    };
    let filter = stream_filter(app, claimed.tenant, &claimed.filter).await?;
    let delivery = Delivery { app, claimed, secrets, filter };
    let mut session = Session { batch: claimed.batch, progress: Progress::of(claimed), delivered: false };
    for _ in 0..BATCHES_MAX {
        if !delivery.step(&mut session).await? {
            return Ok(());
        }
    }
    Ok(deliveries::release(&app.pool, claimed).await?)
}

/// One claim's delivery.
struct Delivery<'a> {
    app: &'a App,
    claimed: &'a Claimed,
    secrets: SigningSecrets,
    filter: Filter,
}

/// How far it is.
struct Session {
    batch: i64,
    progress: Progress,
    /// Whether something was delivered, so that what failed before is over.
    delivered: bool,
}

impl Default for Session {
    fn default() -> Self {
        Self { batch: 0, progress: Progress { cursor: None, pending: None }, delivered: false }
    }
}

impl Delivery<'_> {
    /// Delivers the next batch. Returns whether to go on; if not, the claim has ended.
    async fn step(&self, session: &mut Session) -> Result<bool, WebhookError> {
        let (app, claimed) = (self.app, self.claimed);
        let Some(batch) = compose(app, claimed.tenant, &self.filter, &session.progress).await? else {
            deliveries::release(&app.pool, claimed).await?;
            return Ok(false);
        };
        if batch.events.is_empty() && !batch.resync {
            return self.advance(session, &batch, None).await;
        }
        let is_begun = session.progress.pending == Some((batch.until, batch.resync));
        if !is_begun {
            session.batch += 1;
        }
        let pending = Pending { until: batch.until.to_string(), resync: batch.resync };
        let lease = app.clock.now().plus_ms(LEASE_MS);
        if !deliveries::begin(&app.pool, claimed, session.batch, &pending, lease).await? {
            return Ok(false);
        }
        let id = format!("msg_{}_{}", claimed.id, session.batch);
        let answer = post(app, &claimed.url, &self.secrets, &id, batch::body(&batch)).await?;
        match note(app, claimed, standing(claimed, session), &answer).await? {
            Some((at, status)) => self.advance(session, &batch, Some((at, status))).await,
            None => Ok(false),
        }
    }

    /// Goes on after a batch.
    async fn advance(
        &self,
        session: &mut Session,
        batch: &Batch,
        delivered: Option<(UnixMs, u16)>,
    ) -> Result<bool, WebhookError> {
        let cursor = batch.until.to_string();
        let kept = deliveries::advance(&self.app.pool, self.claimed, &cursor, delivered, !batch.more).await?;
        session.progress = Progress { cursor: Some(batch.until), pending: None };
        session.delivered = true;
        Ok(kept && batch.more)
    }
}

fn standing(claimed: &Claimed, session: &Session) -> Standing {
    match session.delivered {
        true => Standing { attempts: 0, failing_since: None },
        false => Standing { attempts: claimed.attempts, failing_since: claimed.failing_since },
    }
}

/// Posts a body, signed.
pub(super) async fn post(
    app: &App,
    url: &str,
    secrets: &SigningSecrets,
    id: &str,
    body: String,
) -> Result<Result<Receipt, NoReceipt>, WebhookError> {
    let now = app.clock.now();
    let headers = sign::headers(secrets, id, now, &body);
    Ok(app.pusher().map_err(WebhookError::Client)?.post(Push { url, headers, body }, now).await)
}

/// Notes what an attempt came to, unless it was delivered: then when, and with which status.
async fn note(
    app: &App,
    claimed: &Claimed,
    before: Standing,
    answer: &Result<Receipt, NoReceipt>,
) -> Result<Option<(UnixMs, u16)>, WebhookError> {
    let now = app.clock.now();
    let disable_after = Duration::from_millis(app.settings.webhooks.disable_after.as_ms());
    let (webhook, tenant) = (claimed.id.0, claimed.tenant.0);
    let verdict = decide(before, answer, now, disable_after, &mut rand::rng());
    match verdict {
        Verdict::Delivered(status) => return Ok(Some((now, status))),
        Verdict::Retry(failed, at) => {
            tracing::debug!(webhook, tenant, error = failed.error, %at, "webhook not delivered to");
            let error = short(&failed.error);
            deliveries::retry(&app.pool, claimed, &failure(&failed, &error), at).await?;
        }
        Verdict::Disable(failed, reason) => {
            tracing::info!(webhook, tenant, reason, "webhook disabled");
            let (error, reason) = (short(&failed.error), short(&reason));
            deliveries::disable(&app.pool, claimed, &failure(&failed, &error), now, &reason).await?;
        }
    }
    Ok(None)
}

fn failure<'a>(failed: &Failed, error: &'a str) -> Failure<'a> {
    Failure { attempts: failed.attempts, since: failed.since, status: failed.status, error }
}

/// As long as it is stored, and without what Postgres and terminals do not take.
fn short(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(ERROR_CHARS_MAX).collect()
}

//! What a tenant does with its webhooks.

use super::batch::test_body;
use super::decide::failure_text;
use super::deliver::post;
use super::error::WebhookError;
use super::sign;
use crate::app::App;
use crate::cache::ChangeId;
use crate::fetch::{AddressRefusal, check_push_url};
use crate::preference::webhooks::{self, NewWebhook, StoredWebhook, WebhookChange, WebhookFilter};
use crate::provider::LookupError;
use crate::words::text::{self, excerpt};
use crate::words::{TenantId, UnixMs, WebhookId};
use chrono::DateTime;
use secrecy::SecretString;
use std::time::Duration;

/// How long a former secret still signs.
const FORMER_MS: i64 = 24 * 60 * 60 * 1000;
/// The longest address, bytes.
const URL_BYTES_MAX: usize = 2_000;
/// Devices that a filter may name.
const DEVICES_MAX: usize = 500;

/// What a receiver said to a test.
#[derive(Debug, Clone)]
pub struct Tested {
    /// The response's status, if there was one.
    pub status: Option<u16>,
    /// How long it took, if there was one.
    pub took: Option<Duration>,
    /// Why it does not count as delivered, if it does not.
    pub error: Option<String>,
}

/// From when a webhook is delivered to again.
#[derive(Debug, Clone, Copy)]
pub struct Replay {
    /// Changes after this one are delivered.
    pub after: ChangeId,
    /// Whether changes from before it, that were asked for, are not kept any more.
    pub cut: bool,
}

/// Adds a webhook. It is sent what changes from now on. Returns its secret, which cannot be read again.
pub async fn create(
    app: &App,
    tenant: TenantId,
    label: &str,
    url: &str,
    filter: WebhookFilter,
) -> Result<(StoredWebhook, SecretString), WebhookError> {
    check_url(app, url)?;
    check_filter(app, &filter)?;
    let label = text::name("label", label)?.to_owned();
    let secret = sign::new_secret()?;
    // If Redis is away, it begins when it is first looked at.
    let cursor = app.cache.changes(tenant, None, 0).await.ok().map(|changes| changes.newest.to_string());
    let new = NewWebhook { label, url: url.to_owned(), filter, cursor };
    let max = app.settings.webhooks.tenant_max;
    let id = webhooks::add(&app.pool, &app.sealer, tenant, new, &secret, app.clock.now(), max).await?;
    Ok((webhooks::find(&app.pool, tenant, id).await?, secret))
}

/// Changes a webhook.
pub async fn change(
    app: &App,
    tenant: TenantId,
    id: WebhookId,
    mut change: WebhookChange,
) -> Result<StoredWebhook, WebhookError> {
    if let WebhookChange { label: None, url: None, filter: None, enabled: None } = change {
        let nothing = "the body changes nothing; give at least one of label, url, filter and enabled";
        return Err(WebhookError::Refused(nothing.to_owned()));
    }
    if let Some(url) = &change.url {
        check_url(app, url)?;
    }
    if let Some(filter) = &change.filter {
        check_filter(app, filter)?;
    }
    if let Some(label) = &mut change.label {
        *label = text::name("label", label)?.to_owned();
    }
    webhooks::change(&app.pool, tenant, id, change, app.clock.now()).await?;
    Ok(webhooks::find(&app.pool, tenant, id).await?)
}

/// Gives a webhook a new secret, which is returned and cannot be read again. The former one signs for another day.
pub async fn rotate(
    app: &App,
    tenant: TenantId,
    id: WebhookId,
) -> Result<(SecretString, UnixMs), WebhookError> {
    let (secret, now) = (sign::new_secret()?, app.clock.now());
    let until = now.plus_ms(FORMER_MS);
    webhooks::rotate(&app.pool, &app.sealer, tenant, id, &secret, (now, until)).await?;
    Ok((secret, until))
}

/// Posts a test event now.
pub async fn send_test(app: &App, tenant: TenantId, id: WebhookId) -> Result<Tested, WebhookError> {
    let found = webhooks::find(&app.pool, tenant, id).await?;
    let secrets = webhooks::secrets(&app.pool, &app.sealer, tenant, id).await?;
    let now = app.clock.now();
    let answer = post(app, &found.url, &secrets, &format!("msg_{id}_test{}", now.0), test_body(now)).await?;
    Ok(match answer {
        Ok(receipt) => Tested {
            status: Some(receipt.status),
            took: Some(receipt.took),
            error: (!(200..300).contains(&receipt.status)).then(|| failure_text(receipt.status)),
        },
        Err(error) => Tested { status: None, took: None, error: Some(error.to_string()) },
    })
}

/// Sets a webhook back to an instant (RFC 3339) or to a change, as far as changes are kept.
pub async fn replay(app: &App, tenant: TenantId, id: WebhookId, since: &str) -> Result<Replay, WebhookError> {
    let asked = since.parse().ok().or_else(|| {
        let at = DateTime::parse_from_rfc3339(since).ok()?;
        Some(ChangeId::before(UnixMs(at.timestamp_millis())))
    });
    let asked: ChangeId = asked.ok_or_else(|| {
        WebhookError::Refused(format!(
            "since is {:?}; give an instant as in 2026-01-31T12:00:00Z, or the id of an event",
            excerpt(since)
        ))
    })?;
    let found = webhooks::find(&app.pool, tenant, id).await?;
    let newest = app.cache.changes(tenant, None, 0).await?.newest;
    let oldest = app.cache.oldest_change(tenant).await?.unwrap_or(newest);
    // Forward would leave out what is not delivered yet.
    let latest = found.cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(newest).min(newest);
    let after = asked.max(oldest).min(latest.max(oldest));
    webhooks::rewind(&app.pool, tenant, id, &after.to_string()).await?;
    Ok(Replay { after, cut: asked < oldest })
}

fn check_url(app: &App, url: &str) -> Result<(), WebhookError> {
    if url.len() > URL_BYTES_MAX {
        return Err(WebhookError::Refused(format!("the url is longer than {URL_BYTES_MAX} bytes")));
    }
    let refused = |why: AddressRefusal| WebhookError::Refused(why.to_string());
    check_push_url(url, app.push_reach()).map_err(refused)
}

fn check_filter(app: &App, filter: &WebhookFilter) -> Result<(), WebhookError> {
    if let Some(devices) = filter.devices.as_ref().filter(|devices| devices.len() > DEVICES_MAX) {
        let asked = devices.len();
        return Err(WebhookError::Refused(format!(
            "filter.devices names {asked} devices; name at most {DEVICES_MAX}, or leave it out for all"
        )));
    }
    if let Some(provider) = &filter.provider {
        let refused = |why: LookupError| WebhookError::Refused(why.to_string());
        app.registry.find(provider).map_err(refused)?;
    }
    if let Some(group) = &filter.group {
        text::name("filter.group", group)?;
    }
    Ok(())
}

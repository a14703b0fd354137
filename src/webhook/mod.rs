//! Webhooks: posts the changes of a tenant's devices to the addresses that it asked for, at least once and in order.
//!
//! A delivery is a batch of changes, read from the tenant's stream in Redis after the last one that was delivered.
//! Where a batch ends is written down before it is sent, so that a retry sends the same one under the same id,
//! whichever process makes it.

mod batch;
mod decide;
mod deliver;
mod error;
mod look;
mod manage;
mod run;
mod sign;

pub use deliver::deliver;
pub use error::WebhookError;
pub use look::{Due, look};
pub use manage::{Replay, Tested, change, create, replay, rotate, send_test};
pub use run::run;

pub use crate::preference::webhooks::{StoredWebhook, WebhookChange, WebhookFilter};

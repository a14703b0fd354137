//! Posts to addresses that users give. No quota counts them. They are bounded in time and bytes, redirects are not
//! followed, and a guard decides where they may go.

use super::answer::wait::retry_after_ms;
use super::wire::{AddressRefusal, OpenGuard, Reach, error_text};
use crate::words::UnixMs;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Response, Url, redirect, retry};
use std::error::Error;
use std::time::Duration;
use tokio::time::{Instant, timeout};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// From connecting to the response's status.
const TIMEOUT: Duration = Duration::from_secs(15);
/// A short response is read to its end, so that the connection can be used again: so much, and for so long.
const BODY_BYTES_MAX: usize = 16 << 10;
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// Posts JSON to addresses that users give.
pub struct Pusher {
    client: Client,
    guard: OpenGuard,
}

/// What to post.
#[derive(Debug)]
pub struct Push<'a> {
    /// To which address.
    pub url: &'a str,
    /// Further headers.
    pub headers: [(&'static str, String); 3],
    /// JSON.
    pub body: String,
}

/// A response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Its status.
    pub status: u16,
    /// How long it asks to wait, ms.
    pub retry_after_ms: Option<i64>,
    /// From the request to the status.
    pub took: Duration,
}

/// Why there is no response: for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoReceipt(pub String);

/// Checks an address before it is stored. What its name resolves to is checked at each post.
pub fn check_push_url(url: &str, reach: Reach) -> Result<(), AddressRefusal> {
    let url = Url::parse(url).map_err(|_| AddressRefusal::Unreadable)?;
    OpenGuard::new(reach).check(&url)
}

impl Pusher {
    /// Posts as far as `reach`.
    pub fn new(reach: Reach) -> Result<Self, String> {
        let guard = OpenGuard::new(reach);
        let client = Client::builder()
            .user_agent(concat!("Paceline/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            // A proxy would resolve names itself, past the guard.
            .no_proxy()
            .dns_resolver(guard.clone())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(2)
            .tcp_nodelay(true)
            .build()
            .map_err(|error| format!("cannot build the HTTP client: {error}"))?;
        Ok(Self { client, guard })
    }

    /// Posts once.
    pub async fn post(&self, push: Push<'_>, now: UnixMs) -> Result<Receipt, NoReceipt> {
        let refused = |refusal: AddressRefusal| NoReceipt(refusal.to_string());
        let url = Url::parse(push.url).map_err(|_| refused(AddressRefusal::Unreadable))?;
        self.guard.check(&url).map_err(refused)?;
        let request = self.client.post(url).header(CONTENT_TYPE, "application/json").body(push.body);
        let request = push.headers.into_iter().fold(request, |it, (name, value)| it.header(name, value));
        let sent = Instant::now();
        let response = match timeout(TIMEOUT, request.send()).await {
            Err(_) => return Err(NoReceipt(format!("no response within {} s", TIMEOUT.as_secs()))),
            Ok(Err(error)) => return Err(no_receipt(error)),
            Ok(Ok(response)) => response,
        };
        let receipt = Receipt {
            status: response.status().as_u16(),
            retry_after_ms: retry_after_ms(response.headers(), now),
            took: sent.elapsed(),
        };
        drop(timeout(BODY_TIMEOUT, read_short(response)).await);
        Ok(receipt)
    }
}

/// Reads a body to its end, or until it is too long.
async fn read_short(mut response: Response) {
    let mut read = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        read += chunk.len();
        if read > BODY_BYTES_MAX {
            return;
        }
    }
}

fn no_receipt(error: reqwest::Error) -> NoReceipt {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(refusal) = cause.downcast_ref::<AddressRefusal>() {
            return NoReceipt(refusal.to_string());
        }
        source = cause.source();
    }
    NoReceipt(error_text(error))
}

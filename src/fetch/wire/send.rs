//! What carries a request to the cloud and its answer back: the network, or the script of a case. All else of a call
//! is the same for both, so that a case proves what a real call does.
//!
//! The network is a provider's HTTP client: guarded, and bounded in time and bytes. What was granted is sent once: no
//! redirect is followed and nothing is sent again, since the provider would count what the quotas did not.

use super::body::{self, Body, Flaw};
use super::egress_guard::{EgressGuard, Reach, Refusal};
use super::error_text::told;
use crate::provider::Provider;
use reqwest::header::HeaderMap;
use reqwest::{Client, Request, Url, redirect, retry};
use std::collections::VecDeque;
use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Of one answer. All of them together never pass 400 KiB, which is what the client's buffer holds.
const HEADERS_MAX: usize = 100;
const HEADER_BYTES_MAX: u32 = 64 << 10;

/// The way to a cloud.
pub(crate) enum Wire {
    /// The network.
    Network(Network),
    /// What a case says the cloud answers.
    Script(Mutex<Script>),
}

/// Answers in their order, and the requests they were given to.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) answers: VecDeque<Reply>,
    pub(crate) asked: Vec<Request>,
}

impl Wire {
    /// Whether the definition lets calls go there, as far as the URL tells.
    pub(crate) fn lets(&self, url: &Url) -> bool {
        match self {
            Self::Network(network) => network.guard.check(url).is_ok(),
            Self::Script(_) => true,
        }
    }

    /// Over the network.
    pub(crate) fn new(provider: &Provider, reach: Reach) -> Result<Self, String> {
        Network::new(provider, reach).map(Self::Network)
    }

    /// Sends it once, and brings the answer.
    pub(crate) async fn carry(&self, request: Request) -> Result<Reply, Silence> {
        match self {
            Self::Network(network) => network.send(request).await,
            Self::Script(script) => {
                let mut script = script.lock().unwrap_or_else(PoisonError::into_inner);
                let reply = script.answers.pop_front();
                let reply = reply.map(|reply| Reply { url: request.url().clone(), ..reply });
                script.asked.push(request);
                reply.ok_or_else(|| Silence::Lost("the case has no answer to this request".to_owned()))
            }
        }
    }

    /// The requests that a script was asked, in their order.
    pub(crate) fn asked(&self) -> Vec<Request> {
        match self {
            Self::Network(_) => Vec::new(),
            Self::Script(script) => {
                std::mem::take(&mut script.lock().unwrap_or_else(PoisonError::into_inner).asked)
            }
        }
    }
}

/// What speaks to one provider's cloud.
pub(crate) struct Network {
    client: Client,
    guard: EgressGuard,
    body_bytes_max: usize,
}

/// What came back: status, headers, body.
pub(crate) struct Reply {
    pub(crate) url: Url,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    /// From the request to the body's last byte; nothing in a script.
    pub(crate) took: Duration,
}

/// Why nothing came back.
pub(crate) enum Silence {
    /// It was not sent: it cannot be made, or would have gone where it must not.
    Unsent(String),
    /// Nobody knows whether it arrived.
    Lost(String),
}

impl Network {
    fn new(provider: &Provider, reach: Reach) -> Result<Self, String> {
        let http = &provider.definition.http;
        let guard = EgressGuard::new(&provider.name, &provider.definition, reach);
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            // A proxy would resolve names by itself, past the guard; so what the environment says of one is not heard.
            .no_proxy()
            .dns_resolver(guard.clone())
            .connect_timeout(CONNECT_TIMEOUT)
            // From connecting to the body's last byte, however slowly they drip.
            .timeout(Duration::from_millis(http.timeout.as_ms()))
            .pool_idle_timeout(Duration::from_secs(90))
            .http1_max_headers(HEADERS_MAX)
            .http2_max_header_list_size(HEADER_BYTES_MAX)
            .build()
            .map_err(|error| format!("cannot build the HTTP client: {error}"))?;
        Ok(Self { client, guard, body_bytes_max: http.body_bytes_max })
    }

    /// Sends it once, if it may go where its URL leads.
    async fn send(&self, request: Request) -> Result<Reply, Silence> {
        self.guard.check(request.url()).map_err(|refusal| Silence::Unsent(refusal.to_string()))?;
        let sent = Instant::now();
        let response = self.client.execute(request).await.map_err(silence)?;
        let (url, headers) = (response.url().clone(), response.headers().clone());
        let status = response.status().as_u16();
        let body = body::read(response, self.body_bytes_max).await;
        match body.flaw {
            // An error needs no body to be understood.
            Some(Flaw::Lost(reason)) if status < 400 => Err(Silence::Lost(reason)),
            _ => Ok(Reply { url, status, headers, body, took: sent.elapsed() }),
        }
    }
}

fn silence(error: reqwest::Error) -> Silence {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(refusal) = cause.downcast_ref::<Refusal>() {
            return Silence::Unsent(refusal.to_string());
        }
        source = cause.source();
    }
    Silence::Lost(told(error))
}

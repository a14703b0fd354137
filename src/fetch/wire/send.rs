//! Sends requests: over the network, or to the scripted responses of a case. Everything else of a call is the same for
//! both, so that a case tests what a real call does.
//!
//! The network is a provider's HTTP client: behind the egress guard, and bounded in time and bytes. A granted call is
//! sent once: redirects are not followed and nothing is retried, since the provider would count requests that the
//! quotas did not.

use super::body::{self, Body, BodyError};
use super::egress_guard::{EgressGuard, Reach, Refusal};
use super::error_text::error_text;
use crate::provider::Provider;
use reqwest::header::HeaderMap;
use reqwest::{Client, Request, Url, redirect, retry};
use std::collections::VecDeque;
use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often an HTTP/2 connection with a request in flight is pinged, and how long for an answer: it carries all calls
/// to a host, so one that fell silent must be replaced.
const PING_EVERY: Duration = Duration::from_secs(5);
/// Per response. All headers together are at most 400 KiB, the size of the client's buffer.
const HEADERS_MAX: usize = 100;
const HEADER_BYTES_MAX: u32 = 64 << 10;

/// How requests reach a cloud.
pub(crate) enum Wire {
    /// Over the network.
    Network(Network),
    /// To the responses of a case.
    Scripted(Mutex<ScriptedResponses>),
}

/// Responses to give, in order, and the requests received.
#[derive(Default)]
pub(crate) struct ScriptedResponses {
    pub(crate) responses: VecDeque<Response>,
    pub(crate) requests: Vec<Request>,
}

impl Wire {
    /// Whether calls may go to this URL, before its host is resolved.
    pub(crate) fn allows(&self, url: &Url) -> bool {
        match self {
            Self::Network(network) => network.guard.check(url).is_ok(),
            Self::Scripted(_) => true,
        }
    }

    /// A wire over the network.
    pub(crate) fn new(provider: &Provider, reach: Reach) -> Result<Self, String> {
        Network::new(provider, reach).map(Self::Network)
    }

    /// Sends a request once and returns the response.
    pub(crate) async fn send(&self, request: Request) -> Result<Response, NoResponse> {
        match self {
            Self::Network(network) => network.send(request).await,
            Self::Scripted(script) => {
                let mut script = script.lock().unwrap_or_else(PoisonError::into_inner);
                let response = script.responses.pop_front();
                let response = response.map(|response| Response { url: request.url().clone(), ..response });
                script.requests.push(request);
                response.ok_or_else(|| {
                    NoResponse::Lost(
                        "the case has no answer to this request: add it to the case's `then`".to_owned(),
                    )
                })
            }
        }
    }

    /// Removes and returns the requests that a script received, in order.
    pub(crate) fn take_requests(&self) -> Vec<Request> {
        match self {
            Self::Network(_) => Vec::new(),
            Self::Scripted(script) => {
                std::mem::take(&mut script.lock().unwrap_or_else(PoisonError::into_inner).requests)
            }
        }
    }
}

/// HTTP client of one provider.
pub(crate) struct Network {
    client: Client,
    guard: EgressGuard,
    body_bytes_max: usize,
}

/// A response: status, headers, body.
pub(crate) struct Response {
    pub(crate) url: Url,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    /// From the request to the last byte of the body; zero if scripted.
    pub(crate) took: Duration,
}

/// Why there is no response.
pub(crate) enum NoResponse {
    /// Not sent: the request cannot be built, or its target is not allowed.
    Unsent(String),
    /// Sent, but it is unknown whether it arrived.
    Lost(String),
}

impl Network {
    fn new(provider: &Provider, reach: Reach) -> Result<Self, String> {
        let http = &provider.definition.http;
        let guard = EgressGuard::new(&provider.name, &provider.definition, reach);
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            // A proxy would resolve names itself, past the guard: proxy variables of the environment are ignored.
            .no_proxy()
            .dns_resolver(guard.clone())
            .connect_timeout(CONNECT_TIMEOUT)
            // Covers everything from connecting to the last byte of the body, so that a slow body cannot exceed it.
            .timeout(Duration::from_millis(http.timeout.as_ms()))
            .pool_idle_timeout(Duration::from_secs(90))
            .http2_keep_alive_interval(PING_EVERY)
            .http2_keep_alive_timeout(PING_EVERY)
            .tcp_nodelay(true)
            .http1_max_headers(HEADERS_MAX)
            .http2_max_header_list_size(HEADER_BYTES_MAX)
            .build()
            .map_err(|error| format!("cannot build the HTTP client: {error}"))?;
        Ok(Self { client, guard, body_bytes_max: http.body_bytes_max })
    }

    /// Sends a request once, if the guard allows its URL.
    async fn send(&self, request: Request) -> Result<Response, NoResponse> {
        self.guard.check(request.url()).map_err(|refusal| NoResponse::Unsent(refusal.to_string()))?;
        let sent = Instant::now();
        let response = self.client.execute(request).await.map_err(no_response)?;
        let (url, headers) = (response.url().clone(), response.headers().clone());
        let status = response.status().as_u16();
        let body = body::read(response, self.body_bytes_max).await;
        match body.error {
            // An error response is judged without its body.
            Some(BodyError::Lost(reason)) if status < 400 => Err(NoResponse::Lost(reason)),
            _ => Ok(Response { url, status, headers, body, took: sent.elapsed() }),
        }
    }
}

fn no_response(error: reqwest::Error) -> NoResponse {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(refusal) = cause.downcast_ref::<Refusal>() {
            return NoResponse::Unsent(refusal.to_string());
        }
        source = cause.source();
    }
    NoResponse::Lost(error_text(error))
}

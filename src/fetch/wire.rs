//! A provider's HTTP client: guarded, and bounded in time and bytes. One grant of the pacing is one request: no
//! redirect is followed and nothing is sent again, since the provider would count what the quotas did not.

use super::body::{self, Body, Flaw};
use super::guard::{Guard, Reach, Refusal};
use crate::provider::Provider;
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Url, redirect, retry};
use std::error::Error;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Of one answer. All of them together never pass 400 KiB, which is what the client's buffer holds.
const HEADERS_MAX: usize = 100;
const HEADER_BYTES_MAX: u32 = 64 << 10;

/// What speaks to one provider's cloud.
pub(super) struct Wire {
    client: Client,
    guard: Guard,
    body_bytes_max: usize,
}

/// What came back: status, headers, body.
pub(super) struct Reply {
    pub(super) url: Url,
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

/// Why nothing came back.
pub(super) enum Silence {
    /// It was not sent: it cannot be made, or would have gone where it must not.
    Unsent(String),
    /// Nobody knows whether it arrived.
    Lost(String),
}

impl Wire {
    pub(super) fn new(provider: &Provider, reach: Reach) -> Result<Self, String> {
        let http = &provider.definition.http;
        let guard = Guard::new(&provider.name, &provider.definition, reach);
        let mut headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("gzip"))]);
        for (name, value) in &http.headers {
            let name = name.get_ref();
            let name = name.parse::<HeaderName>().map_err(|e| format!("header {name:?}: {e}"))?;
            headers.insert(name, value.parse().map_err(|e| format!("header value {value:?}: {e}"))?);
        }
        let client = Client::builder()
            .default_headers(headers)
            .user_agent(concat!("paceline/", env!("CARGO_PKG_VERSION")))
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

    /// A request to be sent by [`Self::send`].
    pub(super) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends it once, if it may go where its URL leads.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Reply, Silence> {
        let request = request.build().map_err(|error| Silence::Unsent(told(error)))?;
        self.guard.check(request.url()).map_err(|refusal| Silence::Unsent(refusal.to_string()))?;
        let response = self.client.execute(request).await.map_err(silence)?;
        let (url, headers) = (response.url().clone(), response.headers().clone());
        let status = response.status().as_u16();
        let body = body::read(response, self.body_bytes_max).await;
        match body.flaw {
            // An error needs no body to be understood.
            Some(Flaw::Lost(reason)) if status < 400 => Err(Silence::Lost(reason)),
            _ => Ok(Reply { url, status, headers, body }),
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

/// An error's text without the URL: a key may stand in it.
pub(super) fn told(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut reason = match error.is_timeout() {
        true => "no answer in time".to_owned(),
        false => error.to_string(),
    };
    let mut source = error.source();
    while let Some(cause) = source {
        reason = format!("{reason}: {cause}");
        source = cause.source();
    }
    reason
}

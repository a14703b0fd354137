//! What carries a request to the cloud and its answer back: the network, or the script of a case. All else of a call
//! is the same for both, so that a case proves what a real call does.

use super::client::{bounded_body, transient};
use crate::words::{End, Outcome};
use reqwest::header::HeaderMap;
use reqwest::{Client, Request, Url};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// What came back: status, headers, body.
pub(super) struct Reply {
    pub(super) url: Url,
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Reply {
    /// The same, as an answer to a request for this URL.
    pub(super) fn to(self, url: &Url) -> Self {
        Self { url: url.clone(), ..self }
    }
}

/// The way to a cloud.
pub(super) enum Wire {
    /// The network. An answer, counted after decompression, has at most so many bytes.
    Network {
        /// The provider's client.
        client: Client,
        /// The provider's bound.
        body_bytes_max: usize,
    },
    /// What a case says the cloud answers.
    Script(Mutex<Script>),
}

/// Answers in their order, and the requests they were given to.
#[derive(Default)]
pub(super) struct Script {
    pub(super) answers: VecDeque<Reply>,
    pub(super) asked: Vec<Request>,
}

impl Wire {
    /// Sends it once, and brings the answer.
    pub(super) async fn carry(&self, request: Request) -> Result<Reply, (End, Outcome)> {
        match self {
            Self::Network { client, body_bytes_max } => exchange(client, request, *body_bytes_max).await,
            Self::Script(script) => {
                let mut script = script.lock().unwrap_or_else(PoisonError::into_inner);
                let reply = script.answers.pop_front().map(|reply| reply.to(request.url()));
                script.asked.push(request);
                reply.ok_or_else(|| {
                    let reason = "the case has no answer to this request".to_owned();
                    (End::Lost, Outcome::Transient { reason })
                })
            }
        }
    }

    /// The requests that a script was asked, in their order.
    pub(super) fn asked(&self) -> Vec<Request> {
        match self {
            Self::Network { .. } => Vec::new(),
            Self::Script(script) => {
                std::mem::take(&mut script.lock().unwrap_or_else(PoisonError::into_inner).asked)
            }
        }
    }
}

/// Sends it over the network, and reads the whole answer.
async fn exchange(client: &Client, request: Request, bytes_max: usize) -> Result<Reply, (End, Outcome)> {
    let lost = |outcome| (End::Lost, outcome);
    let response = client.execute(request).await.map_err(|error| lost(transient(error)))?;
    let (url, headers) = (response.url().clone(), response.headers().clone());
    let status = response.status().as_u16();
    let body = bounded_body(response, bytes_max).await.map_err(lost)?;
    Ok(Reply { url, status, headers, body })
}

//! Builds the whole request of a call.

use super::credential::Credentials;
use super::error::RequestError;
use super::render::{Body, Requests, values};
use super::render_context::RenderContext;
use super::sign::Signer;
use crate::fetch::Call;
use crate::fetch::answer::validate::{self, ChangeToken};
use crate::fetch::answer::{Page, Pager};
use crate::provider::{Method, Provider, Resource};
use crate::words::{Connection, Outcome, Secrets, UnixMs};
use reqwest::Request;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};
use std::ops::Range;
use std::sync::Arc;

/// Builds the requests of one provider.
pub(crate) struct Preparer {
    pub(crate) provider: Arc<Provider>,
    /// Default headers of every request.
    pub(crate) headers: HeaderMap,
    pub(crate) requests: Requests,
    pub(crate) signer: Option<Signer>,
    /// The operator's secrets for the provider.
    operator: Secrets,
}

impl Preparer {
    /// Compiles templates and headers. Errors have their position in the file.
    pub(crate) fn compile(
        provider: Arc<Provider>,
        operator: Secrets,
    ) -> Result<Self, Vec<(Range<usize>, String)>> {
        let mut errors = Vec::new();
        let requests = Requests::compile(&provider).map_err(|found| errors.extend(found)).ok();
        let sign = provider.definition.auth.get_ref().sign.as_ref();
        let signer = sign.map(|sign| Signer::compile(sign.get_ref())).transpose();
        let signer = signer.map_err(|found| errors.extend(found)).ok().flatten();
        let headers = default_headers(&provider)
            .map_err(|error| errors.push((provider.definition.http.base_url.span(), error)))
            .unwrap_or_default();
        match requests.filter(|_| errors.is_empty()) {
            Some(requests) => Ok(Self { provider, headers, requests, signer, operator }),
            None => Err(errors),
        }
    }

    pub(crate) fn credentials<'a>(&'a self, call: &'a Call) -> Credentials<'a> {
        Credentials::of(&self.provider, call, &self.operator)
    }

    /// Names of the query parameters that contain credentials.
    pub(crate) fn credential_names(&self) -> Vec<&str> {
        self.provider.definition.auth.get_ref().query_names()
    }

    pub(crate) fn context<'a>(&'a self, connection: &'a Connection, now: UnixMs) -> RenderContext<'a> {
        RenderContext { provider: &self.provider, connection, operator: &self.operator, now }
    }

    /// Builds the request, or says why it cannot be built.
    pub(crate) fn prepare(
        &self,
        resource: &Resource,
        call: &Call,
        now: UnixMs,
        (pager, page): (Option<&Pager>, &Page),
        since: Option<&ChangeToken>,
    ) -> Result<Request, Outcome> {
        let broken =
            |error: RequestError| Outcome::Broken { reason: error.to_string(), excerpt: String::new() };
        let values = values(&self.provider, call, now, rand::random(), page, since);
        let credentials = self.credentials(call);
        let url = self.requests.url(resource, call, &credentials, &values).map_err(broken)?;
        let url = match pager {
            Some(pager) => pager.url(&url, page),
            None => url,
        };
        let body = self.requests.body(resource, call, &values).map_err(broken)?;
        let method = match resource.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
        };
        let mut request = Request::new(method, url);
        *request.headers_mut() = self.headers.clone();
        if let Some((text, media_type)) = body.map(Body::parts) {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
            *request.body_mut() = Some(text.into());
        }
        let conditional = validate::conditional_headers(resource, call, &request, &self.credential_names());
        request.headers_mut().extend(conditional.into_iter().map(|(name, value)| (Some(name), value)));
        credentials.add_headers(request.headers_mut())?;
        if let Some(signer) = &self.signer {
            let context = self.context(&call.connection, now);
            signer.sign(&mut request, &context, rand::random()).map_err(broken)?;
        }
        Ok(request)
    }
}

/// Headers of every call.
fn default_headers(provider: &Provider) -> Result<HeaderMap, String> {
    let user_agent = HeaderValue::from_static(concat!("paceline/", env!("CARGO_PKG_VERSION")));
    let mut headers =
        HeaderMap::from_iter([(USER_AGENT, user_agent), (ACCEPT, HeaderValue::from_static("*/*"))]);
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    for (name, value) in &provider.definition.http.headers {
        let name = name.get_ref();
        let name = name.parse::<HeaderName>().map_err(|e| format!("header {name:?}: {e}"))?;
        headers.insert(name, value.parse().map_err(|e| format!("header value {value:?}: {e}"))?);
    }
    Ok(headers)
}

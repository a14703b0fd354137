//! The whole request of a call.

use super::render::{Body, RequestError, values};
use crate::fetch::answer::Page;
use crate::fetch::answer::validate::{self, Since};
use crate::fetch::{Call, Fetcher};
use crate::provider::{Method, Provider, Resource};
use crate::words::{Outcome, UnixMs};
use reqwest::Request;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};

impl Fetcher {
    /// The whole request; or why it cannot be made.
    pub(crate) fn prepare(
        &self,
        resource: &Resource,
        call: &Call,
        now: UnixMs,
        page: &Page,
        since: Option<&Since>,
    ) -> Result<Request, Outcome> {
        let unmakable =
            |error: RequestError| Outcome::Broken { reason: error.to_string(), excerpt: String::new() };
        let values = values(&self.provider, call, now, rand::random(), page, since);
        let credentials = self.credentials(call);
        let url = self.requests.url(resource, call, &credentials, &values).map_err(unmakable)?;
        let url = match self.pagers.get(&call.resource) {
            Some(pager) => pager.url(&url, page),
            None => url,
        };
        let body = self.requests.body(resource, call, &values).map_err(unmakable)?;
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
        let conditions = validate::conditions(resource, call, &request, &self.credential_names());
        request.headers_mut().extend(conditions.into_iter().map(|(name, value)| (Some(name), value)));
        credentials.sign_in(request.headers_mut())?;
        if let Some(signer) = &self.signer {
            let with = self.with(&call.connection, now);
            signer.sign(&mut request, &with, rand::random()).map_err(unmakable)?;
        }
        Ok(request)
    }
}

/// What every call says of itself.
pub(crate) fn headers(provider: &Provider) -> Result<HeaderMap, String> {
    let us = HeaderValue::from_static(concat!("paceline/", env!("CARGO_PKG_VERSION")));
    let mut headers = HeaderMap::from_iter([(USER_AGENT, us), (ACCEPT, HeaderValue::from_static("*/*"))]);
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    for (name, value) in &provider.definition.http.headers {
        let name = name.get_ref();
        let name = name.parse::<HeaderName>().map_err(|e| format!("header {name:?}: {e}"))?;
        headers.insert(name, value.parse().map_err(|e| format!("header value {value:?}: {e}"))?);
    }
    Ok(headers)
}

//! The declared login request that returns a token. It is sent like the provider's calls: same egress guard, same
//! bounds.

use super::token_context::{self, TokenContext, redacted};
use super::token_response::{describe, end_of};
use crate::fetch::answer::{mapping, text, wait};
use crate::fetch::jq::Program;
use crate::fetch::request::{Body, Kind, RenderContext, RequestError, Templates, parse_url};
use crate::fetch::wire::{NoResponse, Response, Wire};
use crate::provider::{Login as Declared, Method};
use crate::words::{Connection, End, Granted, NoToken, UnixMs};
use jaq_json::Val;
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Request, Url};
use std::ops::Range;
use toml::Spanned;

/// A declared login, compiled.
pub(crate) struct Login {
    declared: Declared,
    templates: Templates,
    token: Program,
    lifetime: Option<Program>,
    refused: Option<Program>,
}

impl Login {
    /// Compiles templates and programs. Errors have their position in the file.
    pub(crate) fn compile(declared: &Declared) -> Result<Self, Vec<(Range<usize>, String)>> {
        let (mut templates, mut errors) = (Templates::new(), Vec::new());
        let span = declared.url.span();
        let mut add = |kind, name: String, text: &str, span| {
            templates.add((kind, name), text, span, &mut errors);
        };
        add(Kind::Path, "auth.login.url".to_owned(), declared.url.get_ref(), span.clone());
        if let Some(json) = &declared.json {
            add(Kind::Json, "auth.login.json".to_owned(), json.get_ref(), json.span());
        }
        for (part, all) in [("query", &declared.query), ("form", &declared.form)] {
            all.iter().for_each(|(key, text)| add(Kind::Plain, template_name(part, key), text, span.clone()));
        }
        for (key, text) in &declared.headers {
            add(Kind::Plain, template_name("headers", key.get_ref()), text, key.span());
        }
        let mut program = |text: Option<&Spanned<String>>| {
            let text = text?;
            Program::read(text).map_err(|error| errors.push(error)).ok()
        };
        let (token, lifetime) = (program(Some(&declared.token)), program(declared.lifetime.as_ref()));
        let refused = program(declared.refused.as_ref());
        match token.filter(|_| errors.is_empty()) {
            Some(token) => Ok(Self { declared: declared.clone(), templates, token, lifetime, refused }),
            None => Err(errors),
        }
    }

    /// Logs in once. Errors are redacted.
    pub(crate) async fn log_in(&self, wire: &Wire, context: &TokenContext<'_>) -> Result<Granted, NoToken> {
        let sent = match self.request(context) {
            Ok(request) => token_context::send(wire, request, context.trace).await,
            Err(error) => Err(NoResponse::Unsent(error.to_string())),
        };
        let granted = match sent {
            Ok(response) => context.off_runtime.run(false, || self.read(&response, context.render.now)).await,
            Err(NoResponse::Unsent(reason)) => Err(NoToken::later(reason, End::Unsent)),
            Err(NoResponse::Lost(reason)) => Err(NoToken::later(reason, End::Lost)),
        };
        granted.map_err(|error| redacted(error, context))
    }

    fn request(&self, context: &TokenContext<'_>) -> Result<Request, RequestError> {
        let values = context.render.values();
        let render = |kind, name: String| self.templates.render(kind, &name, &values);
        let mut url = render(Kind::Path, "auth.login.url".to_owned())?;
        if url.starts_with('/') {
            url = context.preparer.requests.base_url(&values)? + &url;
        }
        let mut url: Url = parse_url(&url)?;
        for key in self.declared.query.keys() {
            let value = render(Kind::Plain, template_name("query", key))?;
            url.query_pairs_mut().append_pair(key, &value);
        }
        let method = match self.declared.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
        };
        let mut request = Request::new(method, url);
        *request.timeout_mut() = Some(context.timeout);
        *request.headers_mut() = context.preparer.headers.clone();
        for key in self.declared.headers.keys().map(Spanned::get_ref) {
            let invalid = || RequestError::Header { name: key.clone() };
            let name = key.parse::<HeaderName>().map_err(|_| invalid())?;
            let text = render(Kind::Plain, template_name("headers", key))?;
            let mut value = HeaderValue::from_str(&text).map_err(|_| invalid())?;
            value.set_sensitive(true);
            request.headers_mut().insert(name, value);
        }
        if let Some((text, media_type)) = self.body(&render)?.map(Body::parts) {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
            *request.body_mut() = Some(text.into());
        }
        if let Some(signer) = &context.preparer.signer {
            // Without the old token: this request is for a new one.
            let connection = Connection { token: None, ..context.render.connection.clone() };
            signer.sign(
                &mut request,
                &RenderContext { connection: &connection, ..context.render },
                rand::random(),
            )?;
        }
        Ok(request)
    }

    fn body(
        &self,
        render: &impl Fn(Kind, String) -> Result<String, RequestError>,
    ) -> Result<Option<Body>, RequestError> {
        if self.declared.json.is_some() {
            return render(Kind::Json, "auth.login.json".to_owned()).map(|text| Some(Body::Json(text)));
        }
        let mut form = form_urlencoded::Serializer::new(String::new());
        for key in self.declared.form.keys() {
            form.append_pair(key, &render(Kind::Plain, template_name("form", key))?);
        }
        Ok((!self.declared.form.is_empty()).then(|| Body::Form(form.finish())))
    }

    fn read(&self, response: &Response, now: UnixMs) -> Result<Granted, NoToken> {
        let described = describe(response);
        let json = mapping::parse(&text::clean(&response.body.bytes, &response.headers)).ok();
        let is_refusal = self.refused.as_ref().zip(json.as_ref()).is_some_and(|(jq, json)| jq.holds(json));
        if is_refusal || matches!(response.status, 400 | 401 | 403) {
            return Err(NoToken::Refused { reason: format!("the login was refused: {described}") });
        }
        let first =
            |program: &Program, json: &Val| program.first(json, mapping::text).ok().flatten().flatten();
        let found = json.as_ref().filter(|_| response.status < 300).and_then(|json| {
            let lifetime = self.lifetime.as_ref().and_then(|program| first(program, json));
            Some((first(&self.token, json).filter(|token| !token.is_empty())?, lifetime))
        });
        let Some((token, lifetime)) = found else {
            let wait_ms = wait::retry_after_ms(&response.headers, now);
            let (reason, end) =
                (format!("the login returned no token: {described}"), end_of(response.status));
            return Err(NoToken::Later { reason, wait_ms, end });
        };
        let provider_now = wait::provider_now(&response.headers, now);
        let reported = lifetime.and_then(|text| wait::wait_ms(&text, self.declared.unit, provider_now));
        let default = || self.declared.lifetime_default.map(|length| length.as_ms().cast_signed());
        Ok(Granted { access: token.into(), refresh: None, lifetime_ms: reported.or_else(default) })
    }
}

fn template_name(part: &str, key: &str) -> String {
    format!("auth.login.{part} {key}")
}

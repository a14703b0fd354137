//! A login: the declared request that brings a token. It goes where the provider's calls may go, under the same bounds.

use super::token_answer::{end_of, said};
use super::with::{With, hidden};
use crate::fetch::answer::{mapping, wait};
use crate::fetch::jq::Program;
use crate::fetch::request::{Body, Kind, RenderContext, RequestError, Templates, usable};
use crate::fetch::wire::{Reply, Silence, Wire};
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
    /// Compiles it; or what is wrong, with its place in the file.
    pub(crate) fn compile(declared: &Declared) -> Result<Self, Vec<(Range<usize>, String)>> {
        let (mut templates, mut wrong) = (Templates::new(), Vec::new());
        let span = declared.url.span();
        let mut add = |kind, name: String, text: &str, span| {
            templates.add((kind, name), text, span, &mut wrong);
        };
        add(Kind::Path, "auth.login.url".to_owned(), declared.url.get_ref(), span.clone());
        if let Some(json) = &declared.json {
            add(Kind::Json, "auth.login.json".to_owned(), json.get_ref(), json.span());
        }
        for (part, all) in [("query", &declared.query), ("form", &declared.form)] {
            all.iter().for_each(|(key, text)| add(Kind::Plain, named(part, key), text, span.clone()));
        }
        for (key, text) in &declared.headers {
            add(Kind::Plain, named("headers", key.get_ref()), text, key.span());
        }
        let mut program = |text: Option<&Spanned<String>>| {
            let text = text?;
            Program::compile(text.get_ref()).map_err(|error| wrong.push((text.span(), error))).ok()
        };
        let (token, lifetime) = (program(Some(&declared.token)), program(declared.lifetime.as_ref()));
        let refused = program(declared.refused.as_ref());
        match token.filter(|_| wrong.is_empty()) {
            Some(token) => Ok(Self { declared: declared.clone(), templates, token, lifetime, refused }),
            None => Err(wrong),
        }
    }

    /// Logs in once. What is told of a failure has no secret in it.
    pub(crate) async fn ask(&self, wire: &Wire, with: &With<'_>) -> Result<Granted, NoToken> {
        let asked = match self.request(with) {
            Ok(request) => wire.carry(request).await,
            Err(error) => Err(Silence::Unsent(error.to_string())),
        };
        let asked = match asked {
            Ok(reply) => with.off_runtime.run(false, || self.read(&reply, with.context.now)).await,
            Err(Silence::Unsent(reason)) => Err(NoToken::later(reason, End::Unsent)),
            Err(Silence::Lost(reason)) => Err(NoToken::later(reason, End::Lost)),
        };
        asked.map_err(|error| hidden(error, with))
    }

    fn request(&self, with: &With<'_>) -> Result<Request, RequestError> {
        let values = with.context.values();
        let render = |kind, name: String| self.templates.render(kind, &name, &values);
        let mut url = render(Kind::Path, "auth.login.url".to_owned())?;
        if url.starts_with('/') {
            url = with.preparer.requests.base_url(&values)? + &url;
        }
        let mut url: Url = usable(&url)?;
        for key in self.declared.query.keys() {
            let value = render(Kind::Plain, named("query", key))?;
            url.query_pairs_mut().append_pair(key, &value);
        }
        let method = match self.declared.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
        };
        let mut request = Request::new(method, url);
        *request.headers_mut() = with.preparer.headers.clone();
        for key in self.declared.headers.keys().map(Spanned::get_ref) {
            let unusable = || RequestError::Header { name: key.clone() };
            let name = key.parse::<HeaderName>().map_err(|_| unusable())?;
            let text = render(Kind::Plain, named("headers", key))?;
            let mut value = HeaderValue::from_str(&text).map_err(|_| unusable())?;
            value.set_sensitive(true);
            request.headers_mut().insert(name, value);
        }
        if let Some((text, media_type)) = self.body(&render)?.map(Body::parts) {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
            *request.body_mut() = Some(text.into());
        }
        if let Some(signer) = &with.preparer.signer {
            // With no token: this is what asks for one.
            let bare = Connection { token: None, ..with.context.connection.clone() };
            signer.sign(
                &mut request,
                &RenderContext { connection: &bare, ..with.context },
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
            form.append_pair(key, &render(Kind::Plain, named("form", key))?);
        }
        Ok((!self.declared.form.is_empty()).then(|| Body::Form(form.finish())))
    }

    fn read(&self, reply: &Reply, now: UnixMs) -> Result<Granted, NoToken> {
        let said = said(reply);
        let answer = mapping::read(&reply.body.bytes).ok();
        let refuses = self.refused.as_ref().zip(answer.as_ref()).is_some_and(|(jq, answer)| jq.holds(answer));
        if refuses || matches!(reply.status, 400 | 401 | 403) {
            return Err(NoToken::Refused { reason: format!("the login was refused: {said}") });
        }
        let first =
            |program: &Program, answer: &Val| program.first(answer, mapping::text).ok().flatten().flatten();
        let found = answer.as_ref().filter(|_| reply.status < 300).and_then(|answer| {
            let lifetime = self.lifetime.as_ref().and_then(|program| first(program, answer));
            Some((first(&self.token, answer).filter(|token| !token.is_empty())?, lifetime))
        });
        let Some((token, lifetime)) = found else {
            let wait_ms = wait::retry_after_ms(&reply.headers, now);
            let (reason, end) = (format!("the login brought no token: {said}"), end_of(reply.status));
            return Err(NoToken::Later { reason, wait_ms, end });
        };
        let there = wait::there(&reply.headers, now);
        let told = lifetime.and_then(|text| wait::wait_ms(&text, self.declared.unit, there));
        let or_else = || self.declared.lifetime_default.map(|length| length.as_ms().cast_signed());
        Ok(Granted { access: token.into(), refresh: None, lifetime_ms: told.or_else(or_else) })
    }
}

fn named(part: &str, key: &str) -> String {
    format!("auth.login.{part} {key}")
}

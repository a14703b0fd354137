//! Signs requests as the definition declares.

use super::error::RequestError;
use super::render_context::{RenderContext, exposed};
use super::template::{Kind, Templates};
use crate::provider::{Encoding, Sign as Declared, SignKind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use minijinja::{Value, context};
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Body, Request, Url};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use std::ops::Range;

/// A declared signature, compiled.
pub(crate) struct Signer {
    declared: Declared,
    templates: Templates,
}

impl Signer {
    /// Compiles the templates. Errors have their position in the file.
    pub(crate) fn compile(declared: &Declared) -> Result<Self, Vec<(Range<usize>, String)>> {
        let (mut templates, mut errors) = (Templates::new(), Vec::new());
        let text = (Kind::Plain, "auth.sign.text".to_owned());
        templates.add(text, declared.text.get_ref(), declared.text.span(), &mut errors);
        for (name, text) in &declared.headers {
            templates.add((Kind::Plain, header_template(name.get_ref())), text, name.span(), &mut errors);
        }
        if errors.is_empty() { Ok(Self { declared: declared.clone(), templates }) } else { Err(errors) }
    }

    /// Signs a request that is otherwise complete. `random` must be new for each request.
    pub(crate) fn sign(
        &self,
        request: &mut Request,
        context: &RenderContext<'_>,
        random: [u8; 16],
    ) -> Result<(), RequestError> {
        let values = template_values(request, context, random);
        let text = self.templates.render(Kind::Plain, "auth.sign.text", &values)?;
        let SignKind::HmacSha256 = self.declared.kind;
        // HMAC takes keys of any length (RFC 2104, 3).
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(self.signing_key(context)?.as_bytes())
            .map_err(|_| RequestError::Header { name: self.declared.header.clone() })?;
        mac.update(text.as_bytes());
        let signed = mac.finalize().into_bytes();
        let signature = match self.declared.encoding {
            Encoding::Hex => hex(&signed),
            Encoding::Base64 => STANDARD.encode(signed),
        };
        let signature = if self.declared.upper { signature.to_ascii_uppercase() } else { signature };
        set_header(request, &self.declared.header, &signature)?;
        for name in self.declared.headers.keys().map(toml::Spanned::get_ref) {
            let text = self.templates.render(Kind::Plain, &header_template(name), &values)?;
            set_header(request, name, &text)?;
        }
        Ok(())
    }

    fn signing_key<'a>(&self, context: &RenderContext<'a>) -> Result<&'a str, RequestError> {
        let key = &self.declared.key;
        match (&key.secret, &key.operator) {
            (Some(name), _) => {
                let found = context.connection.secrets.get(name).map(ExposeSecret::expose_secret);
                found.ok_or_else(|| RequestError::NoSecret { name: name.clone() })
            }
            (None, name) => {
                let name = name.clone().unwrap_or_default();
                let found = context.operator.get(&name).map(ExposeSecret::expose_secret);
                found.ok_or_else(|| RequestError::NoOperatorSecret {
                    provider: context.provider.name.clone(),
                    name,
                })
            }
        }
    }
}

fn header_template(header: &str) -> String {
    format!("auth.sign.headers {header}")
}

fn set_header(request: &mut Request, name: &str, text: &str) -> Result<(), RequestError> {
    let unusable = || RequestError::Header { name: name.to_owned() };
    let header = name.parse::<HeaderName>().map_err(|_| unusable())?;
    let mut value = HeaderValue::from_str(text).map_err(|_| unusable())?;
    value.set_sensitive(true);
    request.headers_mut().insert(header, value);
    Ok(())
}

/// The variables of the templates.
fn template_values(request: &Request, context: &RenderContext<'_>, random: [u8; 16]) -> Value {
    let uuid = uuid::Builder::from_random_bytes(random).into_uuid().to_string();
    let token = context.connection.token.as_ref().map(|token| token.access.expose_secret());
    let body = request.body().and_then(Body::as_bytes).unwrap_or_default();
    context! {
        params => context.provider.with_defaults(context.connection.params.clone()),
        secrets => exposed(&context.connection.secrets),
        operator => exposed(context.operator),
        token => token.unwrap_or_default(),
        request => context! {
            uuid => uuid,
            epoch_ms => context.now.0,
            method => request.method().as_str(),
            path => path_and_query(request.url()),
            body_sha256 => hex(&Sha256::digest(body)),
        },
    }
}

/// The path and the decoded query, sorted by name.
fn path_and_query(url: &Url) -> String {
    let mut query: Vec<_> = url.query_pairs().map(|(name, value)| format!("{name}={value}")).collect();
    query.sort();
    match query.is_empty() {
        true => url.path().to_owned(),
        false => format!("{}?{}", url.path(), query.join("&")),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Registry;
    use crate::words::{Connection, ConnectionId, ConnectionState, Secrets, TenantId, UnixMs};
    use reqwest::Method;

    #[test]
    fn signature_matches_an_independent_hmac() {
        let registry = Registry::load(None).unwrap();
        let provider = registry.find("switchbot").unwrap();
        let declared = provider.definition.auth.get_ref().sign.as_ref().unwrap().get_ref();
        let secrets = [("token", "tok"), ("secret", "hush")];
        let connection = Connection {
            id: ConnectionId(1),
            tenant: TenantId(1),
            provider: provider.name.clone(),
            params: Default::default(),
            bootstrap: Default::default(),
            bootstrap_of: None,
            devices: 0,
            secrets_version: 1,
            state: ConnectionState::Active,
            secrets: secrets.map(|(name, secret)| (name.to_owned(), secret.into())).into_iter().collect(),
            token: None,
        };
        let operator = Secrets::default();
        let context = RenderContext {
            provider,
            connection: &connection,
            operator: &operator,
            now: UnixMs(1_767_225_600_000),
        };
        let mut request = Request::new(Method::GET, Url::parse("https://example.com/a?b=%2C&a=1").unwrap());
        Signer::compile(declared).unwrap().sign(&mut request, &context, [7; 16]).unwrap();
        // Computed with Python's hmac.
        assert_eq!(request.headers()["sign"], "+ep2D/zMqkaevxzBAtYqFEA4nCQNTp1HOaVtIQrtRDQ=");
        assert_eq!(request.headers()["nonce"], "07070707-0707-4707-8707-070707070707");
        assert!(request.headers().values().all(HeaderValue::is_sensitive));
        assert_eq!(path_and_query(request.url()), "/a?a=1&b=,");
        assert_eq!(hex(&Sha256::digest([])).get(..8), Some("e3b0c442"));
    }
}

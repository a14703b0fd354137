//! OAuth 2.0 over the provider's own wire: its requests go where the provider's calls may go, under the same bounds.

use super::token_answer::{self, Trouble, shape_of};
use super::with::{With, hidden};
use crate::fetch::jq::{OffRuntime, Program};
use crate::fetch::request::{Kind, RequestError, Templates, usable};
use crate::fetch::wire::{Silence, Wire};
use crate::provider::{CLIENT, ClientAuth, Flow, OAuth2 as Declared, Whose};
use crate::words::{End, Granted, NoToken, UnixMs};
use oauth2::basic::{
    BasicClient, BasicErrorResponseType as Said, BasicRequestTokenError, BasicTokenResponse,
};
use oauth2::{
    AsyncHttpClient, AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken,
    DeviceAuthorizationUrl, DeviceCodeErrorResponseType, EndpointNotSet, EndpointSet, HttpRequest,
    HttpResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError, Scope,
    StandardDeviceAuthorizationResponse, TokenResponse, TokenUrl,
};
use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{Request, Url};
use secrecy::{ExposeSecret, SecretString};
use std::borrow::Cow;
use std::ops::Range;
use std::pin::Pin;
use std::time::Duration;

/// A declared way to tokens, compiled.
pub(crate) struct OAuth {
    declared: Declared,
    urls: Templates,
    answer: Option<Program>,
}

/// An owner's way to allow a connection.
#[derive(Debug)]
pub struct AuthorizationRequest {
    /// Where to.
    pub url: String,
    /// What the way back must bring.
    pub state: SecretString,
    /// What proves the way back, where the provider takes such.
    pub verifier: Option<SecretString>,
}

/// A code that an owner types in somewhere else.
#[derive(Debug)]
pub struct DeviceCode {
    /// Where.
    pub url: String,
    /// Likewise, with the code in it.
    pub url_with_code: Option<String>,
    /// The code.
    pub code: String,
    /// How long it is good for.
    pub lifetime: Duration,
    told: StandardDeviceAuthorizationResponse,
}

type Client = BasicClient<EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

impl OAuth {
    /// Compiles it; or what is wrong, with its place in the file.
    pub(crate) fn compile(declared: &Declared) -> Result<Self, Vec<(Range<usize>, String)>> {
        let (mut urls, mut wrong) = (Templates::new(), Vec::new());
        let authorize = declared.authorize_url.as_ref().map(|url| ("authorize_url", url));
        for (name, url) in declared.urls().chain(authorize) {
            urls.add((Kind::Plain, name.to_owned()), url.get_ref(), url.span(), &mut wrong);
        }
        let answer = declared.answer.as_ref().and_then(|text| {
            Program::compile(text.get_ref()).map_err(|error| wrong.push((text.span(), error))).ok()
        });
        if wrong.is_empty() { Ok(Self { declared: declared.clone(), urls, answer }) } else { Err(wrong) }
    }

    /// The next token, by what brought the last one or by the client itself.
    pub(crate) async fn renew(&self, wire: &Wire, with: &With<'_>) -> Result<Granted, NoToken> {
        let client = self.client(with).map_err(unmakable)?;
        let params = self.declared.token_params.iter();
        let http = self.carrier(wire, with);
        let answer = if self.declared.flow == Flow::Client {
            let scopes = self.declared.scopes.iter().cloned().map(Scope::new);
            let request = client.exchange_client_credentials().add_scopes(scopes);
            params
                .fold(request, |request, (name, value)| request.add_extra_param(name, value))
                .request_async(&http)
                .await
        } else {
            let refresh = with.context.connection.token.as_ref().and_then(|token| token.refresh.as_ref());
            let Some(refresh) = refresh else {
                let reason = "it is not authorised yet: `paceline connection authorize` does that".to_owned();
                return Err(NoToken::Refused { reason });
            };
            let refresh = RefreshToken::new(refresh.expose_secret().to_owned());
            let request = client.exchange_refresh_token(&refresh);
            params
                .fold(request, |request, (name, value)| request.add_extra_param(name, value))
                .request_async(&http)
                .await
        };
        self.granted(answer, with)
    }

    /// Where its owner must go, and come back to `redirect_url` from.
    pub(crate) fn journey(
        &self,
        with: &With<'_>,
        redirect_url: &str,
    ) -> Result<AuthorizationRequest, NoToken> {
        let url = AuthUrl::new(self.url(with, "authorize_url").map_err(unmakable)?).map_err(bad_url)?;
        let client = self.client(with).map_err(unmakable)?.set_auth_uri(url);
        let redirect = RedirectUrl::new(redirect_url.to_owned()).map_err(bad_url)?;
        let scopes = self.declared.scopes.iter().cloned().map(Scope::new);
        let mut request = client.authorize_url(CsrfToken::new_random);
        request = request.add_scopes(scopes).set_redirect_uri(Cow::Owned(redirect));
        for (name, value) in &self.declared.authorize_params {
            request = request.add_extra_param(name, value);
        }
        let mut verifier = None;
        if self.declared.pkce {
            let (challenge, proof) = PkceCodeChallenge::new_random_sha256();
            request = request.set_pkce_challenge(challenge);
            verifier = Some(SecretString::from(proof.into_secret()));
        }
        let (url, state) = request.url();
        Ok(AuthorizationRequest { url: url.into(), state: state.into_secret().into(), verifier })
    }

    /// The first token, for the code that an owner came back with.
    pub(crate) async fn exchange(
        &self,
        wire: &Wire,
        with: &With<'_>,
        code: &str,
        verifier: Option<&SecretString>,
        redirect_url: &str,
    ) -> Result<Granted, NoToken> {
        let client = self.client(with).map_err(unmakable)?;
        let redirect = RedirectUrl::new(redirect_url.to_owned()).map_err(bad_url)?;
        let mut request = client.exchange_code(AuthorizationCode::new(code.to_owned()));
        request = request.set_redirect_uri(Cow::Owned(redirect));
        if let Some(verifier) = verifier {
            request = request.set_pkce_verifier(PkceCodeVerifier::new(verifier.expose_secret().to_owned()));
        }
        for (name, value) in &self.declared.token_params {
            request = request.add_extra_param(name, value);
        }
        let http = self.carrier(wire, with);
        let answer = request.request_async(&http).await;
        self.granted(answer, with)
    }

    /// A code for the owner to type in.
    pub(crate) async fn device_code(&self, wire: &Wire, with: &With<'_>) -> Result<DeviceCode, NoToken> {
        let url = self.url(with, "device_url").map_err(unmakable)?;
        let url = DeviceAuthorizationUrl::new(url).map_err(bad_url)?;
        let client = self.client(with).map_err(unmakable)?.set_device_authorization_url(url);
        let scopes = self.declared.scopes.iter().cloned().map(Scope::new);
        let http = self.carrier(wire, with);
        let told: Result<StandardDeviceAuthorizationResponse, _> =
            client.exchange_device_code().add_scopes(scopes).request_async(&http).await;
        let told = told.map_err(|error| hidden(why(error), with))?;
        Ok(DeviceCode {
            url: told.verification_uri().to_string(),
            url_with_code: told.verification_uri_complete().map(|url| url.secret().clone()),
            code: told.user_code().secret().clone(),
            lifetime: told.expires_in(),
            told,
        })
    }

    /// The first token, once the owner has typed the code in; asks as often as the provider says.
    pub(crate) async fn device_token(
        &self,
        wire: &Wire,
        with: &With<'_>,
        code: &DeviceCode,
        now: impl Fn() -> UnixMs + Send + Sync,
    ) -> Result<Granted, NoToken> {
        let client = self.client(with).map_err(unmakable)?;
        let http = self.carrier(wire, with);
        let request =
            client.exchange_device_access_token(&code.told).set_time_fn(move || now().to_datetime());
        let answer = request.request_async(&http, tokio::time::sleep, Some(code.lifetime)).await;
        let answer = answer.map_err(|error| match error {
            RequestTokenError::ServerResponse(told) => match told.error() {
                DeviceCodeErrorResponseType::Basic(said) => said_why(said, told.error_description()),
                other => NoToken::Refused { reason: format!("it was not allowed: {other}") },
            },
            RequestTokenError::Request(trouble) => trouble.into(),
            other => NoToken::later(other.to_string(), End::Error),
        });
        answer.map(|told| self.as_granted(&told)).map_err(|error| hidden(error, with))
    }

    fn client(&self, with: &With<'_>) -> Result<Client, RequestError> {
        let (given, whose) = match self.declared.client {
            Whose::Operator => (with.context.operator, "the operator"),
            Whose::Connection => (&with.context.connection.secrets, "the connection"),
        };
        let find = |name: &str| {
            let missing = || RequestError::NoClient { whose, name: name.to_owned() };
            given.get(name).map(|found| found.expose_secret().to_owned()).ok_or_else(missing)
        };
        let id = self.declared.client_id.clone().map_or_else(|| find(CLIENT[0]), Ok)?;
        let url = self.url(with, "token_url")?;
        let unusable =
            |error: oauth2::url::ParseError| RequestError::Url { url: url.clone(), why: error.to_string() };
        let token_url = TokenUrl::new(url.clone()).map_err(unusable)?;
        let client = BasicClient::new(ClientId::new(id)).set_token_uri(token_url);
        Ok(match self.declared.client_auth {
            ClientAuth::Basic => client.set_client_secret(ClientSecret::new(find(CLIENT[1])?)),
            ClientAuth::Body => client
                .set_client_secret(ClientSecret::new(find(CLIENT[1])?))
                .set_auth_type(AuthType::RequestBody),
            ClientAuth::None => client.set_auth_type(AuthType::RequestBody),
        })
    }

    fn url(&self, with: &With<'_>, name: &str) -> Result<String, RequestError> {
        self.urls.render(Kind::Plain, name, &with.context.public_values())
    }

    fn carrier<'a>(&'a self, wire: &'a Wire, with: &'a With<'a>) -> Carrier<'a> {
        Carrier {
            wire,
            headers: &with.preparer.headers,
            answer: self.answer.as_ref(),
            off_runtime: with.off_runtime,
            now: with.context.now,
        }
    }

    fn granted(
        &self,
        answer: Result<BasicTokenResponse, BasicRequestTokenError<Trouble>>,
        with: &With<'_>,
    ) -> Result<Granted, NoToken> {
        answer.map(|told| self.as_granted(&told)).map_err(|error| hidden(why(error), with))
    }

    fn as_granted(&self, told: &BasicTokenResponse) -> Granted {
        let lifetime = told.expires_in().map(|life| i64::try_from(life.as_millis()).unwrap_or(i64::MAX));
        let default = || self.declared.lifetime_default.map(|life| life.as_ms().cast_signed());
        Granted {
            access: told.access_token().secret().clone().into(),
            refresh: told.refresh_token().map(|token| token.secret().clone().into()),
            lifetime_ms: lifetime.or_else(default),
        }
    }
}

/// Sends what the library makes, and brings what it understands.
struct Carrier<'a> {
    wire: &'a Wire,
    headers: &'a HeaderMap,
    answer: Option<&'a Program>,
    off_runtime: &'a OffRuntime,
    now: UnixMs,
}

impl<'c> AsyncHttpClient<'c> for Carrier<'_> {
    type Error = Trouble;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Trouble>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.carry(request))
    }
}

impl Carrier<'_> {
    async fn carry(&self, asked: HttpRequest) -> Result<HttpResponse, Trouble> {
        let silent = |reason: String, end| Trouble { reason, wait_ms: None, end };
        let url: Url =
            usable(&asked.uri().to_string()).map_err(|error| silent(error.to_string(), End::Unsent))?;
        let mut request = Request::new(asked.method().clone(), url);
        *request.headers_mut() = self.headers.clone();
        for (name, value) in asked.headers() {
            let mut value = value.clone();
            value.set_sensitive(name == AUTHORIZATION);
            request.headers_mut().insert(name, value);
        }
        *request.body_mut() = Some(asked.into_body().into());
        let reply = self.wire.carry(request).await.map_err(|silence| match silence {
            Silence::Unsent(reason) => silent(reason, End::Unsent),
            Silence::Lost(reason) => silent(reason, End::Lost),
        })?;
        // Without a program there is only a short answer to parse.
        let is_light = self.answer.is_none();
        self.off_runtime.run(is_light, || token_answer::understood(&reply, self.answer, self.now)).await
    }
}

fn unmakable(error: RequestError) -> NoToken {
    NoToken::later(error.to_string(), End::Unsent)
}

fn bad_url(error: oauth2::url::ParseError) -> NoToken {
    NoToken::later(format!("a URL of auth.oauth2, or the way back, is none: {error}"), End::Unsent)
}

/// Later, or never without the owner: what the provider said decides (RFC 6749, 5.2).
fn why(error: BasicRequestTokenError<Trouble>) -> NoToken {
    match error {
        RequestTokenError::ServerResponse(told) => said_why(told.error(), told.error_description()),
        RequestTokenError::Request(trouble) => trouble.into(),
        RequestTokenError::Parse(_, body) => {
            NoToken::later(format!("the answer brings no token: {}", shape_of(&body)), End::Error)
        }
        RequestTokenError::Other(reason) => NoToken::later(reason, End::Error),
    }
}

fn said_why(said: &Said, description: Option<&String>) -> NoToken {
    let described = description.map(|text| format!(" ({text})")).unwrap_or_default();
    let word = said.as_ref();
    match said {
        Said::InvalidGrant => {
            NoToken::Refused { reason: format!("what it was allowed ended: {word}{described}") }
        }
        Said::Extension(word)
            if ["access_denied", "expired_token", "consent_required"].contains(&word.as_str()) =>
        {
            NoToken::Refused { reason: format!("it is not allowed: {word}{described}") }
        }
        Said::InvalidClient | Said::UnauthorizedClient => {
            let reason = format!("the cloud does not accept the client's id or secret: {word}{described}");
            NoToken::later(reason, End::Error)
        }
        _ => NoToken::later(format!("the cloud gives no token: {word}{described}"), End::Error),
    }
}

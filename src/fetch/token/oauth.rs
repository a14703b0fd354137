//! OAuth 2.0. Requests are sent like the provider's calls: same egress guard, same bounds.

use super::token_context::{self, TokenContext, redacted};
use super::token_response::{self, TokenFailure, shape_of};
use crate::fetch::jq::{OffRuntime, Program};
use crate::fetch::request::{Kind, RequestError, Templates, parse_url};
use crate::fetch::trace::Trace;
use crate::fetch::wire::{NoResponse, Wire};
use crate::provider::{CLIENT, ClientAuth, Flow, OAuth2 as Declared, Whose};
use crate::words::{End, Granted, NoToken, UnixMs};
use oauth2::basic::{
    BasicClient, BasicErrorResponseType as ErrorCode, BasicRequestTokenError, BasicTokenResponse,
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
use std::sync::Mutex;
use std::time::Duration;

/// A declared OAuth 2.0 flow, compiled.
pub(crate) struct OAuth {
    declared: Declared,
    urls: Templates,
    normaliser: Option<Program>,
}

/// A request to the account's owner to authorize a connection.
#[derive(Debug)]
pub struct AuthorizationRequest {
    /// Where the owner's browser must go.
    pub url: String,
    /// The `state` that the callback must contain.
    pub state: SecretString,
    /// The PKCE verifier, if the provider uses PKCE.
    pub verifier: Option<SecretString>,
}

/// A code that the owner enters on another device (RFC 8628).
#[derive(Debug)]
pub struct DeviceCode {
    /// Where to enter it.
    pub url: String,
    /// The same, with the code in it.
    pub url_with_code: Option<String>,
    /// The code to enter.
    pub code: String,
    /// How long the code is valid.
    pub lifetime: Duration,
    response: StandardDeviceAuthorizationResponse,
}

/// Where the polls of a device code get permission to be sent.
pub trait Reservations: Sync {
    /// Permission to send one poll.
    type Reserved: Send;
    /// Waits until the quotas let one poll be sent; otherwise the reason, and the poll is tried again later.
    fn reserve(&self) -> impl Future<Output = Result<Self::Reserved, String>> + Send;
    /// Reports how the poll ended.
    fn end(&self, reserved: Self::Reserved, end: End) -> impl Future<Output = ()> + Send;
}

type Client = BasicClient<EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

impl OAuth {
    /// Compiles URLs and the program. Errors have their position in the file.
    pub(crate) fn compile(declared: &Declared) -> Result<Self, Vec<(Range<usize>, String)>> {
        let (mut urls, mut errors) = (Templates::new(), Vec::new());
        let authorize = declared.authorize_url.as_ref().map(|url| ("authorize_url", url));
        for (name, url) in declared.urls().chain(authorize) {
            urls.add((Kind::Plain, name.to_owned()), url.get_ref(), url.span(), &mut errors);
        }
        let normaliser = declared
            .answer
            .as_ref()
            .and_then(|text| Program::read(text).map_err(|error| errors.push(error)).ok());
        if errors.is_empty() {
            Ok(Self { declared: declared.clone(), urls, normaliser })
        } else {
            Err(errors)
        }
    }

    /// Requests the next token: with the refresh token, or with the client's own credentials.
    pub(crate) async fn renew(&self, wire: &Wire, context: &TokenContext<'_>) -> Result<Granted, NoToken> {
        let client = self.client(context).map_err(unsendable)?;
        let params = self.declared.token_params.iter();
        let http = self.transport(wire, context);
        let response = if self.declared.flow == Flow::Client {
            let scopes = self.declared.scopes.iter().cloned().map(Scope::new);
            let request = client.exchange_client_credentials().add_scopes(scopes);
            params
                .fold(request, |request, (name, value)| request.add_extra_param(name, value))
                .request_async(&http)
                .await
        } else {
            let refresh = context.render.connection.token.as_ref().and_then(|token| token.refresh.as_ref());
            let Some(refresh) = refresh else {
                let reason = "not authorised yet: its owner must do that".to_owned();
                return Err(NoToken::Refused { reason });
            };
            let refresh = RefreshToken::new(refresh.expose_secret().to_owned());
            let request = client.exchange_refresh_token(&refresh);
            params
                .fold(request, |request, (name, value)| request.add_extra_param(name, value))
                .request_async(&http)
                .await
        };
        self.granted(response, context)
    }

    /// Builds the request that leads the owner back to `redirect_url`.
    pub(crate) fn authorization_request(
        &self,
        context: &TokenContext<'_>,
        redirect_url: &str,
    ) -> Result<AuthorizationRequest, NoToken> {
        let url = AuthUrl::new(self.url(context, "authorize_url").map_err(unsendable)?).map_err(bad_url)?;
        let client = self.client(context).map_err(unsendable)?.set_auth_uri(url);
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

    /// Exchanges the callback's code for the first token.
    pub(crate) async fn exchange(
        &self,
        wire: &Wire,
        context: &TokenContext<'_>,
        code: &SecretString,
        verifier: Option<&SecretString>,
        redirect_url: &str,
    ) -> Result<Granted, NoToken> {
        let client = self.client(context).map_err(unsendable)?;
        let redirect = RedirectUrl::new(redirect_url.to_owned()).map_err(bad_url)?;
        let mut request = client.exchange_code(AuthorizationCode::new(code.expose_secret().to_owned()));
        request = request.set_redirect_uri(Cow::Owned(redirect));
        if let Some(verifier) = verifier {
            request = request.set_pkce_verifier(PkceCodeVerifier::new(verifier.expose_secret().to_owned()));
        }
        for (name, value) in &self.declared.token_params {
            request = request.add_extra_param(name, value);
        }
        let http = self.transport(wire, context);
        let response = request.request_async(&http).await;
        self.granted(response, context)
    }

    /// Requests a code for the owner to enter.
    pub(crate) async fn device_code(
        &self,
        wire: &Wire,
        context: &TokenContext<'_>,
    ) -> Result<DeviceCode, NoToken> {
        let url = self.url(context, "device_url").map_err(unsendable)?;
        let url = DeviceAuthorizationUrl::new(url).map_err(bad_url)?;
        let client = self.client(context).map_err(unsendable)?.set_device_authorization_url(url);
        let scopes = self.declared.scopes.iter().cloned().map(Scope::new);
        let http = self.transport(wire, context);
        let response: Result<StandardDeviceAuthorizationResponse, _> =
            client.exchange_device_code().add_scopes(scopes).request_async(&http).await;
        let response = response.map_err(|error| redacted(token_error(error), context))?;
        Ok(DeviceCode {
            url: response.verification_uri().to_string(),
            url_with_code: response.verification_uri_complete().map(|url| url.secret().clone()),
            code: response.user_code().secret().clone(),
            lifetime: response.expires_in(),
            response,
        })
    }

    /// Waits until the owner has entered the code, and returns the first token. Polls as often as the provider says,
    /// and no poll is sent without a reservation.
    pub(crate) async fn device_token(
        &self,
        wire: &Wire,
        context: &TokenContext<'_>,
        code: &DeviceCode,
        now: impl Fn() -> UnixMs + Send + Sync,
        reservations: &impl Reservations,
    ) -> Result<Granted, NoToken> {
        let client = self.client(context).map_err(unsendable)?;
        let http = ReservingTransport { transport: self.transport(wire, context), reservations };
        let request =
            client.exchange_device_access_token(&code.response).set_time_fn(move || now().to_datetime());
        let response = request.request_async(&http, tokio::time::sleep, Some(code.lifetime)).await;
        let response = response.map_err(|error| match error {
            RequestTokenError::ServerResponse(response) => match response.error() {
                DeviceCodeErrorResponseType::Basic(code) => {
                    error_from_code(code, response.error_description())
                }
                other => NoToken::Refused { reason: format!("the authorization was not granted: {other}") },
            },
            RequestTokenError::Request(failure) => failure.into(),
            other => NoToken::later(other.to_string(), End::Error),
        });
        response.map(|token| self.granted_from(&token)).map_err(|error| redacted(error, context))
    }

    fn client(&self, context: &TokenContext<'_>) -> Result<Client, RequestError> {
        let (secrets, owner) = match self.declared.client {
            Whose::Operator => (context.render.operator, "the operator"),
            Whose::Connection => (&context.render.connection.secrets, "the connection"),
        };
        let find = |name: &str| {
            let missing = || RequestError::NoClient { owner, name: name.to_owned() };
            secrets.get(name).map(|found| found.expose_secret().to_owned()).ok_or_else(missing)
        };
        let id = self.declared.client_id.clone().map_or_else(|| find(CLIENT[0]), Ok)?;
        let url = self.url(context, "token_url")?;
        let unusable = |error: oauth2::url::ParseError| RequestError::Url {
            url: url.clone(),
            reason: error.to_string(),
        };
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

    fn url(&self, context: &TokenContext<'_>, name: &str) -> Result<String, RequestError> {
        self.urls.render(Kind::Plain, name, &context.render.public_values())
    }

    fn transport<'a>(&'a self, wire: &'a Wire, context: &'a TokenContext<'a>) -> HttpTransport<'a> {
        HttpTransport {
            wire,
            headers: &context.preparer.headers,
            normaliser: self.normaliser.as_ref(),
            off_runtime: context.off_runtime,
            now: context.render.now,
            timeout: context.timeout,
            trace: context.trace,
        }
    }

    fn granted(
        &self,
        response: Result<BasicTokenResponse, BasicRequestTokenError<TokenFailure>>,
        context: &TokenContext<'_>,
    ) -> Result<Granted, NoToken> {
        response.map(|token| self.granted_from(&token)).map_err(|error| redacted(token_error(error), context))
    }

    fn granted_from(&self, response: &BasicTokenResponse) -> Granted {
        let lifetime = response.expires_in().map(|life| i64::try_from(life.as_millis()).unwrap_or(i64::MAX));
        let default = || self.declared.lifetime_default.map(|life| life.as_ms().cast_signed());
        Granted {
            access: response.access_token().secret().clone().into(),
            refresh: response.refresh_token().map(|token| token.secret().clone().into()),
            lifetime_ms: lifetime.or_else(default),
        }
    }
}

/// Sends the OAuth library's requests over the provider's wire, and normalises the responses.
struct HttpTransport<'a> {
    wire: &'a Wire,
    headers: &'a HeaderMap,
    normaliser: Option<&'a Program>,
    off_runtime: &'a OffRuntime,
    now: UnixMs,
    timeout: Duration,
    trace: Option<&'a Mutex<Trace>>,
}

impl<'c> AsyncHttpClient<'c> for HttpTransport<'_> {
    type Error = TokenFailure;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, TokenFailure>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

/// Sends each request under a reservation of its own.
struct ReservingTransport<'a, R> {
    transport: HttpTransport<'a>,
    reservations: &'a R,
}

impl<'c, R: Reservations> AsyncHttpClient<'c> for ReservingTransport<'_, R> {
    type Error = TokenFailure;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, TokenFailure>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let unsent = |reason| TokenFailure { reason, wait_ms: None, end: End::Unsent };
            let reserved = self.reservations.reserve().await.map_err(unsent)?;
            let response = self.transport.send(request).await;
            let end = response.as_ref().map_or_else(|failure| failure.end, |_| End::Good);
            self.reservations.end(reserved, end).await;
            response
        })
    }
}

impl HttpTransport<'_> {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TokenFailure> {
        let failure = |reason: String, end| TokenFailure { reason, wait_ms: None, end };
        let url: Url =
            parse_url(&request.uri().to_string()).map_err(|error| failure(error.to_string(), End::Unsent))?;
        let mut sent = Request::new(request.method().clone(), url);
        *sent.timeout_mut() = Some(self.timeout);
        *sent.headers_mut() = self.headers.clone();
        for (name, value) in request.headers() {
            let mut value = value.clone();
            value.set_sensitive(name == AUTHORIZATION);
            sent.headers_mut().insert(name, value);
        }
        *sent.body_mut() = Some(request.into_body().into());
        let response =
            token_context::send(self.wire, sent, self.trace).await.map_err(|error| match error {
                NoResponse::Unsent(reason) => failure(reason, End::Unsent),
                NoResponse::Lost(reason) => failure(reason, End::Lost),
            })?;
        // Without a program, only a short body is parsed.
        let is_light = self.normaliser.is_none();
        self.off_runtime
            .run(is_light, || token_response::normalise(&response, self.normaliser, self.now))
            .await
    }
}

fn unsendable(error: RequestError) -> NoToken {
    NoToken::later(error.to_string(), End::Unsent)
}

fn bad_url(error: oauth2::url::ParseError) -> NoToken {
    NoToken::later(format!("a URL of auth.oauth2, or the redirect URL, is not a URL: {error}"), End::Unsent)
}

/// Temporary, or refused until the owner authorizes again: by the response's error code (RFC 6749, 5.2).
fn token_error(error: BasicRequestTokenError<TokenFailure>) -> NoToken {
    match error {
        RequestTokenError::ServerResponse(response) => {
            error_from_code(response.error(), response.error_description())
        }
        RequestTokenError::Request(failure) => failure.into(),
        RequestTokenError::Parse(_, body) => {
            NoToken::later(format!("the response contains no token: {}", shape_of(&body)), End::Error)
        }
        RequestTokenError::Other(reason) => NoToken::later(reason, End::Error),
    }
}

fn error_from_code(code: &ErrorCode, description: Option<&String>) -> NoToken {
    let described = description.map(|text| format!(" ({text})")).unwrap_or_default();
    let name = code.as_ref();
    match code {
        ErrorCode::InvalidGrant => {
            NoToken::Refused { reason: format!("the authorization has ended: {name}{described}") }
        }
        ErrorCode::Extension(extension)
            if ["access_denied", "expired_token", "consent_required"].contains(&extension.as_str()) =>
        {
            NoToken::Refused { reason: format!("the authorization was not granted: {name}{described}") }
        }
        ErrorCode::InvalidClient | ErrorCode::UnauthorizedClient => {
            let reason = format!("the cloud does not accept the client's id or secret: {name}{described}");
            NoToken::later(reason, End::Error)
        }
        _ => NoToken::later(format!("the cloud refused a token: {name}{described}"), End::Error),
    }
}

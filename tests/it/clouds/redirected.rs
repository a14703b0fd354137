//! A shipped definition whose hosts are replaced by mock servers, one for each; nothing else is changed.

use paceline::fetch::cases::{CaseResponse, ExpectedRequest};
use paceline::provider::{Fixtures, Provider};
use paceline::words::{ProviderName, UnixMs};
use reqwest::{Request, Url};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use wiremock::matchers::{any, path};
use wiremock::{Mock, MockServer, Respond, ResponseTemplate};

/// The keys of a definition that contain URLs.
const URL_KEYS: [&str; 5] = ["base_url", "url", "authorize_url", "device_url", "token_url"];

type Values = BTreeMap<String, String>;

/// The definition, and the mock servers of its hosts.
pub struct RedirectedProvider {
    pub provider: Arc<Provider>,
    /// The connection's params, with URLs replaced likewise.
    pub params: Values,
    bootstrap: Values,
    /// The original origin of each mock server.
    servers: Vec<(String, MockServer)>,
}

/// Responds in this order, and from the last one on always with that.
struct Sequence(Vec<ResponseTemplate>, AtomicUsize);

impl Respond for Sequence {
    fn respond(&self, _: &wiremock::Request) -> ResponseTemplate {
        let index = self.1.fetch_add(1, Ordering::SeqCst).min(self.0.len() - 1);
        self.0[index].clone()
    }
}

impl RedirectedProvider {
    /// A copy of a shipped definition under another name, for a connection with these params and bootstrap values.
    pub async fn new(name: &str, shipped: &Provider, params: &Values, bootstrap: &Values) -> Self {
        let mut params = params.clone();
        for (name, param) in &shipped.definition.params {
            // A case may omit params that do not appear in its requests.
            if param.get_ref().default.is_none() {
                params.entry(name.clone()).or_insert_with(|| "any".to_owned());
            }
        }
        let name: ProviderName = name.parse().unwrap();
        let provider = Arc::new(shipped.clone());
        let mut redirected = Self { provider, params, bootstrap: bootstrap.clone(), servers: Vec::new() };
        let mut text = String::new();
        for line in allow_localhost(&shipped.text).lines() {
            let key = line.split([' ', '=']).next().unwrap_or_default();
            let value = line.split('"').nth(1).filter(|_| URL_KEYS.contains(&key));
            match value {
                Some(value) => text += &line.replacen(value, &redirected.redirect(value).await, 1),
                None => text += line,
            }
            text += "\n";
        }
        let file = format!("{name}.toml");
        let provider = Provider::parse(name, &file, &text);
        redirected.provider = Arc::new(provider.unwrap_or_else(|error| panic!("{error}\n{text}")));
        redirected
    }

    /// Replaces each origin in a URL template by that of a mock server: a template may choose between several URLs.
    async fn redirect(&mut self, value: &str) -> String {
        let (mut redirected, mut rest) = (String::new(), value);
        while let Some((before, url)) = rest.split_once("https://") {
            let end = ["/", "{%"].iter().filter_map(|end| url.find(end)).min().unwrap_or(url.len());
            let (authority, after) = url.split_at(end);
            let params = self.provider.with_defaults(self.params.clone());
            let values = minijinja::context! { params, bootstrap => self.bootstrap.clone() };
            let host = minijinja::Environment::new().render_str(authority, values).unwrap();
            redirected += before;
            redirected += &self.server(&format!("https://{host}")).await;
            rest = after;
        }
        if !redirected.is_empty() {
            return redirected + rest;
        }
        if let Some((name, _)) = value.strip_prefix("{{ params.").and_then(|rest| rest.split_once(" }}")) {
            let url: Url = self.params[name].parse().unwrap();
            let mock = self.server(&url.origin().ascii_serialization()).await;
            self.params.insert(name.to_owned(), mock + url.path().trim_end_matches('/'));
        }
        value.to_owned()
    }

    async fn server(&mut self, origin: &str) -> String {
        if let Some((_, server)) = self.servers.iter().find(|(known, _)| known == origin) {
            return server.uri();
        }
        let server = MockServer::start().await;
        let uri = server.uri();
        self.servers.push((origin.to_owned(), server));
        uri
    }

    /// Makes all its servers give these responses, one after the other.
    pub async fn respond<'a>(
        &self,
        responses: impl Iterator<Item = &'a CaseResponse>,
        fixtures: &Fixtures,
        now: UnixMs,
    ) {
        let templates: Vec<_> = responses.map(|it| self.template(it, fixtures, now)).collect();
        for (_, server) in &self.servers {
            let sequence = Sequence(templates.clone(), AtomicUsize::new(0));
            Mock::given(any()).respond_with(sequence).mount(server).await;
        }
    }

    /// Makes all its servers give this response to token requests, with priority over other responses.
    pub async fn respond_to_token_requests(
        &self,
        request: &ExpectedRequest,
        response: &CaseResponse,
        fixtures: &Fixtures,
        now: UnixMs,
    ) {
        let token_path = request.path.as_deref().expect("the path of the token request");
        for (_, server) in &self.servers {
            let mock = Mock::given(path(token_path)).respond_with(self.template(response, fixtures, now));
            mock.with_priority(1).mount(server).await;
        }
    }

    fn template(&self, response: &CaseResponse, fixtures: &Fixtures, now: UnixMs) -> ResponseTemplate {
        let (status, headers, body) = response.parts(fixtures, now).unwrap();
        // Links in bodies must lead to the mock servers too.
        let body = match String::from_utf8(body) {
            Ok(text) => self
                .servers
                .iter()
                .fold(text, |text, (origin, server)| text.replace(origin, &server.uri()))
                .into(),
            Err(error) => error.into_bytes(),
        };
        headers.iter().fold(ResponseTemplate::new(status).set_body_bytes(body), |template, (name, value)| {
            template.insert_header(name, value)
        })
    }

    /// The requests received, as the provider itself would have received them.
    pub async fn requests(&self) -> Vec<Request> {
        let mut requests = Vec::new();
        for (origin, server) in &self.servers {
            for request in server.received_requests().await.unwrap() {
                let query = request.url.query().map(|query| format!("?{query}")).unwrap_or_default();
                let url = format!("{origin}{}{query}", request.url.path());
                let mut original = Request::new(request.method, url.parse().unwrap());
                *original.headers_mut() = request.headers;
                *original.body_mut() = Some(request.body.into());
                requests.push(original);
            }
        }
        requests
    }
}

/// Replaces the `hosts` of a definition by this machine.
fn allow_localhost(text: &str) -> String {
    let Some(at) = text.find("\nhosts = [") else { return text.to_owned() };
    // The list is on one line, or ends on a line of its own.
    let closing = if text[at + 1..].starts_with("hosts = [\"") { "]" } else { "\n]" };
    let end = at + text[at..].find(closing).expect("the end of `hosts`") + closing.len();
    format!("{}\nhosts = [\"127.0.0.1\"]{}", &text[..at], &text[end..])
}

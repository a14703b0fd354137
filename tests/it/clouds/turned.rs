//! A shipped definition whose hosts are servers of ours, one for each of them; nothing else of it is changed.

use paceline::fetch::cases::{Asked, Said};
use paceline::provider::{Fixtures, Provider};
use paceline::words::{ProviderName, UnixMs};
use reqwest::{Request, Url};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use wiremock::matchers::{any, path};
use wiremock::{Mock, MockServer, Respond, ResponseTemplate};

/// The keys that say where calls go.
const PLACES: [&str; 5] = ["base_url", "url", "authorize_url", "device_url", "token_url"];

type Named = BTreeMap<String, String>;

/// The definition, and where its hosts have gone.
pub struct Turned {
    pub provider: Arc<Provider>,
    /// Of the connection, turned likewise where they are URLs.
    pub params: Named,
    bootstrap: Named,
    /// What a cloud's origin was, and who stands for it.
    servers: Vec<(String, MockServer)>,
}

/// Answers in their order, the last one from then on.
struct InTurn(Vec<ResponseTemplate>, AtomicUsize);

impl Respond for InTurn {
    fn respond(&self, _: &wiremock::Request) -> ResponseTemplate {
        let turn = self.1.fetch_add(1, Ordering::SeqCst).min(self.0.len() - 1);
        self.0[turn].clone()
    }
}

impl Turned {
    /// Under a name of its own, for a connection with these params and what was learned of its account.
    pub async fn new(name: &str, shipped: &Provider, params: &Named, bootstrap: &Named) -> Self {
        let mut params = params.clone();
        for (name, param) in &shipped.definition.params {
            // A case may leave out what its requests do not show.
            if param.get_ref().default.is_none() {
                params.entry(name.clone()).or_insert_with(|| "any".to_owned());
            }
        }
        let name: ProviderName = name.parse().unwrap();
        let provider = Arc::new(shipped.clone());
        let mut turned = Self { provider, params, bootstrap: bootstrap.clone(), servers: Vec::new() };
        let mut text = String::new();
        for line in with_our_host(&shipped.text).lines() {
            let key = line.split([' ', '=']).next().unwrap_or_default();
            let value = line.split('"').nth(1).filter(|_| PLACES.contains(&key));
            match value {
                Some(value) => text += &line.replacen(value, &turned.turn(value).await, 1),
                None => text += line,
            }
            text += "\n";
        }
        let file = format!("{name}.toml");
        let provider = Provider::parse(name, &file, &text);
        turned.provider = Arc::new(provider.unwrap_or_else(|error| panic!("{error}\n{text}")));
        turned
    }

    /// A URL's template, leading to a server of ours.
    async fn turn(&mut self, value: &str) -> String {
        if let Some(rest) = value.strip_prefix("https://") {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let params = self.provider.with_defaults(self.params.clone());
            let values = minijinja::context! { params, bootstrap => self.bootstrap.clone() };
            let host = minijinja::Environment::new().render_str(authority, values).unwrap();
            return self.server(&format!("https://{host}")).await + path;
        }
        if let Some((name, _)) = value.strip_prefix("{{ params.").and_then(|rest| rest.split_once(" }}")) {
            let url: Url = self.params[name].parse().unwrap();
            let ours = self.server(&url.origin().ascii_serialization()).await;
            self.params.insert(name.to_owned(), ours + url.path().trim_end_matches('/'));
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

    /// Every one of its servers answers so, one answer after the other.
    pub async fn answer<'a>(&self, said: impl Iterator<Item = &'a Said>, fixtures: &Fixtures, now: UnixMs) {
        let answers: Vec<_> = said.map(|said| self.template(said, fixtures, now)).collect();
        for (_, server) in &self.servers {
            let answers = InTurn(answers.clone(), AtomicUsize::new(0));
            Mock::given(any()).respond_with(answers).mount(server).await;
        }
    }

    /// Whoever asks for a token is answered so, whatever else is answered.
    pub async fn answer_token(&self, asked: &Asked, said: &Said, fixtures: &Fixtures, now: UnixMs) {
        let at = asked.path.as_deref().expect("the path of a token's request");
        for (_, server) in &self.servers {
            let answer = Mock::given(path(at)).respond_with(self.template(said, fixtures, now));
            answer.with_priority(1).mount(server).await;
        }
    }

    fn template(&self, said: &Said, fixtures: &Fixtures, now: UnixMs) -> ResponseTemplate {
        let (status, headers, body) = said.parts(fixtures, now).unwrap();
        // Links lead to where the requests go.
        let body = match String::from_utf8(body) {
            Ok(text) => self.servers.iter().fold(text, |text, (of, to)| text.replace(of, &to.uri())).into(),
            Err(error) => error.into_bytes(),
        };
        headers.iter().fold(ResponseTemplate::new(status).set_body_bytes(body), |template, (name, value)| {
            template.insert_header(name, value)
        })
    }

    /// What was asked, as the cloud itself would have seen it.
    pub async fn asked(&self) -> Vec<Request> {
        let mut asked = Vec::new();
        for (origin, server) in &self.servers {
            for request in server.received_requests().await.unwrap() {
                let query = request.url.query().map(|query| format!("?{query}")).unwrap_or_default();
                let url = format!("{origin}{}{query}", request.url.path());
                let mut seen = Request::new(request.method, url.parse().unwrap());
                *seen.headers_mut() = request.headers;
                *seen.body_mut() = Some(request.body.into());
                asked.push(seen);
            }
        }
        asked
    }
}

/// The text of a definition that calls nobody but this machine.
fn with_our_host(text: &str) -> String {
    let Some(at) = text.find("\nhosts = [") else { return text.to_owned() };
    // In one line, or with a line of its own for its end.
    let whole = if text[at + 1..].starts_with("hosts = [\"") { "]" } else { "\n]" };
    let end = at + text[at..].find(whole).expect("the end of the hosts") + whole.len();
    format!("{}\nhosts = [\"127.0.0.1\"]{}", &text[..at], &text[end..])
}

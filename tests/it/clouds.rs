//! Every shipped definition against what its cloud answers: `fixtures/providers/<name>/cases.toml` says what is asked,
//! what comes back and what it must come to. The cloud is a wiremock server; the call is the real one.

use paceline::fetch::{Answer, Call, Fetcher, Reach, Target};
use paceline::provider::{Provider, Registry};
use paceline::words::{
    Connection, ConnectionId, DeviceId, Interval, JobId, Outcome, ResourceName, Scope, TenantId, UnixMs,
};
use secrecy::SecretString;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

const SECRET: &str = "s3cret/with \"signs\"";
/// Thu, 01 Jan 2026 00:00:00 GMT: what the fixtures' clocks are around.
const NOW: UnixMs = UnixMs(1_767_225_600_000);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    resource: ResourceName,
    #[serde(default)]
    params: BTreeMap<String, String>,
    devices: Vec<String>,
    #[serde(default)]
    request: Option<Asked>,
    answer: Said,
    expect: Expected,
}

/// What the request must be; what is not named may be anything.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    method: String,
    path: String,
    #[serde(default)]
    query: BTreeMap<String, String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    json: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    file: Option<String>,
}

/// What the first device's outcome must be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    outcome: String,
    #[serde(default)]
    online: Option<bool>,
    #[serde(default)]
    values: Option<serde_json::Map<String, serde_json::Value>>,
    #[serde(default)]
    observed_at: Option<chrono::DateTime<chrono::Utc>>,
    #[serde(default)]
    scope: Option<Scope>,
    #[serde(default)]
    wait: Option<Interval>,
}

fn root(under: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(under)
}

fn provider(name: &str, base_url: &str) -> Provider {
    let file = root("config/providers").join(name).with_extension("toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let mut provider = Provider::parse(name.parse().unwrap(), &file.display().to_string(), &text).unwrap();
    let url = &mut provider.definition.http.base_url;
    *url = toml::Spanned::new(url.span(), base_url.to_owned());
    provider.definition.http.hosts.clear();
    provider
}

impl Case {
    fn call(&self, provider: &Provider) -> Call {
        let target = |(n, external_id): (usize, &String)| Target {
            job: JobId(n as i64),
            device: DeviceId(n as i64),
            external_id: external_id.clone(),
            group: String::new(),
        };
        let has_secret = provider.check_secret(true).is_ok();
        Call {
            connection: Arc::new(Connection {
                id: ConnectionId(1),
                tenant: TenantId(1),
                provider: provider.name.clone(),
                params: self.params.clone(),
                secret: has_secret.then(|| SecretString::from(SECRET)),
            }),
            resource: self.resource.clone(),
            targets: self.devices.iter().enumerate().map(target).collect(),
        }
    }

    fn answer(&self, dir: &Path) -> ResponseTemplate {
        let Some(name) = &self.answer.file else {
            return self.with_headers(ResponseTemplate::new(self.answer.status));
        };
        let body = std::fs::read(dir.join(name)).unwrap();
        let kind = if name.ends_with("json") { "application/json" } else { "text/plain" };
        self.with_headers(ResponseTemplate::new(self.answer.status).set_body_raw(body, kind))
    }

    fn with_headers(&self, template: ResponseTemplate) -> ResponseTemplate {
        let headers = self.answer.headers.iter();
        // The cloud's clock is right; waits that are instants count from it.
        let template = template.insert_header("date", "Thu, 01 Jan 2026 00:00:00 GMT");
        headers.fold(template, |t, (name, value)| t.insert_header(name.as_str(), value.as_str()))
    }

    fn check(&self, answer: &Answer) {
        let outcome = &answer.outcomes[0].1;
        assert_eq!(outcome.word(), self.expect.outcome, "{outcome:?}");
        assert_eq!(answer.outcomes.len(), self.devices.len());
        assert!(!format!("{answer:?}").contains(SECRET), "the secret is told");
        if let Outcome::Fresh(record) = outcome {
            assert_eq!(Some(record.online), self.expect.online);
            assert_eq!(Some(&record.values), self.expect.values.as_ref());
            let observed_at = self.expect.observed_at.map(|at| UnixMs(at.timestamp_millis()));
            assert_eq!(record.observed_at, observed_at);
        }
        let holds: Vec<_> =
            answer.holds.iter().map(|(hold, _)| (hold.scope, hold.until.since_ms(NOW) as u64)).collect();
        let expected = self.expect.scope.zip(self.expect.wait).map(|(scope, wait)| (scope, wait.as_ms()));
        assert_eq!(holds, expected.into_iter().collect::<Vec<_>>());
    }
}

impl Asked {
    fn check(&self, sent: &wiremock::Request) {
        assert_eq!(sent.method.as_str(), self.method);
        assert_eq!(sent.url.path(), self.path);
        let query: BTreeMap<_, _> = sent.url.query_pairs().collect();
        for (name, value) in &self.query {
            let value = value.replace("{secret}", SECRET);
            assert_eq!(query.get(name.as_str()).map(AsRef::as_ref), Some(value.as_str()), "query {name}");
        }
        for (name, value) in &self.headers {
            let value = value.replace("{secret}", SECRET);
            let found = sent.headers.get(name.as_str()).map(|v| v.to_str().unwrap());
            assert_eq!(found, Some(value.as_str()), "header {name}");
        }
        if let Some(json) = &self.json {
            let found: serde_json::Value = serde_json::from_slice(&sent.body).expect("a JSON body");
            for (key, value) in json.as_object().unwrap() {
                assert_eq!(&found[key], value, "body key {key}");
            }
        }
    }
}

async fn run(name: &str, dir: &Path, case: &Case) {
    let cloud = MockServer::start().await;
    Mock::given(matchers::any()).respond_with(case.answer(dir)).expect(1).mount(&cloud).await;
    let provider = provider(name, &cloud.uri());
    let call = case.call(&provider);
    let answer = Fetcher::new(Arc::new(provider), Reach::Private).unwrap().fetch(&call, NOW).await;
    case.check(&answer);
    if let Some(asked) = &case.request {
        asked.check(&cloud.received_requests().await.unwrap()[0]);
    }
}

#[tokio::test]
async fn every_case_of_every_cloud_comes_to_what_it_says() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut clouds = Vec::new();
    for entry in std::fs::read_dir(root("fixtures/providers")).unwrap() {
        let dir = entry.unwrap().path();
        let Ok(text) = std::fs::read_to_string(dir.join("cases.toml")) else { continue };
        let name = dir.file_name().unwrap().to_str().unwrap().to_owned();
        let cases: Cases = toml::from_str(&text).unwrap_or_else(|error| panic!("{name}/cases.toml: {error}"));
        assert!(cases.case.iter().any(|case| case.request.is_some()), "{name}: no case looks at the request");
        for case in &cases.case {
            // Shown where the case fails: the harness hides it otherwise.
            println!("{name}: {}", case.name);
            run(&name, &dir, case).await;
        }
        clouds.push(name);
    }
    // Both meet a server of their own: the simulator, and recorded answers in `providers.rs`.
    clouds.extend(["meadow".to_owned(), "signalk".to_owned()]);
    clouds.sort();
    let shipped: Vec<_> = Registry::load(None).unwrap().iter().map(|p| p.name.to_string()).collect();
    assert_eq!(clouds, shipped, "each shipped definition has cases");
}

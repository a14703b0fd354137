//! Fuzz targets: everything that is read from a cloud. A target takes any bytes, and panics if the result is invalid.
//! `fuzz_targets/` passes them to libFuzzer (`scripts/fuzz`); `tests/it/fuzz.rs` runs some hundreds of inputs in every
//! test run.

use paceline::fetch::{Call, CallResult, Fetcher, Target};
use paceline::provider::{Fixtures, Provider, Registry};
use paceline::words::{
    Connection, ConnectionId, ConnectionState, DeviceId, JobId, Outcome, Record, ResourceName, Secrets,
    TenantId, UnixMs,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

/// Name and function.
pub type FuzzTarget = (&'static str, fn(&[u8]));

/// Name and value.
type Header<'a> = (&'a [u8], &'a [u8]);

/// All targets.
pub const TARGETS: [FuzzTarget; 3] = [("mapping", mapping), ("rate_limits", rate_limits), ("waits", waits)];

/// Thu, 01 Jan 2026 00:00:00 GMT.
const NOW: UnixMs = UnixMs(1_767_225_600_000);
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const SECRET: &str = "s3cret/with \"signs\"";

/// A definition with every form of waits and rate limits.
const ALL_FORMS: &str = r#"
title = "All forms"
[http]
base_url = "https://api.example.com"
[[quota]]
name = "minute"
scope = "connection"
amount = 100
window = "1m"
[[quota]]
name = "month"
kind = "aligned"
scope = "app"
amount = 100000
window = "month"
zone = "Europe/Paris"
[[rate_limit]]
quota = "minute"
remaining = "X-RateLimit-Remaining"
reset = "X-RateLimit-Reset"
limit = "X-RateLimit-Limit"
[[rate_limit]]
quota = "minute"
remaining = "Left"
reset = "Reset"
unit = "epoch_ms"
[[rate_limit]]
quota = "month"
policy = "month"
[resource.state]
interval_min = "10s"
interval_default = "1m"
path = "/"
records = "{id: .id, observed_at: .at, online: .online, values: .values}"
[[rule]]
status = [403]
outcome = "throttled"
scope = "app"
wait = { body = ".wait", unit = "ms", floor = "2s", cap = "1h" }
[[rule]]
status = [503]
outcome = "throttled"
scope = "device"
wait = { header = "X-Until", unit = "http_date" }
[[rule]]
status = [420]
outcome = "throttled"
wait = { header = "X-Until", unit = "epoch_s", default = "1d" }
"#;

/// A call and the fetcher that evaluates responses to it.
struct Cloud {
    fetcher: Fetcher,
    call: Call,
}

/// One call for each resource of each shipped definition, for the devices of its cases.
fn clouds() -> &'static [Cloud] {
    static CLOUDS: OnceLock<Vec<Cloud>> = OnceLock::new();
    CLOUDS.get_or_init(|| {
        let shipped = Registry::load(None).expect("the shipped definitions load");
        let all_forms = Provider::parse("all-forms".parse().expect("a name"), "all-forms.toml", ALL_FORMS);
        let all_forms = Arc::new(all_forms.expect("a definition"));
        let providers: Vec<_> = shipped.iter().cloned().chain([all_forms]).collect();
        providers.iter().flat_map(clouds_of).collect()
    })
}

fn clouds_of(provider: &Arc<Provider>) -> Vec<Cloud> {
    let mut ids: BTreeSet<String> = BTreeSet::from(["d0".to_owned(), "d1".to_owned()]);
    let listed = |case: &toml::Value| case.get("devices").cloned()?.try_into::<Vec<String>>().ok();
    ids.extend(cases(provider).iter().filter_map(listed).flatten());
    let connection = Arc::new(Connection {
        id: ConnectionId(1),
        tenant: TenantId(1),
        provider: provider.name.clone(),
        devices: 0,
        params: BTreeMap::new(),
        bootstrap: Default::default(),
        bootstrap_of: None,
        secrets_version: 1,
        state: ConnectionState::Active,
        secrets: Secrets::only(SECRET),
        token: None,
    });
    let target = |(n, external_id): (i64, &String)| Target {
        job: JobId(n),
        device: DeviceId(n),
        external_id: external_id.clone(),
        group: String::new(),
        validator: None,
    };
    let of =
        |(name, resource): (&toml::Spanned<ResourceName>, &toml::Spanned<paceline::provider::Resource>)| {
            Cloud {
                fetcher: Fetcher::offline(provider.clone()).expect("a definition that compiles"),
                call: Call {
                    connection: connection.clone(),
                    resource: name.get_ref().clone(),
                    targets: (1..).zip(&ids).map(target).take(resource.get_ref().places() as usize).collect(),
                },
            }
        };
    provider.definition.resources.iter().map(of).collect()
}

/// The cases of a definition, unparsed.
fn cases(provider: &Provider) -> Vec<toml::Value> {
    let text = Fixtures::of(provider).and_then(|fixtures| fixtures.cases().ok()).map(|(_, text)| text);
    let cases = text.and_then(|text| text.parse::<toml::Table>().ok());
    cases.and_then(|mut cases| cases.remove("case")?.try_into().ok()).unwrap_or_default()
}

/// Any body, as a 200 response to every call.
pub fn mapping(body: &[u8]) {
    for cloud in clouds() {
        assert_valid(cloud, &evaluate(cloud, 200, &[], body));
        let texts = cloud.fetcher.texts_besides_records(body);
        assert!(!texts.iter().any(|text| text.contains('\0')), "text that Postgres cannot hold: {texts:?}");
    }
}

/// Header lines, an empty line, and a body, as a 200 response.
pub fn rate_limits(text: &[u8]) {
    let (headers, body) = headers_of(text);
    for cloud in clouds() {
        assert_valid(cloud, &evaluate(cloud, 200, &headers, body));
    }
}

/// The same input, as error responses.
pub fn waits(text: &[u8]) {
    let (headers, body) = headers_of(text);
    for cloud in clouds() {
        for status in [403, 420, 429, 503] {
            assert_valid(cloud, &evaluate(cloud, status, &headers, body));
        }
    }
}

fn evaluate(cloud: &Cloud, status: u16, headers: &[Header<'_>], body: &[u8]) -> CallResult {
    cloud.fetcher.result_from(&cloud.call, status, headers, body, NOW).expect("a declared resource")
}

fn headers_of(text: &[u8]) -> (Vec<Header<'_>>, &[u8]) {
    let (mut headers, mut rest) = (Vec::new(), text);
    while let Some(end) = rest.iter().position(|b| *b == b'\n') {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        let Some(colon) = line.iter().position(|b| *b == b':') else { break };
        headers.push((&line[..colon], line[colon + 1..].trim_ascii()));
    }
    (headers, rest)
}

/// Asserts what must hold for the result of any response.
fn assert_valid(cloud: &Cloud, result: &CallResult) {
    let jobs: Vec<_> = result.outcomes.iter().map(|(job, _)| *job).collect();
    let expected: Vec<_> = cloud.call.targets.iter().map(|target| target.job).collect();
    assert_eq!(jobs, expected, "one outcome per job");
    for (_, outcome) in &result.outcomes {
        if let Outcome::Fresh(record) = outcome {
            assert_storable(record);
        }
        let detail = outcome.detail();
        assert!(detail.chars().count() <= 500 && !detail.chars().any(char::is_control), "{detail:?}");
        assert!(!detail.contains(SECRET), "a secret is shown");
    }
    result.others.iter().for_each(assert_storable);
    for (hold, _) in &result.holds {
        let wait_ms = hold.until.since_ms(NOW);
        assert!((1_000..=62 * DAY_MS).contains(&wait_ms), "a wait of {wait_ms} ms");
        assert!(!hold.reason.contains(SECRET), "a secret is shown");
    }
}

/// Asserts that a record can be stored as a reading.
fn assert_storable(record: &Record) {
    assert!(!record.has_no_values(), "a record without values replaces a reading");
    let text = serde_json::to_string(&record.values).expect("JSON");
    assert!(!text.contains("\\u0000"), "text that Postgres cannot hold");
    // Years 1 to 9999.
    let storable =
        record.observed_at.is_none_or(|at| (-62_135_596_800_000..253_402_300_800_000).contains(&at.0));
    assert!(storable, "{:?}", record.observed_at);
}

/// Seeds by target: the responses in the shipped cases.
pub fn seeds() -> BTreeMap<&'static str, Vec<Vec<u8>>> {
    let mut seeds: BTreeMap<_, BTreeSet<Vec<u8>>> = BTreeMap::new();
    for provider in Registry::load(None).expect("the shipped definitions load").iter() {
        let fixtures = Fixtures::of(provider).expect("cases");
        for case in cases(provider) {
            let further = case.get("then").and_then(toml::Value::as_array).into_iter().flatten();
            for response in std::iter::once(&case).chain(further).filter_map(|case| case.get("answer")) {
                let text = |key: &str| response.get(key).and_then(toml::Value::as_str);
                let file = text("file").and_then(|file| fixtures.read(file).ok());
                let body = file.unwrap_or_else(|| text("body").unwrap_or_default().into());
                let headers = response.get("headers").and_then(toml::Value::as_table).into_iter().flatten();
                let line = |(name, value): (&String, &toml::Value)| {
                    format!("{name}: {}\n", value.as_str().unwrap_or_default())
                };
                let mut whole = headers.map(line).collect::<String>().into_bytes();
                whole.push(b'\n');
                whole.extend_from_slice(&body);
                seeds.entry("mapping").or_default().insert(body);
                seeds.entry("waits").or_default().insert(whole.clone());
                seeds.entry("rate_limits").or_default().insert(whole);
            }
        }
    }
    let more: &[&str] = &[
        "RateLimit: \"month\";r=0;t=43200\n\n",
        "RateLimit: limit=100, remaining=0, reset=30\n\n",
        "X-RateLimit-Limit: 100, 100;window=60\nX-RateLimit-Remaining: 0\nX-RateLimit-Reset: 3\n\n",
        "Left: 0;w=60, 9;w=86400\nReset: 1767225652000\n\n",
        "Retry-After: Thu, 01 Jan 2026 00:02:00 GMT\nDate: Thu, 01 Jan 1970 00:00:10 GMT\n\n",
        "X-Until: 1767225652.5\nRetry-After: -5\n\n{\"wait\": \"13933\"}",
    ];
    for name in ["rate_limits", "waits"] {
        seeds.entry(name).or_default().extend(more.iter().map(|text| text.as_bytes().to_owned()));
    }
    seeds.into_iter().map(|(name, all)| (name, all.into_iter().collect())).collect()
}

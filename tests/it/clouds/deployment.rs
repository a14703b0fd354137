//! All cases in one deployment: each has its own provider, tenant, connection and devices, with their jobs scheduled.

use super::redirected::RedirectedProvider;
use crate::support::TestApp;
use paceline::app::App;
use paceline::fetch::cases::TokenCase;
use paceline::fetch::cases::compare_requests;
use paceline::fetch::cases::{self, Case, Difference, ExpectedRequest};
use paceline::fetch::cases::{NOW, secret, secrets};
use paceline::keep;
use paceline::preference::connections::{self, NewConnection};
use paceline::preference::devices::{self, NewDevice, TenantConnection};
use paceline::preference::{learned, tenants};
use paceline::provider::{Fixtures, Provider, Registry};
use paceline::record::{self, Observation};
use paceline::words::{
    CallId, ConnectionId, DeviceId, Granted, JobId, Priority, Record, ResourceName, TenantId, UnixMs,
};
use reqwest::Request;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A case of either kind.
pub enum AnyCase {
    Call(Box<Case>),
    Token(Box<TokenCase>),
}

/// A case and what was deployed for it.
pub struct DeployedCase {
    pub shipped: Arc<Provider>,
    pub fixtures: Fixtures,
    pub case: AnyCase,
    pub redirected: RedirectedProvider,
    pub tenant: TenantId,
    pub connection: ConnectionId,
    /// The case's devices, in its order.
    pub devices: Vec<DeviceId>,
}

/// The reading that every device has before its call.
pub fn previous_reading() -> Record {
    let values = json!({"previous": true}).as_object().unwrap().clone();
    Record { external_id: None, observed_at: None, online: true, values }
}

/// The call of the previous readings.
pub const PREVIOUS_CALL: CallId = CallId(1);

/// Deploys every case of every shipped definition.
pub async fn deploy_all() -> (TestApp, Vec<DeployedCase>) {
    let mut deployed = Vec::new();
    for shipped in Registry::load(None).unwrap().iter() {
        let (fixtures, cases) = cases::cases(shipped).unwrap().expect("cases");
        let calls = cases.cases.into_iter().map(|case| judged_now(case.into_inner(), shipped));
        let calls = calls.map(|case| AnyCase::Call(Box::new(case)));
        let tokens: Vec<_> = cases.tokens.into_iter().map(|case| case.into_inner()).collect();
        // If a call's token is refused, another is requested: the response is that of the first token case.
        let token_case = tokens.first().and_then(|case| Some((case.request.clone()?, case.answer.clone())));
        for case in calls.chain(tokens.into_iter().map(|case| AnyCase::Token(Box::new(case)))) {
            let name = format!("{}-{}", shipped.name, deployed.len());
            let redirected = RedirectedProvider::new(&name, shipped, case.params(), &case.bootstrap()).await;
            match &case {
                AnyCase::Call(case) => redirected.respond(case.responses(), &fixtures, case.now()).await,
                AnyCase::Token(case) => {
                    redirected.respond(std::iter::once(&case.answer), &fixtures, NOW).await
                }
            }
            if let (AnyCase::Call(_), Some((request, response))) = (&case, &token_case) {
                redirected.respond_to_token_requests(request, response, &fixtures, NOW).await;
            }
            let (shipped, fixtures) = (shipped.clone(), fixtures.clone());
            let (tenant, connection, devices) = (TenantId(0), ConnectionId(0), Vec::new());
            deployed.push(DeployedCase { shipped, fixtures, case, redirected, tenant, connection, devices });
        }
    }
    let t = test_app(&deployed).await;
    for (n, case) in (1..).zip(&mut deployed) {
        case.add(&t.app, n).await;
    }
    keep::drain(&t.app).await.unwrap();
    for case in &deployed {
        case.write_previous_readings(&t.app).await;
    }
    (t, deployed)
}

/// The case as it is for a deployment of today, in which what a case observed is older than `offline_after`.
fn judged_now(mut case: Case, provider: &Provider) -> Case {
    let resource = provider.resource(case.resource.as_str());
    if resource.is_some_and(|resource| resource.offline_after.is_some()) {
        case.expect.online = case.expect.online.map(|_| false);
    }
    case
}

async fn test_app(deployed: &[DeployedCase]) -> TestApp {
    let mut t = TestApp::with_settings(&[], |settings| {
        settings.schedule.first_run_spread = "100ms".parse().unwrap();
        settings.take.tolerance = "5s".parse().unwrap();
        settings.retry.base = "100ms".parse().unwrap();
        settings.probe.gone_after = 1;
        let names = deployed.iter().map(|case| case.redirected.provider.name.to_string());
        settings.providers.private_networks = names.collect();
        let operators = deployed.iter().map(|case| {
            let names = case.shipped.definition.auth.get_ref().operators();
            let secrets: BTreeMap<_, _> = names.into_iter().map(|name| (name, secret(name))).collect();
            (case.redirected.provider.name.to_string(), secrets)
        });
        let operators: BTreeMap<_, _> = operators.collect();
        settings.provider = serde_json::from_value(json!(operators)).unwrap();
    })
    .await;
    t.app.registry = Registry::of(deployed.iter().map(|case| Provider::clone(&case.redirected.provider)));
    // Ids of the same length sort as text as they do as numbers.
    sqlx::query("ALTER TABLE jobs ALTER COLUMN job_id RESTART WITH 100000")
        .execute(&t.app.pool)
        .await
        .unwrap();
    t
}

impl DeployedCase {
    /// The resources that the case expects a listed device to get, if it names them.
    pub fn expected_resources(&self, external_id: &str) -> Option<&[ResourceName]> {
        let AnyCase::Call(case) = &self.case else { return None };
        let device = case.expect.devices.iter().flatten().find(|device| device.id == external_id)?;
        device.resources.as_deref()
    }

    /// The name for messages.
    pub fn name(&self) -> String {
        let name = match &self.case {
            AnyCase::Call(case) => &case.name,
            AnyCase::Token(case) => &case.name,
        };
        format!("{}: {name}", self.shipped.name)
    }

    /// Adds its connection, token and bootstrap values, and its devices with scheduled jobs.
    async fn add(&mut self, app: &App, n: i64) {
        let provider = &self.redirected.provider;
        self.tenant = tenants::ensure(&app.pool, provider.name.as_str()).await.unwrap();
        let auth = provider.definition.auth.get_ref();
        let new = NewConnection {
            tenant: self.tenant,
            provider: provider.name.clone(),
            label: "main".parse().unwrap(),
            params: self.redirected.params.clone(),
            secrets: secrets(auth.secrets()),
        };
        // The hosts that params name are those of the shipped definition; calls go to test servers.
        let operator = app.settings.provider.of(&provider.name);
        self.shipped.check_account(&new.params, &new.secrets, &operator).unwrap();
        self.connection = connections::add(&app.pool, &app.sealer, new).await.unwrap();
        let opened =
            connections::open_any(&app.pool, &app.sealer, self.tenant, self.connection).await.unwrap();
        if auth.has_tokens() {
            // A token case needs an expired token.
            let lifetime_ms = Some(if matches!(self.case, AnyCase::Token(_)) { 1 } else { 10 * 3_600_000 });
            let (access, refresh) = (secret("token").into(), Some(secret("refresh_token").into()));
            let granted = Granted { access, refresh, lifetime_ms };
            let asked_at = app.clock.now().plus_ms(-3_600_000);
            paceline::preference::activation::allow(&app.pool, &app.sealer, &opened, &granted, asked_at)
                .await
                .unwrap();
        }
        keep::rebuild_if_lost(app, &provider.name).await.unwrap();
        let AnyCase::Call(case) = &self.case else { return };
        let is_bootstrap = case.resource.as_str() == "bootstrap";
        let (values, is_known) = (&case.bootstrap, provider.definition.bootstrap.is_some() && !is_bootstrap);
        let opened =
            connections::open_any(&app.pool, &app.sealer, self.tenant, self.connection).await.unwrap();
        let fetcher = &app.client(provider).unwrap().fetcher;
        let of = fetcher.bootstrap_request_hash().filter(|_| is_known);
        learned::learn(&app.pool, &opened, values, of.as_deref(), app.clock.now()).await.unwrap();
        // A bootstrap case needs a call of any resource, in whose place the values are requested.
        let first = provider.resource_names().next().unwrap();
        let name = if is_bootstrap { first } else { &case.resource };
        let Some(resource) = provider.resource(name.as_str()) else { return };
        // Device ids in one block, so that a batch of any size has all of them.
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
            "ALTER TABLE devices ALTER COLUMN device_id RESTART WITH {}",
            n * 1_000
        )))
        .execute(&app.pool)
        .await
        .unwrap();
        let device = |external_id: &String| NewDevice {
            external_id: external_id.clone(),
            name: String::new(),
            group: case.group.clone(),
            jobs: vec![(name.clone(), resource.interval_default, Priority::Normal)],
        };
        let any = is_bootstrap.then(|| "any".to_owned());
        let new: Vec<_> = case.devices.iter().chain(&any).map(device).collect();
        let account = TenantConnection {
            tenant: self.tenant,
            connection: self.connection,
            provider: provider.name.clone(),
        };
        self.devices = devices::add(&app.pool, &account, &new).await.unwrap();
    }

    /// Gives each device a reading of an hour ago.
    async fn write_previous_readings(&self, app: &App) {
        let AnyCase::Call(case) = &self.case else { return };
        let mut observations = Vec::new();
        for device in self.devices.iter().filter(|_| case.resource.as_str() != "bootstrap") {
            observations.push(Observation {
                tenant: self.tenant,
                device: *device,
                resource: case.resource.clone(),
                job: self.job(app, *device).await,
                call: PREVIOUS_CALL,
                fetched_at: app.clock.now().plus_ms(-3_600_000),
                record: Some(previous_reading()),
                has_data: true,
                online: Some(true),
                validator: case.validator(&self.redirected.provider, app.clock.now()),
                stale_after: None,
                offline_after: None,
                older_replaces: false,
            });
        }
        record::write(&app.pool, &observations).await.unwrap();
    }

    pub async fn job(&self, app: &App, device: DeviceId) -> JobId {
        let job = sqlx::query_scalar("SELECT job_id FROM jobs WHERE device_id = $1").bind(device.0);
        JobId(job.fetch_one(&app.pool).await.unwrap())
    }

    /// Compares requests that were made between these instants with those the case expects.
    pub async fn compare_requests(
        &self,
        requests: &[Request],
        began: UnixMs,
        ended: UnixMs,
    ) -> Vec<Difference> {
        let expected = self.case.requests();
        let mut differences = compare_requests(expected.iter().map(Option::as_ref), requests);
        if differences.is_empty() {
            return differences;
        }
        // Parts that depend on the time must be what the definition renders at the instant that the request shows.
        let then = self.render(self.case.now()).await;
        for at in instants(requests, began, ended) {
            let now = self.render(at).await;
            let moved = expected.iter().zip(then.iter().zip(&now));
            let moved: Vec<_> = moved
                .map(|(request, (then, now))| request.as_ref().map(|request| moved_to(request, then, now)))
                .collect();
            differences = compare_requests(moved.iter().map(Option::as_ref), requests);
            if differences.is_empty() {
                break;
            }
        }
        differences
    }

    /// The requests that the definition makes at an instant.
    async fn render(&self, now: UnixMs) -> Vec<Request> {
        let requests = match &self.case {
            AnyCase::Call(case) => case.requests_at(&self.shipped, &self.fixtures, now).await,
            AnyCase::Token(case) => case.requests_at(&self.shipped, &self.fixtures, now).await,
        };
        requests.unwrap_or_else(|error| panic!("{}: {error:?}", self.name()))
    }
}

impl AnyCase {
    fn params(&self) -> &BTreeMap<String, String> {
        match self {
            Self::Call(case) => &case.params,
            Self::Token(case) => &case.params,
        }
    }

    fn bootstrap(&self) -> BTreeMap<String, String> {
        match self {
            Self::Call(case) => case.bootstrap.clone(),
            Self::Token(_) => BTreeMap::new(),
        }
    }

    fn requests(&self) -> Vec<Option<ExpectedRequest>> {
        match self {
            Self::Call(case) => case.requests().map(Option::<&ExpectedRequest>::cloned).collect(),
            Self::Token(case) => vec![case.request.clone()],
        }
    }

    pub fn now(&self) -> UnixMs {
        match self {
            Self::Call(case) => case.now(),
            Self::Token(_) => NOW,
        }
    }
}

/// When requests may have been made: the instants in their headers, and each second between these two.
fn instants(requests: &[Request], began: UnixMs, ended: UnixMs) -> BTreeSet<UnixMs> {
    let in_headers = requests.iter().flat_map(|request| request.headers().values());
    let in_headers = in_headers
        .filter_map(|value| value.to_str().ok()?.parse().ok())
        // The journey's clock may differ by some ms.
        .filter(|at| (began.0 - 1_000..=ended.0 + 1_000).contains(at));
    let seconds = (began.0 / 1000..=ended.0 / 1000).map(|s| (s * 1000).max(began.0));
    in_headers.chain(seconds).map(UnixMs).collect()
}

/// The request expected, with the parts in which `now` differs from `then` taken from `now`.
fn moved_to(request: &ExpectedRequest, then: &Request, now: &Request) -> ExpectedRequest {
    let mut moved = request.clone();
    let header = |request: &Request, name: &str| {
        request.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
    };
    let query = |request: &Request, name: &str| {
        request.url().query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    };
    let form = |request: &Request, name: &str| {
        let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
        form_urlencoded::parse(body).find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    };
    type Part<'a> = &'a dyn Fn(&Request, &str) -> Option<String>;
    let parts: [(&mut BTreeMap<String, String>, Part<'_>); 3] =
        [(&mut moved.headers, &header), (&mut moved.query, &query), (&mut moved.form, &form)];
    for (expected, part) in parts {
        for (name, value) in expected {
            let (then, now) = (part(then, name), part(now, name));
            if then != now {
                *value = now.unwrap_or_default();
            }
        }
    }
    moved
}

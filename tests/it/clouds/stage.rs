//! All cases of all clouds in one deployment: a provider, a tenant and a connection for each, on the schedule.

use super::turned::Turned;
use crate::support::TestApp;
use paceline::app::App;
use paceline::fetch::cases::TokenCase;
use paceline::fetch::cases::these_requests;
use paceline::fetch::cases::{self, Asked, Case, Difference};
use paceline::fetch::cases::{NOW, secret, secrets};
use paceline::preference::connections::{self, NewConnection};
use paceline::preference::devices::{self, NewDevice, TenantConnection};
use paceline::preference::{learned, tenants};
use paceline::provider::{Fixtures, Provider, Registry};
use paceline::record::{self, Observation};
use paceline::words::{CallId, ConnectionId, DeviceId, Granted, JobId, Priority, Record, TenantId, UnixMs};
use paceline::{authorise, keep};
use reqwest::Request;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A case of either kind.
pub enum What {
    Call(Box<Case>),
    Token(Box<TokenCase>),
}

/// A case, and all that it needs.
pub struct Staged {
    pub shipped: Arc<Provider>,
    pub fixtures: Fixtures,
    pub what: What,
    pub turned: Turned,
    pub tenant: TenantId,
    pub connection: ConnectionId,
    /// In the order of the case.
    pub devices: Vec<DeviceId>,
}

/// What every device said before.
pub fn before() -> Record {
    let values = json!({"said_before": true}).as_object().unwrap().clone();
    Record { external_id: None, observed_at: None, online: true, values }
}

/// The call that brought it.
pub const CALL_BEFORE: CallId = CallId(1);

/// Every case of every shipped definition, in one deployment.
pub async fn all() -> (TestApp, Vec<Staged>) {
    let mut staged = Vec::new();
    for shipped in Registry::load(None).unwrap().iter() {
        let (fixtures, cases) = cases::cases(shipped).unwrap().expect("cases");
        let calls = cases.cases.into_iter().map(|case| What::Call(Box::new(case.into_inner())));
        let tokens: Vec<_> = cases.tokens.into_iter().map(|case| case.into_inner()).collect();
        // Where a call's token is refused, the next one is asked for: as the cloud gives it in its first case.
        let renewed = tokens.first().and_then(|case| Some((case.request.clone()?, case.answer.clone())));
        for what in calls.chain(tokens.into_iter().map(|case| What::Token(Box::new(case)))) {
            let name = format!("{}-{}", shipped.name, staged.len());
            let turned = Turned::new(&name, shipped, what.params(), &what.bootstrap()).await;
            match &what {
                What::Call(case) => turned.answer(case.answers(), &fixtures, case.now()).await,
                What::Token(case) => turned.answer(std::iter::once(&case.answer), &fixtures, NOW).await,
            }
            if let (What::Call(_), Some((asked, said))) = (&what, &renewed) {
                turned.answer_token(asked, said, &fixtures, NOW).await;
            }
            let (shipped, fixtures) = (shipped.clone(), fixtures.clone());
            let (tenant, connection, devices) = (TenantId(0), ConnectionId(0), Vec::new());
            staged.push(Staged { shipped, fixtures, what, turned, tenant, connection, devices });
        }
    }
    let t = deployment(&staged).await;
    for (n, one) in (1..).zip(&mut staged) {
        one.settle_in(&t.app, n).await;
    }
    keep::drain(&t.app).await.unwrap();
    for one in &staged {
        one.say_before(&t.app).await;
    }
    (t, staged)
}

async fn deployment(staged: &[Staged]) -> TestApp {
    let mut t = TestApp::with_settings(&[], |settings| {
        settings.schedule.first_run_spread = "100ms".parse().unwrap();
        settings.retry.base = "100ms".parse().unwrap();
        settings.take.tolerance = "5s".parse().unwrap();
        settings.park.gone_after = 1;
        let names = staged.iter().map(|one| one.turned.provider.name.to_string());
        settings.providers.private_networks = names.collect();
        let operators = staged.iter().map(|one| {
            let names = one.shipped.definition.auth.get_ref().operators();
            let secrets: BTreeMap<_, _> = names.into_iter().map(|name| (name, secret(name))).collect();
            (one.turned.provider.name.to_string(), secrets)
        });
        let operators: BTreeMap<_, _> = operators.collect();
        settings.provider = serde_json::from_value(json!(operators)).unwrap();
    })
    .await;
    t.app.registry = Registry::of(staged.iter().map(|one| Provider::clone(&one.turned.provider)));
    // So that ids of one length sort as numbers do.
    sqlx::query("ALTER TABLE jobs ALTER COLUMN job_id RESTART WITH 100000")
        .execute(&t.app.pool)
        .await
        .unwrap();
    t
}

impl Staged {
    /// What it shows, for people.
    pub fn name(&self) -> String {
        let name = match &self.what {
            What::Call(case) => &case.name,
            What::Token(case) => &case.name,
        };
        format!("{}: {name}", self.shipped.name)
    }

    /// Its connection, and its devices on the schedule.
    async fn settle_in(&mut self, app: &App, n: i64) {
        let provider = &self.turned.provider;
        self.tenant = tenants::ensure(&app.pool, provider.name.as_str()).await.unwrap();
        let auth = provider.definition.auth.get_ref();
        let new = NewConnection {
            tenant: self.tenant,
            provider: provider.name.clone(),
            label: "main".to_owned(),
            params: self.turned.params.clone(),
            secrets: secrets(auth.secrets()),
        };
        self.connection = authorise::add(app, new).await.unwrap().id;
        let opened =
            connections::open_any(&app.pool, &app.sealer, self.tenant, self.connection).await.unwrap();
        if auth.has_tokens() {
            // Long over, where another is to be asked for.
            let lifetime_ms = Some(if matches!(self.what, What::Token(_)) { 1 } else { 10 * 3_600_000 });
            let (access, refresh) = (secret("token").into(), Some(secret("refresh_token").into()));
            let granted = Granted { access, refresh, lifetime_ms };
            let asked_at = app.clock.now().plus_ms(-3_600_000);
            connections::allow(&app.pool, &app.sealer, &opened, &granted, asked_at).await.unwrap();
        }
        keep::rebuild_if_lost(app, &provider.name).await.unwrap();
        let What::Call(case) = &self.what else { return };
        let is_bootstrap = case.resource.as_str() == "bootstrap";
        let (learned, known) = (&case.bootstrap, provider.definition.bootstrap.is_some() && !is_bootstrap);
        let opened =
            connections::open_any(&app.pool, &app.sealer, self.tenant, self.connection).await.unwrap();
        let of = authorise::fetcher(app, provider).unwrap().bootstrap_question().filter(|_| known);
        learned::learn(&app.pool, &opened, learned, of.as_deref(), app.clock.now()).await.unwrap();
        // What calls need to know is asked for by whatever call comes first.
        let first = provider.resource_names().next().unwrap();
        let name = if is_bootstrap { first } else { &case.resource };
        let Some(resource) = provider.resource(name.as_str()) else { return };
        // In one batch, whatever its size.
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

    /// Every device has a reading of an hour ago.
    async fn say_before(&self, app: &App) {
        let What::Call(case) = &self.what else { return };
        let mut said = Vec::new();
        for device in self.devices.iter().filter(|_| case.resource.as_str() != "bootstrap") {
            said.push(Observation {
                tenant: self.tenant,
                device: *device,
                resource: case.resource.clone(),
                job: self.job(app, *device).await,
                call: CALL_BEFORE,
                fetched_at: app.clock.now().plus_ms(-3_600_000),
                record: Some(before()),
                online: Some(true),
                validator: case.validator(&self.turned.provider, app.clock.now()),
            });
        }
        record::write(&app.pool, &said).await.unwrap();
    }

    pub async fn job(&self, app: &App, device: DeviceId) -> JobId {
        let job = sqlx::query_scalar("SELECT job_id FROM jobs WHERE device_id = $1").bind(device.0);
        JobId(job.fetch_one(&app.pool).await.unwrap())
    }

    /// What of the requests is not as the case says, if they were made between these instants.
    pub async fn compare_requests(&self, asked: &[Request], began: UnixMs, ended: UnixMs) -> Vec<Difference> {
        let expected = self.what.requests();
        let mut differences = these_requests(expected.iter().map(Option::as_ref), asked);
        if differences.is_empty() {
            return differences;
        }
        // What follows from the time is as the definition has it at the instant that the request tells.
        let then = self.asks(self.what.now()).await;
        for at in instants(asked, began, ended) {
            let now = self.asks(at).await;
            let moved = expected.iter().zip(then.iter().zip(&now));
            let moved: Vec<_> = moved
                .map(|(asked, (then, now))| asked.as_ref().map(|asked| moved_to(asked, then, now)))
                .collect();
            differences = these_requests(moved.iter().map(Option::as_ref), asked);
            if differences.is_empty() {
                break;
            }
        }
        differences
    }

    async fn asks(&self, now: UnixMs) -> Vec<Request> {
        let asks = match &self.what {
            What::Call(case) => case.asks(&self.shipped, &self.fixtures, now).await,
            What::Token(case) => case.asks(&self.shipped, &self.fixtures, now).await,
        };
        asks.unwrap_or_else(|error| panic!("{}: {error:?}", self.name()))
    }
}

impl What {
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

    fn requests(&self) -> Vec<Option<Asked>> {
        match self {
            Self::Call(case) => case.requests().map(Option::<&Asked>::cloned).collect(),
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

/// When requests may have been made: the instants that they tell, and each second that there was.
fn instants(asked: &[Request], began: UnixMs, ended: UnixMs) -> BTreeSet<UnixMs> {
    let told = asked.iter().flat_map(|request| request.headers().values());
    let told = told
        .filter_map(|value| value.to_str().ok()?.parse().ok())
        // The journey's own clock may be some ms off.
        .filter(|at| (began.0 - 1_000..=ended.0 + 1_000).contains(at));
    let seconds = (began.0 / 1000..=ended.0 / 1000).map(|s| (s * 1000).max(began.0));
    told.chain(seconds).map(UnixMs).collect()
}

/// What a request must be, with what differs between these two of other instants as the second has it.
fn moved_to(asked: &Asked, then: &Request, now: &Request) -> Asked {
    let mut moved = asked.clone();
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
    type Told<'a> = &'a dyn Fn(&Request, &str) -> Option<String>;
    let told: [(&mut BTreeMap<String, String>, Told<'_>); 3] =
        [(&mut moved.headers, &header), (&mut moved.query, &query), (&mut moved.form, &form)];
    for (expected, of) in told {
        for (name, value) in expected {
            let (then, now) = (of(then, name), of(now, name));
            if then != now {
                *value = now.unwrap_or_default();
            }
        }
    }
    moved
}

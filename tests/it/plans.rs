//! How many rows statements touch in tables that were filled a moment ago, and that Postgres has not looked at yet.
//!
//! Without statistics it takes any tenant and any connection to be small, and an index on them to be good.

use crate::support::TestApp;
use paceline::preference::{connections, devices, inventory, job_status, jobs, quota_inputs, webhooks};
use paceline::record::rollup::SeriesKey;
use paceline::record::select::{self, Freshness, Span};
use paceline::record::series::{self, Part};
use paceline::record::{self, Failure, Observation, rollup, view};
use paceline::words::series::Level;
use paceline::words::{CallId, DeviceId, Job, JobId, Record, UnixMs};

const DEFINITION: &str = r#"
title = "Large"
[http]
base_url = "{{ params.base_url }}"
[resource.state]
interval_min = "5s"
interval_default = "1m"
path = "/state"
records = "."
"#;

const DEVICES: usize = 20_000;
const ASKED: usize = 100;
/// Per row that a statement is about. A scan of the account for each would be 20,000.
const ROWS_MAX: usize = 60;
/// For so many rows of a table of this size, one scan of it may well be the best plan.
const SCANS_MAX: usize = 4;

/// One account with many devices; the pool has one connection, so that it tells what it has counted.
struct Large(TestApp);

impl Large {
    async fn start() -> Self {
        let t = TestApp::with_settings(&[("large", DEFINITION)], |s| s.database.connections_max = 1).await;
        let never = "DO $$ DECLARE t text; BEGIN
                         FOREACH t IN ARRAY ARRAY['devices', 'jobs', 'latest', 'connections', 'outbox',
                                                        'readings_other'] LOOP
                             EXECUTE format('ALTER TABLE %I SET (autovacuum_enabled = off)', t);
                         END LOOP;
                     END $$";
        sqlx::query(never).execute(&t.app.pool).await.unwrap();
        Self(t)
    }

    /// Rows read so far, by table.
    async fn rows(&self) -> i64 {
        let pool = &self.0.app.pool;
        // What this one connection has counted is written down at the end of the statement.
        sqlx::query("SELECT pg_stat_force_next_flush()").execute(pool).await.unwrap();
        let read = "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint
                    FROM pg_stat_user_tables";
        sqlx::query_scalar(read).fetch_one(pool).await.unwrap()
    }

    /// Asserts that a statement about so many rows reads few.
    async fn few<T>(&self, what: &str, about: usize, statement: impl Future<Output = T>) -> T {
        let before = self.rows().await;
        let answer = statement.await;
        let (read, most) = (self.rows().await - before, ROWS_MAX * about + SCANS_MAX * DEVICES);
        assert!(read <= most as i64, "{what}: {read} rows were read for {about}");
        answer
    }
}

fn observation(job: &Job, fetched_at: UnixMs, call: i64, temperature_c: f64) -> Observation {
    let values = [("temperature_c".to_owned(), temperature_c.into())].into_iter().collect();
    let record = Record { external_id: None, observed_at: Some(fetched_at), online: true, values };
    Observation {
        tenant: job.tenant,
        device: job.device,
        resource: job.resource.clone(),
        job: job.id,
        call: CallId(call),
        fetched_at,
        record: Some(record),
        online: Some(true),
        validator: None,
        stale_after: None,
        offline_after: None,
        older_replaces: false,
        has_data: true,
    }
}

fn failure(job: &Job, at: UnixMs, call: i64) -> Failure {
    Failure {
        tenant: job.tenant,
        job: job.id,
        call: CallId(call),
        at,
        outcome: "transient",
        detail: String::new(),
        failing: true,
        probing: false,
    }
}

#[tokio::test]
async fn statements_about_some_devices_of_a_large_account_read_it_once_at_most_before_the_first_analyze() {
    let large = Large::start().await;
    let (t, pool) = (&large.0, &large.0.app.pool);
    let connection = t.connect("large", "main", "http://127.0.0.1:9").await;
    t.add_devices("large", connection, DEVICES, "1m").await;
    let provider = "large".parse().unwrap();
    let page =
        large.few("a page of jobs", 2_000, jobs::page(pool, &provider, JobId(0), 2_000)).await.unwrap();
    assert_eq!(page.len(), 2_000);
    let asked: Vec<&Job> = page.iter().rev().take(ASKED).map(|stored| &stored.job).collect();
    let ids: Vec<i64> = asked.iter().map(|job| job.id.0).collect();
    let devices: Vec<DeviceId> = asked.iter().map(|job| job.device).collect();

    // More often than a plan is made for the values at hand.
    let accounts = [connection.0];
    for round in 1..=7 {
        let now = t.app.clock.now();
        let found = large.few("jobs by number", ASKED, jobs::by_id(pool, &ids)).await.unwrap();
        assert_eq!(found.len(), ASKED);
        let targets = large.few("targets", ASKED, record::read_targets(pool, &ids)).await.unwrap();
        assert_eq!(targets.len(), ASKED);
        large.few("validators", ASKED, record::validators(pool, &ids)).await.unwrap();
        let pairs: Vec<_> = targets.iter().map(|row| (JobId(row.job_id), row.external_id.as_str())).collect();
        large.few("siblings", ASKED, record::read_siblings(pool, &pairs)).await.unwrap();
        let open = connections::open(pool, &t.app.sealer, &accounts, false);
        large.few("connections", ASKED, open).await.unwrap();

        let fresh: Vec<_> = asked.iter().map(|job| observation(job, now, round, round as f64)).collect();
        let written = large.few("readings", ASKED, record::write(pool, &fresh)).await.unwrap();
        assert_eq!(written.len(), ASKED);
        let touched: Vec<_> = fresh.iter().cloned().map(|o| Observation { record: None, ..o }).collect();
        large.few("confirmed readings", ASKED, record::write(pool, &touched)).await.unwrap();
        let failures: Vec<_> = asked.iter().map(|job| failure(job, now, round)).collect();
        large.few("failures", ASKED, record::write_failures(pool, &failures)).await.unwrap();
        large.few("last failures", ASKED, record::last_failures(pool, &ids)).await.unwrap();
        large.few("recovery", ASKED, record::recover(pool, &ids)).await.unwrap();

        large.few("snapshots", ASKED, view::devices(pool, Some(t.tenant), &devices)).await.unwrap();
        let span = Span { limit: ASKED as i64, ..Span::default() };
        let fresh = Freshness { now, grace_share: 0.1, grace_min_ms: 1_000.0 };
        let named = select::Filter { ids: Some(devices.clone()), ..select::Filter::default() };
        let stale = select::Filter { stale: Some(false), ..select::Filter::default() };
        for filter in [select::Filter::default(), named, stale] {
            let page = select::page(pool, t.tenant, &filter, &span, fresh);
            large.few("a page of devices", ASKED, page).await.unwrap();
        }
        let listed = inventory::page(pool, t.tenant, None, DeviceId(0), ASKED as i64);
        large.few("an inventory", ASKED, listed).await.unwrap();
        large.few("a device's provider", 1, jobs::device_of(pool, t.tenant, devices[0])).await.unwrap();
        let accounts_asked = [connection];
        let of_connection = jobs::of_connections(pool, &accounts_asked);
        assert_eq!(large.few("jobs of a connection", DEVICES, of_connection).await.unwrap().len(), DEVICES);
        let few = jobs::JobFilter { ids: Some(devices.clone()), ..jobs::JobFilter::default() };
        let matching = large.few("jobs of some devices", ASKED, jobs::matching(pool, t.tenant, &few)).await;
        assert_eq!(matching.unwrap().len(), ASKED);
        let every = jobs::JobFilter::default();
        let all = jobs::matching(pool, t.tenant, &every);
        large.few("all jobs of a tenant", DEVICES, all).await.unwrap();
        large
            .few("the status of jobs", ASKED, job_status::of_devices(pool, t.tenant, &devices))
            .await
            .unwrap();
        let state = &asked[0].resource;
        large.few("what stands", ASKED, series::heads(pool, t.tenant, &devices, state)).await.unwrap();
        let part = Part {
            tenant: t.tenant,
            devices: devices.clone(),
            resource: state.clone(),
            value: None,
            level: Some(Level::FiveMinutes),
            rolled_until: now.plus_ms(-1),
            from: now.plus_ms(-300_000),
            to: now,
            limit: None,
        };
        large.few("history", ASKED, series::read(pool, &part, drop)).await.unwrap();
        let keys: Vec<_> = devices.iter().map(|one| SeriesKey::of(t.tenant, *one, state)).collect();
        for level in Level::ALL {
            let sources = rollup::sources(pool, level, &keys, now.plus_ms(-300_000), now);
            large.few("what to roll up", ASKED, sources).await.unwrap();
        }
        let none = SeriesKey::default();
        let page = rollup::series_after(pool, &none, ASKED as i64);
        large.few("series to roll up", ASKED, page).await.unwrap();
        let pending = quota_inputs::pending(pool, &accounts);
        large.few("accounts with changes", DEVICES, pending).await.unwrap();
    }
    // Some more of the account: it was small when these were first planned.
    let account = devices::TenantConnection { tenant: t.tenant, connection, provider };
    let more = (0..ASKED).map(|n| devices::NewDevice {
        external_id: format!("more {n}"),
        name: String::new(),
        group: String::new(),
        jobs: vec![("state".parse().unwrap(), "1m".parse().unwrap(), paceline::words::Priority::Low)],
    });
    let more: Vec<_> = more.collect();
    large.few("new devices", ASKED, devices::add(pool, &account, &more)).await.unwrap();
}

#[tokio::test]
async fn looking_for_due_webhooks_reads_those_that_are_enabled() {
    let large = Large::start().await;
    let pool = &large.0.app.pool;
    // Disabled, but for ten.
    let add = "INSERT INTO webhooks (tenant_id, label, url, created_at, disabled_at)
               SELECT $1, '', '', now(), CASE WHEN n > 10 THEN now() END FROM generate_series(1, 20000) n";
    sqlx::query(add).bind(large.0.tenant.0).execute(pool).await.unwrap();
    let before = large.rows().await;
    let found = webhooks::deliveries::enabled(pool).await.unwrap();
    let read = large.rows().await - before;
    assert!(found.len() == 10 && read < 100, "{read} rows were read for {}", found.len());
    let now = large.0.app.clock.now();
    let before = large.rows().await;
    let claim = webhooks::deliveries::claim(pool, found[0].tenant, found[0].id, now, now.plus_ms(1_000));
    assert!(claim.await.unwrap().is_some());
    let read = large.rows().await - before;
    assert!(read < 100, "{read} rows were read for a claim");
}

#[tokio::test]
async fn tables_that_grew_are_analyzed_when_their_jobs_are_scheduled() {
    let large = Large::start().await;
    let (t, pool) = (&large.0, &large.0.app.pool);
    let known = async || {
        let rows = "SELECT reltuples::bigint FROM pg_class WHERE relname = 'devices'";
        sqlx::query_scalar::<_, i64>(rows).fetch_one(pool).await.unwrap()
    };
    let connection = t.connect("large", "main", "http://127.0.0.1:9").await;
    t.add_devices("large", connection, 2_000, "1m").await;
    assert_eq!(known().await, -1);
    paceline::keep::drain(&t.app).await.unwrap();
    assert_eq!(known().await, 2_000);
    // A restored database, whose schedule is built.
    let provider = "large".parse().unwrap();
    let other = t.connect("large", "other", "http://127.0.0.1:9").await;
    t.add_devices("large", other, 2_000, "1m").await;
    sqlx::query("DELETE FROM outbox").execute(pool).await.unwrap();
    paceline::keep::rebuild_if_lost(&t.app, &provider).await.unwrap();
    assert_eq!(known().await, 4_000);
}

//! `record`: readings made durable in batches, beside a bare upsert of the same rows.

use crate::Failed;
use crate::cpu;
use crate::deployment::Deployment;
use crate::figure::{Figure, rounded};
use paceline::postgres::Pool;
use paceline::preference::jobs;
use paceline::record::{self, Observation};
use paceline::words::{CallId, Interval, JobId, Record, UnixMs};
use std::time::Duration;
use tokio::time::Instant;

const DEVICES: usize = 20_000;
const BATCH: usize = 500;
/// Every device once per round; the first is not counted.
const ROUNDS: i64 = 6;
const INTERVAL_MS: i64 = 60_000;

/// The same columns, without history, fences, online states or jobs.
const BARE_TABLE: &str = "CREATE TABLE bare (tenant_id bigint, device_id bigint, resource text, job_id bigint, \
    observed_at timestamptz, fetched_at timestamptz, online boolean, \"values\" jsonb, content_hash bytea, \
    fence bigint, PRIMARY KEY (tenant_id, device_id, resource))";
const BARE_UPSERT: &str = "INSERT INTO bare SELECT * FROM UNNEST($1::bigint[], $2::bigint[], $3::text[], \
    $4::bigint[], $5::timestamptz[], $6::timestamptz[], $7::boolean[], $8::jsonb[], $9::bytea[], $10::bigint[]) \
    ON CONFLICT (tenant_id, device_id, resource) DO UPDATE SET job_id = excluded.job_id, \
    observed_at = excluded.observed_at, fetched_at = excluded.fetched_at, online = excluded.online, \
    \"values\" = excluded.\"values\", content_hash = excluded.content_hash, fence = excluded.fence";

pub async fn run() -> Result<Vec<Figure>, Failed> {
    let at = Deployment::start().await?;
    let connection = at.connect("http://127.0.0.1:9").await?;
    let minute = Interval::from_ms(INTERVAL_MS.unsigned_abs()).unwrap_or(Interval::MAX);
    at.add_devices(connection, DEVICES, minute).await?;
    at.mark_all_fetched().await?;
    sqlx::query(BARE_TABLE).execute(&at.app.pool).await?;
    eprintln!("{DEVICES} devices, {} rounds", ROUNDS - 1);
    let new = measure(&at, true).await?;
    let same = measure(&at, false).await?;
    at.close().await?;
    Ok(vec![new.figure("record"), same.figure("record_unchanged")])
}

/// Time spent on the same rows.
#[derive(Default)]
struct Spent {
    rows: usize,
    ours: Duration,
    bare: Duration,
    /// Of this process, for ours.
    cpu_s: f64,
}

impl Spent {
    fn figure(&self, name: &'static str) -> Figure {
        let per_s = |spent: Duration| self.rows as f64 / spent.as_secs_f64();
        let figure = Figure::new(name, per_s(self.ours), per_s(self.bare), "readings/s")
            .param("batch", BATCH)
            .extra("cpu_us_per_reading", rounded(1e6 * self.cpu_s / self.rows as f64));
        let met = figure.ratio() >= 0.6;
        figure.aim("ratio ≥ 0.6", met)
    }
}

/// Each round has a new value for each device, or that of the round before.
async fn measure(at: &Deployment, is_new: bool) -> Result<Spent, Failed> {
    let all = jobs::page(&at.app.pool, &at.provider, JobId(0), i64::try_from(DEVICES)?).await?;
    let mut spent = Spent::default();
    let started = at.app.clock.now();
    for round in 0..ROUNDS {
        for (n, page) in all.chunks(BATCH).enumerate() {
            let fetched_at = started.plus_ms(round);
            let call = CallId(started.0 + round);
            let value = if is_new { round * 100 + n as i64 } else { n as i64 };
            let batch = page.iter().map(|stored| observation(&stored.job, call, fetched_at, value));
            let batch = batch.collect::<Result<Vec<_>, Failed>>()?;
            let (cpu_s, began) = (cpu::own_s()?, Instant::now());
            let written = record::write(&at.app.pool, &batch).await?;
            let ours = began.elapsed();
            let cpu_s = cpu::own_s()? - cpu_s;
            if written.len() != batch.len() {
                return Err(format!("{} of {} readings were written", written.len(), batch.len()).into());
            }
            let began = Instant::now();
            upsert(&at.app.pool, &batch).await?;
            if round > 0 {
                spent.rows += batch.len();
                spent.ours += ours;
                spent.bare += began.elapsed();
                spent.cpu_s += cpu_s;
            }
        }
    }
    Ok(spent)
}

fn observation(
    job: &paceline::words::Job,
    call: CallId,
    fetched_at: UnixMs,
    value: i64,
) -> Result<Observation, Failed> {
    let temperature_c = (value % 4_000) as f64 / 100.0;
    let values = [("temperature_c".to_owned(), temperature_c.into()), ("humidity_pct".to_owned(), 40.into())];
    let record = Record {
        external_id: None,
        observed_at: Some(fetched_at),
        online: true,
        values: values.into_iter().collect(),
    };
    Ok(Observation {
        tenant: job.tenant,
        device: job.device,
        resource: job.resource.clone(),
        job: job.id,
        call,
        fetched_at,
        record: Some(record),
        online: Some(true),
        validator: None,
        stale_after: None,
        offline_after: None,
        older_replaces: false,
        has_data: true,
    })
}

async fn upsert(pool: &Pool, batch: &[Observation]) -> Result<(), Failed> {
    let records: Vec<&Record> = batch.iter().filter_map(|o| o.record.as_ref()).collect();
    let at = |at: UnixMs| at.to_datetime();
    sqlx::query(BARE_UPSERT)
        .bind(batch.iter().map(|o| o.tenant.0).collect::<Vec<_>>())
        .bind(batch.iter().map(|o| o.device.0).collect::<Vec<_>>())
        .bind(batch.iter().map(|o| o.resource.to_string()).collect::<Vec<_>>())
        .bind(batch.iter().map(|o| o.job.0).collect::<Vec<_>>())
        .bind(records.iter().map(|r| r.observed_at.map(at)).collect::<Vec<_>>())
        .bind(batch.iter().map(|o| at(o.fetched_at)).collect::<Vec<_>>())
        .bind(records.iter().map(|r| r.online).collect::<Vec<_>>())
        .bind(records.iter().map(|r| serde_json::Value::from(r.values.clone())).collect::<Vec<_>>())
        .bind(records.iter().map(|r| r.content_hash().to_vec()).collect::<Vec<_>>())
        .bind(batch.iter().map(|o| o.call.0).collect::<Vec<_>>())
        .execute(pool)
        .await?;
    Ok(())
}

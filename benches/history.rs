//! `history`: a day of one device among many by 5 minutes, beside the scan of the same rows in psql; a year of
//! roll-ups, beside a day; and how fast readings are rolled up.

use crate::Failed;
use crate::deployment::Deployment;
use crate::figure::{Figure, rounded};
use paceline::preference::keys::{self, Principal};
use paceline::record::history;
use paceline::record::rollup::{self, Progress, SeriesKey};
use paceline::words::series::Level;
use paceline::words::{DeviceId, Interval, Role, UnixMs};
use secrecy::ExposeSecret;
use sqlx::AssertSqlSafe;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// 965 devices, a reading every 10 s, six days: 50 million.
const DEVICES: usize = 965;
const DAYS: i64 = 6;
const PER_DAY: i64 = 8_640;
/// Devices with roll-ups of a year.
const ROLLED_UP: i64 = 200;
/// Each a device of its own.
const ROUNDS: usize = 15;
/// 2026-03-01T00:00:00Z.
const BEGIN: UnixMs = UnixMs(1_772_323_200_000);
const DAY_MS: i64 = 86_400_000;

pub async fn run() -> Result<Vec<Figure>, Failed> {
    let at = Deployment::start().await?;
    let connection = at.connect("http://127.0.0.1:9").await?;
    let devices =
        at.add_devices(connection, DEVICES, Interval::from_ms(10_000).unwrap_or(Interval::MAX)).await?;
    let rows = fill(&at).await?;
    let server = Server::start(&at).await?;
    let mut psql = Psql::start(at.urls().1).await?;

    let day = BEGIN.plus_ms((DAYS - 1) * DAY_MS);
    let (mut scans, mut raw) = (Vec::new(), Vec::new());
    for device in spread(&devices) {
        // Each is measured as the second reader of its rows.
        psql.scan(device, day).await?;
        scans.push(psql.scan(device, day).await?);
        server.ask(device, day, 1, "5m", "readings").await?;
        raw.push(server.ask(device, day, 1, "5m", "readings").await?);
    }
    let (scan, raw) = (median(scans), median(raw));
    let rate = roll_up(&at, day.plus_ms(DAY_MS)).await?;

    fill_rollups(&at).await?;
    let (mut by_hour, mut by_day, mut day_rolled) = (Vec::new(), Vec::new(), Vec::new());
    for device in spread(&devices[..usize::try_from(ROLLED_UP)?]) {
        let year = BEGIN.plus_ms(-365 * DAY_MS);
        for (times, from, days, step, source) in [
            (&mut by_hour, year, 365, "1h", "1h"),
            (&mut by_day, year, 365, "1day", "1day"),
            (&mut day_rolled, BEGIN.plus_ms(-DAY_MS), 1, "5m", "5m"),
        ] {
            server.ask(device, from, days, step, source).await?;
            times.push(server.ask(device, from, days, step, source).await?);
        }
    }
    let (by_hour, by_day, day_rolled) = (median(by_hour), median(by_day), median(day_rolled));
    server.stop.cancel();
    drop(psql);
    at.close().await?;
    let figure = |name, value: f64, yardstick: f64, most: f64, aim| {
        let figure = Figure::new(name, value, yardstick, "ms").param("readings", rows);
        let met = figure.ratio() <= most;
        figure.aim(aim, met)
    };
    Ok(vec![
        figure("history_day", raw, scan, 3.0, "ratio ≤ 3").extra("yardstick", "scan in psql"),
        figure("history_year_by_hour", by_hour, raw, 2.0, "ratio ≤ 2").extra("yardstick", "day of readings"),
        figure("history_year_by_day", by_day, day_rolled, 2.0, "ratio ≤ 2")
            .extra("yardstick", "day of roll-ups"),
        rate,
    ])
}

/// Some of the devices, far from each other.
fn spread(devices: &[DeviceId]) -> impl Iterator<Item = DeviceId> {
    devices.iter().copied().step_by(devices.len() / ROUNDS).take(ROUNDS)
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Readings of all devices, in the order in which they would come. The index is built afterwards, as it is faster.
async fn fill(at: &Deployment) -> Result<i64, Failed> {
    let pool = &at.app.pool.for_long_statements();
    history::ensure(pool, BEGIN, DAYS.unsigned_abs()).await?;
    sqlx::query("DROP INDEX readings_by_device").execute(pool).await?;
    let mut rows = 0;
    // Statements may take a minute.
    for hour in 0..24 * DAYS {
        let from = BEGIN.plus_ms(hour * 3_600_000).to_string();
        let insert = format!(
            "INSERT INTO readings (tenant_id, device_id, resource, observed_at, fetched_at, online, \"values\")
             SELECT d.tenant_id, d.device_id, 'state', t, t, true,
                    jsonb_build_object('temperature_c', 20 + (extract(epoch FROM t)::bigint + d.device_id) % 400 / 1e2,
                                       'humidity_pct', 40)
             FROM generate_series('{from}'::timestamptz, '{from}'::timestamptz + interval '3590 s', '10 s') t
             CROSS JOIN devices d"
        );
        rows += sqlx::query(AssertSqlSafe(insert)).execute(pool).await?.rows_affected().cast_signed();
        if hour % 12 == 0 {
            eprintln!("{rows} readings of {}", PER_DAY * DAYS * DEVICES as i64);
        }
    }
    for day in 0..DAYS {
        let name = format!("readings_{}", BEGIN.plus_ms(day * DAY_MS).to_datetime().format("%Y%m%d"));
        let index = format!("CREATE INDEX ON {name} (tenant_id, device_id, resource, fetched_at DESC)");
        sqlx::query(AssertSqlSafe(index)).execute(pool).await?;
    }
    let index =
        "CREATE INDEX readings_by_device ON readings (tenant_id, device_id, resource, fetched_at DESC)";
    sqlx::query(index).execute(pool).await?;
    let latest = "INSERT INTO latest (tenant_id, device_id, resource, job_id, fetched_at, changed_at, online, \
                  \"values\", content_hash, fence, seen_at, stands_ms) \
                  SELECT tenant_id, device_id, resource, job_id, $1, $1, true, '{\"temperature_c\": 20.5}', '', 0, $1, \
                  60000 FROM jobs";
    sqlx::query(latest).bind(BEGIN.plus_ms(DAYS * DAY_MS).to_datetime()).execute(pool).await?;
    sqlx::query("VACUUM ANALYZE latest").execute(pool).await?;
    for day in 0..DAYS {
        let name = format!("readings_{}", BEGIN.plus_ms(day * DAY_MS).to_datetime().format("%Y%m%d"));
        sqlx::query(AssertSqlSafe(format!("VACUUM ANALYZE {name}"))).execute(pool).await?;
    }
    Ok(rows)
}

/// Roll-ups of some devices for the year before, in the order in which they would come; of one day, by 5 minutes too.
async fn fill_rollups(at: &Deployment) -> Result<(), Failed> {
    let pool = &at.app.pool.for_long_statements();
    for month in 0..14 {
        rollup::ensure(pool, BEGIN.plus_ms((month - 12) * 30 * DAY_MS).to_datetime().date_naive()).await?;
    }
    let begin = BEGIN.to_string();
    for (level, days) in [(Level::Day, 365), (Level::Hour, 365), (Level::FiveMinutes, 1)] {
        let (number, ms) = (level.number(), level.ms());
        let count = ms / 10_000;
        let insert = format!(
            "INSERT INTO rollups (tenant_id, device_id, resource, level, bucket, first_at, last_at, online, readings,
                                  known_ms, offline_ms, \"values\")
             SELECT d.tenant_id, d.device_id, 'state', {number}, t, t, t + interval '{last} ms', true, {count},
                    {last}, 0,
                    '{{\"temperature_c\": [{count}, {count}, 7380.5, 19.25, 21.75, 73805000.5, {last}, 20.5, true],
                       \"humidity_pct\": [{count}, {count}, 14400, 40, 40, 143600000, {last}, 40, true]}}'
             FROM generate_series('{begin}'::timestamptz - interval '{days} days',
                                  '{begin}'::timestamptz - interval '1 ms', interval '{ms} ms') t
             CROSS JOIN (SELECT * FROM devices ORDER BY device_id LIMIT {ROLLED_UP}) d
             ON CONFLICT DO NOTHING",
            last = ms - 10_000
        );
        sqlx::query(AssertSqlSafe(insert)).execute(pool).await?;
        let progress = Progress { until: BEGIN, ends: BEGIN, done: SeriesKey::default() };
        rollup::set_progress(pool, level, &progress).await?;
    }
    sqlx::query("VACUUM ANALYZE rollups").execute(pool).await?;
    Ok(())
}

/// Readings rolled up per second: those of the last hours, as a keeper that was away for so long would.
async fn roll_up(at: &Deployment, end: UnixMs) -> Result<Figure, Failed> {
    const HOURS: i64 = 2;
    let from = end.plus_ms(-HOURS * 3_600_000);
    for level in Level::ALL {
        let begun =
            Progress { until: level.floor(from), ends: level.floor(from), done: SeriesKey::default() };
        rollup::set_progress(&at.app.pool, level, &begun).await?;
    }
    let late_ms = at.app.settings.history.late.as_ms().cast_signed();
    at.app.clock.learn(end.plus_ms(late_ms + 1_000));
    let began = Instant::now();
    paceline::keep::roll_up(&at.app).await?;
    let ours = began.elapsed();
    let readings = HOURS * 360 * DEVICES as i64;
    // The bare work: the same rows, summed by the server.
    let sums = "SELECT count(*) FROM (
                    SELECT r.device_id, date_bin('5 min', r.fetched_at, '2026-01-01Z'), min(r.t), max(r.t), sum(r.t),
                           min(r.h), max(r.h), sum(r.h)
                    FROM latest l CROSS JOIN LATERAL (
                        SELECT r.device_id, r.fetched_at, (r.\"values\" ->> 'temperature_c')::float8 AS t,
                               (r.\"values\" ->> 'humidity_pct')::float8 AS h
                        FROM readings r WHERE r.tenant_id = l.tenant_id AND r.device_id = l.device_id
                        AND r.resource = l.resource AND r.fetched_at >= $1 AND r.fetched_at < $2 OFFSET 0) r
                    GROUP BY 1, 2) t";
    let began = Instant::now();
    let buckets: i64 = sqlx::query_scalar(sums)
        .bind(from.to_datetime())
        .bind(end.to_datetime())
        .fetch_one(&at.app.pool.for_long_statements())
        .await?;
    let bare = began.elapsed();
    if buckets != HOURS * 12 * DEVICES as i64 {
        return Err(format!("{buckets} buckets have readings").into());
    }
    let per_s = |spent: Duration| readings as f64 / spent.as_secs_f64();
    Ok(Figure::new("history_roll_up", per_s(ours), per_s(bare), "readings/s")
        .extra("yardstick", "sums by the server")
        .extra("share_of_a_core_at_1000_per_s", rounded(1_000.0 / per_s(ours))))
}

/// The API on a port of its own.
struct Server {
    url: String,
    key: String,
    client: reqwest::Client,
    stop: CancellationToken,
}

impl Server {
    async fn start(at: &Deployment) -> Result<Self, Failed> {
        let who = Principal { tenant: at.tenant, role: Role::Reader };
        let (_, key) = keys::create(&at.app.pool, who, "bench", None).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (url, stop) = (format!("http://{}", listener.local_addr()?), CancellationToken::new());
        tokio::spawn(paceline::http::serve(at.app.clone(), listener, stop.clone()));
        let client = reqwest::Client::new();
        Ok(Self { url, key: key.expose_secret().to_owned(), client, stop })
    }

    /// How long an answer took, ms. It must be made of what is measured, and know every step.
    async fn ask(
        &self,
        device: DeviceId,
        from: UnixMs,
        days: i64,
        step: &str,
        source: &str,
    ) -> Result<f64, Failed> {
        let to = from.plus_ms(days * DAY_MS);
        let url = format!(
            "{}/v1/devices/{device}/readings?resource=state&value=temperature_c&from={from}&to={to}&step={step}",
            self.url
        );
        let began = Instant::now();
        let answer =
            self.client.get(url).bearer_auth(&self.key).send().await?.error_for_status()?.bytes().await?;
        let ms = began.elapsed().as_secs_f64() * 1_000.0;
        let answer: serde_json::Value = serde_json::from_slice(&answer)?;
        let points = answer["points"].as_array().ok_or("no points")?;
        let known =
            points.iter().filter(|point| point["values"]["temperature_c"]["time_avg"].is_number()).count();
        let read_raw = points.iter().all(|point| point["readings"] == 30) && step == "5m";
        if known != points.len() || points.is_empty() || (source == "readings") && !read_raw {
            return Err(format!("{known} of {} steps are known", points.len()).into());
        }
        Ok(ms)
    }
}

/// A session of psql that tells how long each query took.
struct Psql {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Psql {
    async fn start(url: &str) -> Result<Self, Failed> {
        let program = std::env::var("PACELINE_BENCH_PSQL").unwrap_or_else(|_| "psql".to_owned());
        let mut process = Command::new(program)
            .args(["-X", "-q", "-A", "-t", url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (to, from) = (process.stdin.take().ok_or("no stdin")?, process.stdout.take().ok_or("no stdout")?);
        let mut psql = Self { process, to, from: BufReader::new(from) };
        psql.to.write_all(b"\\timing on\n").await?;
        Ok(psql)
    }

    /// How long it took to read a device's day, ms, by its own clock.
    async fn scan(&mut self, device: DeviceId, day: UnixMs) -> Result<f64, Failed> {
        let (from, to) = (day, day.plus_ms(DAY_MS));
        let query = format!(
            "SELECT fetched_at, gap_since, online, \"values\" -> 'temperature_c' FROM readings \
             WHERE tenant_id = 1 AND device_id = {device} AND resource = 'state' \
             AND fetched_at >= '{from}' AND fetched_at < '{to}' ORDER BY fetched_at;\n"
        );
        self.to.write_all(query.as_bytes()).await?;
        let (mut line, mut rows) = (String::new(), 0);
        loop {
            line.clear();
            if self.from.read_line(&mut line).await? == 0 {
                return Err(format!("psql ended: {:?}", self.process.try_wait()?).into());
            }
            if let Some(time) = line.strip_prefix("Time: ") {
                if rows != PER_DAY {
                    return Err(format!("psql read {rows} rows").into());
                }
                return Ok(time.split(' ').next().unwrap_or_default().parse()?);
            }
            rows += 1;
        }
    }
}

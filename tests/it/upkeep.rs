//! What keeps a deployment small and quick: state of what is gone is deleted, one process checks, lookups go by an
//! index, and what belongs to a batch takes one round trip.

use crate::journey::Rig;
use crate::private_redis::PrivateRedis;
use crate::support::{TestApp, server};
use paceline::journey::Journey;
use paceline::keep;
use paceline::preference::find;
use paceline::record;
use paceline::redis::Redis;
use paceline::words::{ConnectionId, JobId};
use serde_json::json;
use sqlx::AssertSqlSafe;
use tokio_util::sync::CancellationToken;
use wiremock::ResponseTemplate;

/// Limits of every scope; those of a connection depend on its plan.
const GROUPED: &str = r#"
title = "Grouped"
[http]
base_url = "{{ params.base_url }}"
[param.plan]
about = "the plan"
default = "free"
[[quota]]
name = "hour"
scope = "connection"
window = "1h"
amount = { free = 600, paid = 6000 }
burst = 20
[[quota]]
name = "home"
scope = "group"
window = "1s"
amount = 50
burst = 20
[[quota]]
name = "one"
scope = "device"
window = "1s"
amount = 50
burst = 20
[resource.state]
interval_min = "1s"
interval_default = "1m"
path = "/devices/{{ device.external_id }}"
records = "{values: {t: .t}}"
"#;

async fn sql(rig: &Rig, statement: &'static str) {
    sqlx::query(statement).execute(&rig.t.app.pool).await.unwrap();
}

fn key(rig: &Rig, name: &str) -> String {
    rig.t.app.keys.anchor(&rig.provider.parse().unwrap()) + name
}

/// The keys in which the schedule has something of a connection.
async fn kept(rig: &Rig, connection: ConnectionId) -> Vec<&'static str> {
    let mut link = rig.t.app.redis.link();
    let mut found = Vec::new();
    for (name, command) in [
        ("quotas", "HKEYS"),
        ("quota_inputs", "HKEYS"),
        ("vtime", "HKEYS"),
        ("weights", "HKEYS"),
        ("homes", "SMEMBERS"),
    ] {
        let holders: Vec<String> =
            redis::cmd(command).arg(key(rig, name)).query_async(&mut link).await.unwrap();
        let is_theirs = |holder: &String| holder.split('.').next() == Some(&connection.to_string());
        found.extend(holders.iter().any(is_theirs).then_some(name));
    }
    let own = key(rig, &format!("quota:{connection}"));
    let has_own: bool = redis::cmd("EXISTS").arg(own).query_async(&mut link).await.unwrap();
    found.extend(has_own.then_some("quota"));
    found
}

/// As though the connection had been found gone long ago.
async fn age_mark(rig: &Rig, connection: ConnectionId) {
    let mut zadd = redis::cmd("ZADD");
    zadd.arg(key(rig, "gone")).arg(1).arg(connection.to_string());
    zadd.query_async::<()>(&mut rig.t.app.redis.link()).await.unwrap();
}

async fn marked(rig: &Rig) -> Vec<String> {
    let mut zrange = redis::cmd("ZRANGE");
    zrange.arg(key(rig, "gone")).arg(0).arg(-1);
    zrange.query_async(&mut rig.t.app.redis.link()).await.unwrap()
}

#[tokio::test]
async fn state_of_deleted_connections_is_deleted_once_it_is_past() {
    let rig = Rig::new(GROUPED, 1).await;
    let gone = rig.t.connect(rig.provider, "gone", &rig.cloud.uri()).await;
    rig.t.add_devices(rig.provider, gone, 1, "1h").await;
    sql(&rig, "UPDATE devices SET group_key = 'home.1'").await;
    sql(&rig, "UPDATE tenants SET weight = 2").await;
    sql(&rig, "INSERT INTO outbox (provider, job_id) SELECT provider, job_id FROM jobs").await;
    keep::drain(&rig.t.app).await.unwrap();
    rig.answer(ResponseTemplate::new(200).set_body_json(json!({"t": 1}))).await;
    rig.land(2).await;
    let before = [kept(&rig, gone).await, kept(&rig, rig.connection).await];
    for place in ["quotas", "quota_inputs", "weights", "homes", "quota"] {
        assert!(before.iter().all(|kept| kept.contains(&place)), "{place}: {before:?}");
    }
    let check = async || keep::check(&rig.t.app, true).await.unwrap();
    check().await;
    assert_eq!(marked(&rig).await, [""; 0]);

    const DEVICES: &str = "device_id IN (SELECT device_id FROM devices JOIN connections USING (connection_id)
                                         WHERE label = 'gone')";
    for of_devices in ["latest", "jobs", "devices"] {
        let delete = format!("DELETE FROM {of_devices} WHERE {DEVICES}");
        sqlx::query(AssertSqlSafe(delete)).execute(&rig.t.app.pool).await.unwrap();
    }
    sql(&rig, "DELETE FROM connections WHERE label = 'gone'").await;
    // What it spent still counts at its provider, should it come back out of a backup.
    for _ in 0..2 {
        check().await;
        assert_eq!(marked(&rig).await, [gone.to_string()]);
        assert_eq!(kept(&rig, gone).await, before[0]);
    }
    // One that is there keeps its state, whatever it was taken for.
    age_mark(&rig, rig.connection).await;
    check().await;
    assert_eq!(marked(&rig).await, [gone.to_string()]);
    age_mark(&rig, gone).await;
    check().await;
    assert_eq!(marked(&rig).await, [""; 0]);
    assert_eq!(kept(&rig, gone).await, [""; 0]);
    assert_eq!(kept(&rig, rig.connection).await, before[1]);
    assert!(rig.check().await.clean);
}

#[tokio::test]
async fn one_process_checks_at_a_time_and_holds_no_connection_for_its_turn() {
    let t = TestApp::with_settings(&[("mocked", GROUPED)], |s| s.database.connections_max = 1).await;
    let other = t.app_at(&server("PACELINE_TEST_REDIS_URL")).await;
    let (one, another) = tokio::join!(keep::check_in_turn(&t.app), keep::check_in_turn(&other));
    let reports = [one.unwrap(), another.unwrap()];
    assert_eq!(reports.iter().flatten().count(), 1, "{reports:?}");
    assert!(keep::check_in_turn(&t.app).await.unwrap().is_none());
}

#[tokio::test]
async fn devices_are_looked_up_by_an_index() {
    let t = TestApp::with_settings(&[("mocked", GROUPED)], |s| s.database.connections_max = 1).await;
    t.connect("mocked", "main", "http://127.0.0.1:9").await;
    let fill = "INSERT INTO devices (tenant_id, connection_id, external_id)
                SELECT tenant_id, connection_id, 'd' || n FROM connections, generate_series(1, 20000) n";
    for statement in [fill, "ANALYZE devices"] {
        sqlx::query(statement).execute(&t.app.pool).await.unwrap();
    }
    let scans = async || {
        // What this one connection has counted is written down at the end of the statement.
        sqlx::query("SELECT pg_stat_force_next_flush()").execute(&t.app.pool).await.unwrap();
        let count = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'devices'";
        sqlx::query_scalar::<_, i64>(count).fetch_one(&t.app.pool).await.unwrap()
    };
    let before = scans().await;
    // Often enough for a plan that fits all values.
    for _ in 0..10 {
        assert!(find::device(&t.app.pool, None, "7").await.is_ok());
        assert!(find::device(&t.app.pool, Some(t.tenant), "d19000").await.is_ok());
    }
    assert_eq!(scans().await, before);
}

async fn reads(redis: &Redis) -> u64 {
    let mut info = redis::cmd("INFO");
    let told: redis::InfoDict = info.arg("stats").query_async(&mut redis.link()).await.unwrap();
    told.get("total_reads_processed").unwrap()
}

#[tokio::test]
async fn devices_that_start_to_probe_together_leave_the_cache_in_one_round_trip() {
    const MANY: &str = r#"
title = "Many"
[http]
base_url = "{{ params.base_url }}"
[resource.state]
unit = "batch"
batch_max = 50
interval_min = "1s"
interval_default = "1m"
path = "/state"
records = ".devices[] | {id, values: {t}}"
"#;
    let server = PrivateRedis::start().await;
    let rig = Rig::at(&server.url, MANY, 50, "1h").await;
    rig.answer(ResponseTemplate::new(200).set_body_json(json!({"devices": [{"id": "another", "t": 1}]})))
        .await;
    let mut app = rig.t.app.clone();
    app.settings.probe.gone_after = 1;
    let provider = app.registry.get(rig.provider).unwrap();
    let journey = Journey::new(&app, provider, CancellationToken::new()).unwrap();
    let watch = server.link().await;
    assert_eq!(rig.start(&journey).await, Some(1));
    rig.asked(1).await;
    let before = reads(&watch).await;
    journey.land().await.unwrap();
    let spent = reads(&watch).await - before;
    let probing: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE state = 'probing'")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!(probing, 50);
    assert!(spent < 25, "{spent} reads for 50 devices");
}

#[tokio::test]
async fn unsolicited_records_of_many_calls_find_their_own_jobs() {
    let t = TestApp::with(&[("mocked", GROUPED)]).await;
    let mut firsts = Vec::new();
    for label in ["one", "other"] {
        let connection = t.connect("mocked", label, "http://127.0.0.1:9").await;
        let devices = t.add_devices("mocked", connection, 3, "1h").await;
        let jobs: Vec<i64> = sqlx::query_scalar("SELECT job_id FROM jobs WHERE device_id = $1")
            .bind(devices[0].0)
            .fetch_all(&t.app.pool)
            .await
            .unwrap();
        firsts.push((connection, devices, JobId(jobs[0])));
    }
    let [(_, _, one), (_, _, other)] = &firsts[..] else { panic!() };
    let pairs = [(*one, "d1"), (*one, "d9"), (*other, "d1"), (*other, "d2")];
    let found = record::read_siblings(&t.app.pool, &pairs).await.unwrap();
    for (n, (connection, devices, job)) in firsts.iter().enumerate() {
        let mut rows: Vec<_> = found[job].iter().map(|row| (row.connection_id, row.device_id)).collect();
        rows.sort_unstable();
        let wanted: Vec<_> = devices[1..2 + n].iter().map(|device| (connection.0, device.0)).collect();
        assert_eq!(rows, wanted);
    }
}

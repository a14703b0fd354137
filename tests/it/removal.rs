//! Removed devices and connections leave every place that has something of them, and nothing brings them back.

use crate::journey::{BATCH, Rig, SINGLE, good};
use paceline::keep::{self, Removal};
use paceline::preference::{outbox, refusals, removal};
use paceline::read;
use paceline::words::JobId;
use serde_json::json;
use std::time::Duration;
use wiremock::ResponseTemplate;

fn two() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({"devices": [{"id": "d0", "t": 1}, {"id": "d1", "t": 2}]}))
}

/// Rows of devices, jobs, latest values, readings and events.
async fn rows(rig: &Rig) -> (i64, i64, i64, i64, i64) {
    sqlx::query_as(
        "SELECT (SELECT count(*) FROM devices), (SELECT count(*) FROM jobs), (SELECT count(*) FROM latest),
                (SELECT count(*) FROM readings), (SELECT count(*) FROM sync_events)",
    )
    .fetch_one(&rig.t.app.pool)
    .await
    .unwrap()
}

async fn scheduled(rig: &Rig) -> usize {
    let provider = rig.provider.parse().unwrap();
    rig.t.app.queue.ids(&provider, JobId(1_000)).await.unwrap().len()
}

#[tokio::test]
async fn removed_device_leaves_postgres_schedule_and_cache() {
    let rig = Rig::new(BATCH, 2).await;
    let app = &rig.t.app;
    rig.answer(two()).await;
    rig.land(1).await;
    read::refresh(app, rig.t.tenant, &rig.devices).await.unwrap();
    assert_eq!(rows(&rig).await, (2, 2, 2, 2, 0));

    let gone = [rig.devices[0]];
    let expected = Removal { devices: 1, jobs: 1, readings: 1 };
    assert_eq!(keep::count_devices(app, rig.t.tenant, &gone).await.unwrap(), expected);
    assert_eq!(keep::remove_devices(app, rig.t.tenant, &gone).await.unwrap(), expected);
    assert_eq!(rows(&rig).await, (1, 1, 1, 1, 0));
    assert_eq!(scheduled(&rig).await, 1);
    let cached = app.cache.get(rig.t.tenant, &rig.devices).await.unwrap();
    assert!(cached[0].is_empty() && !cached[1].is_empty(), "{cached:?}");
    assert!(read::device(app, rig.t.tenant, gone[0], read::With::default()).await.unwrap().is_none());
    assert!(rig.check().await.clean);
    // Again, or by another tenant: nothing is there.
    assert_eq!(keep::remove_devices(app, rig.t.tenant, &gone).await.unwrap(), Removal::default());
    let stranger = paceline::words::TenantId(rig.t.tenant.0 + 1);
    assert_eq!(keep::remove_devices(app, stranger, &rig.devices).await.unwrap(), Removal::default());
    assert_eq!(rows(&rig).await, (1, 1, 1, 1, 0));
}

#[tokio::test]
async fn removal_whose_process_dies_is_finished_by_the_keeper() {
    let rig = Rig::new(BATCH, 2).await;
    let app = &rig.t.app;
    rig.answer(two()).await;
    rig.land(1).await;
    // A device without a job is cached, too.
    sqlx::query("DELETE FROM jobs WHERE device_id = $1")
        .bind(rig.devices[1].0)
        .execute(&app.pool)
        .await
        .unwrap();
    read::refresh(app, rig.t.tenant, &rig.devices).await.unwrap();
    removal::remove_devices(&app.pool, rig.t.tenant, &rig.devices).await.unwrap();
    assert_eq!(outbox::read(&app.pool, 10).await.unwrap().len(), 2);
    keep::drain(app).await.unwrap();
    let cached = app.cache.get(rig.t.tenant, &rig.devices).await.unwrap();
    assert!(cached.iter().all(|fields| fields.is_empty()), "{cached:?}");
}

#[tokio::test]
async fn call_in_flight_for_a_removed_device_writes_nothing() {
    for answer in [good(1.0), ResponseTemplate::new(500)] {
        let rig = Rig::new(SINGLE, 1).await;
        rig.answer(answer.set_delay(Duration::from_secs(1))).await;
        rig.start(&rig.journey).await.unwrap();
        rig.asked(1).await;
        keep::remove_devices(&rig.t.app, rig.t.tenant, &rig.devices).await.unwrap();
        let landed = rig.journey.land().await.unwrap();
        assert_eq!((landed.sent, landed.ended), (1, 1));
        assert_eq!(rows(&rig).await, (0, 0, 0, 0, 0));
        assert_eq!(scheduled(&rig).await, 0);
        assert!(rig.check().await.clean);
    }
}

#[tokio::test]
async fn another_job_probes_a_refused_connection_when_the_probing_device_is_removed() {
    let rig = Rig::new(SINGLE, 2).await;
    let app = &rig.t.app;
    let provider = rig.provider.parse().unwrap();
    let off = refusals::needs_reauth(&app.pool, rig.connection, "HTTP 401", 1).await.unwrap().unwrap();
    app.queue.drop(&provider, &off).await.unwrap();
    assert!(!rig.location(rig.devices[1]).await.known);
    keep::remove_devices(app, rig.t.tenant, &rig.devices[..1]).await.unwrap();
    assert!(rig.location(rig.devices[1]).await.known);
    assert!(rig.check().await.clean);
}

#[tokio::test]
async fn removed_connection_leaves_nothing_and_others_stay() {
    let rig = Rig::new(BATCH, 2).await;
    let app = &rig.t.app;
    rig.answer(two()).await;
    rig.land(1).await;
    let other = rig.t.connect(rig.provider, "other", &rig.cloud.uri()).await;
    rig.t.add_devices(rig.provider, other, 1, "1h").await;
    keep::drain(app).await.unwrap();
    keep::remove_devices(app, rig.t.tenant, &rig.devices[..1]).await.unwrap();
    for sql in [
        "INSERT INTO tokens (tenant_id, connection_id) SELECT tenant_id, connection_id FROM connections",
        "INSERT INTO authorisations (state_hash, tenant_id, connection_id, sealed, expires_at)
         SELECT 'x', tenant_id, connection_id, 'y', now() FROM connections WHERE label = 'main'",
    ] {
        sqlx::query(sql).execute(&app.pool).await.unwrap();
    }
    let removed = keep::remove_connection(app, rig.t.tenant, rig.connection).await.unwrap();
    assert_eq!(removed, Some(Removal { devices: 1, jobs: 1, readings: 1 }));
    assert_eq!(rows(&rig).await, (1, 1, 0, 0, 0));
    let left: (i64, i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM connections), (SELECT count(*) FROM tokens),
                (SELECT count(*) FROM authorisations), (SELECT count(*) FROM removed_devices)",
    )
    .fetch_one(&app.pool)
    .await
    .unwrap();
    assert_eq!(left, (1, 1, 0, 0));
    assert_eq!(scheduled(&rig).await, 1);
    assert!(rig.check().await.clean);
    assert_eq!(keep::remove_connection(app, rig.t.tenant, rig.connection).await.unwrap(), None);
}

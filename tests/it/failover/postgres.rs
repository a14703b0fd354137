//! A standby of Postgres is promoted. The old primary dies, or lives on without taking writes.

use crate::metered::{DEFINITION, Metered, Running, settings};
use crate::private_postgres::PrivatePostgres;
use crate::support::{TestApp, server};
use crate::wire::Wire;
use paceline::keep;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// What is done to the old primary before the other is promoted.
enum End {
    Demoted,
    Killed,
}

async fn goes_on_after(end: End) {
    let mut old = PrivatePostgres::start().await;
    let t = TestApp::in_database(&old.url, &[("mocked", DEFINITION)], settings).await;
    let new = old.standby().await;
    let cloud = Metered::start(&t, "mocked").await;
    let wire = Wire::to(&old.url).await;
    let redis_url = server("PACELINE_TEST_REDIS_URL");
    let worker = Running::start(t.app_on(&wire.reroute(&old.url), &redis_url).await);
    cloud.is_called(100, Duration::from_secs(10)).await;
    let readings = "SELECT count(*) FROM latest";
    let acknowledged: i64 = sqlx::query_scalar(readings).fetch_one(&t.app.pool).await.unwrap();

    match end {
        // Open connections lead there still. New ones are led to a standby, which is refused.
        End::Demoted => old.demote().await,
        End::Killed => old.kill().await,
    }
    wire.lead_to(&new.url);
    sleep(Duration::from_secs(2)).await;
    new.say("SELECT pg_promote()").await;
    cloud.is_called(100, Duration::from_secs(10)).await;

    let t = t.at_postgres(&new.url).await;
    let there: i64 = sqlx::query_scalar(readings).fetch_one(&t.app.pool).await.unwrap();
    assert!(acknowledged > 0 && there >= acknowledged, "{there} of {acknowledged} readings");
    // The worker listens there, and schedules the change.
    let connection = t.connect("mocked", "added", "http://127.0.0.1:1").await;
    t.add_devices("mocked", connection, 1, "1h").await;
    let scheduled = async {
        let waiting = "SELECT count(*) FROM outbox";
        while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&t.app.pool).await.unwrap() > 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(10), scheduled).await.expect("an empty outbox");
    worker.end().await;
    let report = keep::check(&t.app, false).await.unwrap();
    assert!(report.clean && report.scheduled == 101, "{report:?}");
    cloud.quota_was_kept("a standby of Postgres promoted");
}

#[tokio::test]
async fn slow_work_goes_on_at_the_promoted_postgres_while_the_old_one_takes_no_writes() {
    goes_on_after(End::Demoted).await;
}

#[tokio::test]
async fn slow_work_goes_on_at_the_promoted_postgres_when_the_old_one_dies() {
    goes_on_after(End::Killed).await;
}

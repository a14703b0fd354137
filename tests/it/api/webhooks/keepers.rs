//! Several processes, and processes that end in the middle.

use super::*;
use paceline::serve::{Role as ProcessRole, serve};
use paceline::words::WebhookId;
use tokio_util::sync::CancellationToken;

/// Another process of the same deployment.
async fn process(rig: &Rig) -> App {
    rig.api.test.app_at(&crate::support::server("PACELINE_TEST_REDIS_URL")).await
}

#[tokio::test]
async fn batch_of_a_process_that_was_killed_is_delivered_again_under_its_id() {
    let mut rig = Rig::new(2).await;
    let (id, _) = rig.add().await;
    rig.receiver.answer([Answer::Hang]);
    rig.land(0..1, 1).await;
    let (app, found) = (rig.app().clone(), due(rig.app()).await);
    let killed = tokio::spawn(async move { webhook::deliver(&app, &found[0]).await });
    let first = rig.receiver.next().await;
    killed.abort();
    assert!(killed.await.unwrap_err().is_cancelled());
    rig.land(1..2, 2).await;
    let other = process(&rig).await;
    assert_eq!(round(&other).await, 0, "it cannot know yet that nobody delivers");
    // Nor if it looked just before the other's claim.
    let tenant = rig.api.test.tenant;
    let found = Due { tenant, id: WebhookId(id), failing: false };
    webhook::deliver(&other, &found).await.unwrap();
    assert!(rig.receiver.all().is_empty());
    later(&other, 2 * MINUTE_MS);
    assert_eq!(round(&other).await, 1);
    let posts = rig.receiver.all();
    assert_eq!((&posts[0].id, posts[0].readings()), (&first.id, first.readings()));
    assert_eq!(posts[1].readings(), rig.pairs(1..2, 2));
}

#[tokio::test]
async fn process_that_was_given_up_changes_nothing() {
    let mut rig = Rig::new(2).await;
    let (id, _) = rig.add().await;
    rig.receiver.answer([Answer::Hang]);
    rig.land(0..1, 1).await;
    let (app, found) = (rig.app().clone(), due(rig.app()).await);
    let slow = tokio::spawn(async move { webhook::deliver(&app, &found[0]).await });
    rig.receiver.next().await;
    // Its post will time out. Meanwhile its claim expires, and another process delivers.
    let other = process(&rig).await;
    later(&other, 2 * MINUTE_MS);
    assert_eq!(round(&other).await, 1);
    let before = rig.show(id).await;
    timeout(TIMEOUT, slow).await.unwrap().unwrap().unwrap();
    assert_eq!(rig.show(id).await, before, "the late one's failure is not noted");
    assert_eq!(before["state"], "delivering");
}

#[tokio::test]
async fn process_that_keeps_house_delivers() {
    let mut rig = Rig::new(1).await;
    let (_, secret) = rig.add().await;
    rig.land(0..1, 1).await;
    let (app, stop) = (rig.app().clone(), CancellationToken::new());
    let process = tokio::spawn({
        let stop = stop.clone();
        async move { serve(app, &[ProcessRole::Keep], None, stop).await }
    });
    assert!(rig.receiver.next().await.is_signed_by(&secret));
    stop.cancel();
    timeout(TIMEOUT, process).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn two_keepers_deliver_each_change_once() {
    let mut rig = Rig::new(4).await;
    rig.add().await;
    let (one, other, stop) = (rig.app().clone(), process(&rig).await, CancellationToken::new());
    let keepers = [one, other].map(|app| tokio::spawn(webhook::run(app, stop.clone())));
    for device in 0..4 {
        rig.land(device..device + 1, 1).await;
        assert_eq!(rig.receiver.next().await.readings(), rig.pairs(device..device + 1, 1));
    }
    stop.cancel();
    for keeper in keepers {
        timeout(TIMEOUT, keeper).await.unwrap().unwrap();
    }
    assert!(rig.receiver.all().is_empty());
}

#[tokio::test]
async fn receiver_that_hangs_does_not_hold_up_others() {
    let mut rig = Rig::new(1).await;
    let mut hanging = Receiver::start().await;
    hanging.answer([Answer::Hang]);
    let (id, _) = rig.add_with(json!({ "url": hanging.url })).await;
    rig.add().await;
    let stop = CancellationToken::new();
    let keeper = tokio::spawn(webhook::run(rig.app().clone(), stop.clone()));
    for n in 1..=2 {
        rig.land(0..1, n).await;
        assert_eq!(rig.receiver.next().await.readings(), rig.pairs(0..1, n));
    }
    assert_eq!(rig.show(id).await["state"], "delivering", "its attempt has not ended");
    hanging.next().await;
    assert!(hanging.all().is_empty(), "one delivery at a time");
    stop.cancel();
    timeout(TIMEOUT, keeper).await.unwrap().unwrap();
    assert_eq!(rig.show(id).await["state"], "delivering", "nor does it hold up the process's end");
}

#[tokio::test]
async fn receivers_that_hang_repeatedly_leave_places_to_others() {
    let mut rig = Rig::new(1).await;
    let mut hanging = Receiver::start().await;
    hanging.answer((0..5).map(|_| Answer::Hang));
    for _ in 0..5 {
        rig.add_with(json!({ "url": hanging.url })).await;
    }
    sqlx::query("UPDATE webhooks SET attempts = 1").execute(&rig.app().pool).await.unwrap();
    rig.land(0..1, 1).await;
    let keeper = tokio::spawn(webhook::run(rig.app().clone(), CancellationToken::new()));
    for _ in 0..3 {
        hanging.next().await;
    }
    // Found by a look while others wait for a place.
    rig.add().await;
    rig.land(0..1, 2).await;
    assert_eq!(rig.receiver.next().await.readings(), rig.pairs(0..1, 2));
    let attempts = sqlx::query_scalar::<_, i32>("SELECT max(attempts) FROM webhooks");
    assert_eq!(attempts.fetch_one(&rig.app().pool).await.unwrap(), 1, "none of theirs has ended");
    assert!(hanging.all().is_empty(), "three of those that fail at once");
    keeper.abort();
}

#[tokio::test]
async fn webhook_added_while_redis_is_away_begins_when_it_is_back() {
    let rig = Rig::new(1).await;
    let (id, _) = rig.add().await;
    sqlx::query("UPDATE webhooks SET cursor = NULL").execute(&rig.app().pool).await.unwrap();
    let mut rig = rig;
    round(rig.app()).await;
    assert!(rig.receiver.all().is_empty() && rig.show(id).await["cursor"].is_string());
    rig.land(0..1, 1).await;
    round(rig.app()).await;
    assert_eq!(rig.receiver.next().await.readings(), rig.pairs(0..1, 1));
}

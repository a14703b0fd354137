//! What is delivered, in which order, and what follows a failure.

use super::*;

#[tokio::test]
async fn changes_are_delivered_in_order_in_batches_and_signed() {
    let mut rig = Rig::with(5, |settings| settings.webhooks.batch = 3).await;
    let (id, secret) = rig.add().await;
    assert_eq!(round(rig.app()).await, 0, "nothing changed yet");
    rig.land(0..5, 1).await;
    assert_eq!(round(rig.app()).await, 1);
    let posts = rig.receiver.all();
    let readings: Vec<_> = posts.iter().map(Post::readings).collect();
    assert_eq!(readings, [rig.pairs(0..3, 1), rig.pairs(3..5, 4)]);
    for (post, number) in posts.iter().zip(1..) {
        assert_eq!(post.id, format!("msg_{id}_{number}"));
        assert!(post.is_signed_by(&secret) && post.signatures.split(' ').count() == 1, "{post:?}");
        assert_eq!(post.body["type"], "changes");
        let sent: i64 = post.timestamp.parse().unwrap();
        assert!((sent - rig.app().clock.now().0 / 1000).abs() < 60, "{sent}");
        let ids: Vec<_> = post.events().iter().map(|event| event["id"].as_str().unwrap()).collect();
        assert!(ids.is_sorted(), "{ids:?}");
    }
    // The same as the event stream says of a reading.
    let device = rig.api.devices[0];
    let expected = json!({
        "device": device, "name": "Device 0", "provider": "testcloud", "connection": "home", "group": null,
        "resource": "state", "values": {"n": 1}, "online": true, "fresh": true, "interval": "30s",
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&posts[0].events()[0]["data"][name], value, "{name}");
    }
    let shown = rig.show(id).await;
    assert_eq!((&shown["state"], &shown["last_status"]), (&json!("delivering"), &json!(200)));
    assert_eq!(shown["cursor"], posts[1].events()[1]["id"]);
    assert_eq!(round(rig.app()).await, 0, "nothing is delivered twice");
    // Removals are delivered, too.
    paceline::keep::remove_devices(rig.app(), rig.api.test.tenant, &[device]).await.unwrap();
    round(rig.app()).await;
    let gone = rig.receiver.next().await;
    assert_eq!(
        (&gone.events()[0]["type"], &gone.events()[0]["data"]),
        (&json!("gone"), &json!({"device": device}))
    );
}

#[tokio::test]
async fn failed_batch_is_repeated_as_it_was_and_what_came_since_follows() {
    let mut rig = Rig::new(3).await;
    let (id, _) = rig.add().await;
    rig.receiver.answer([Answer::Status(500), Answer::With(503, "retry-after", "600".to_owned())]);
    rig.land(0..2, 1).await;
    round(rig.app()).await;
    let first = rig.receiver.next().await;
    let shown = rig.show(id).await;
    assert_eq!((&shown["state"], &shown["reason"]), (&json!("failing"), &json!("the receiver answered 500")));
    assert!(shown["since"].is_string() && shown["next_try_at"].is_string(), "{shown}");
    rig.land(2..3, 3).await;
    assert_eq!(round(rig.app()).await, 0, "not before its time");
    rig.wait(6_000);
    round(rig.app()).await;
    rig.wait(5 * MINUTE_MS);
    assert_eq!(round(rig.app()).await, 0, "the receiver asked for ten minutes");
    rig.wait(6 * MINUTE_MS);
    round(rig.app()).await;
    let posts = rig.receiver.all();
    let ids: Vec<_> = posts.iter().map(|post| post.id.as_str()).collect();
    assert_eq!(ids, [&first.id, &first.id, &format!("msg_{id}_2")]);
    for post in [&first, &posts[0], &posts[1]] {
        assert_eq!(post.readings(), rig.pairs(0..2, 1));
    }
    assert_eq!(posts[2].readings(), rig.pairs(2..3, 3));
    let shown = rig.show(id).await;
    assert_eq!((&shown["state"], &shown["since"]), (&json!("delivering"), &Value::Null));
}

#[tokio::test]
async fn redirects_are_failures_and_not_followed() {
    let mut rig = Rig::new(1).await;
    let mut other = Receiver::start().await;
    let (id, _) = rig.add().await;
    rig.receiver.answer([Answer::With(307, "location", other.url.clone())]);
    rig.land(0..1, 1).await;
    round(rig.app()).await;
    rig.receiver.next().await;
    assert!(other.all().is_empty());
    let reason = rig.show(id).await["reason"].clone();
    assert_eq!(reason, "the receiver answered 307; redirects are not followed");
}

#[tokio::test]
async fn name_that_leads_to_a_private_network_is_not_called() {
    let mut rig = Rig::with(1, |settings| settings.webhooks.private_networks = false).await;
    let (id, _) = rig.add_with(json!({"url": "https://example.com/"})).await;
    // As if its name led here by now: a name is checked by what it resolves to.
    let port = rig.receiver.url.rsplit(':').next().unwrap().to_owned();
    let url = format!("https://localhost:{port}");
    sqlx::query("UPDATE webhooks SET url = $1").bind(url).execute(&rig.app().pool).await.unwrap();
    rig.land(0..1, 1).await;
    round(rig.app()).await;
    assert!(rig.receiver.all().is_empty());
    let reason = rig.show(id).await["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("localhost is in a private network"), "{reason}");
}

#[tokio::test]
async fn receiver_that_is_gone_is_disabled_until_it_is_enabled_again() {
    let mut rig = Rig::new(2).await;
    let (id, _) = rig.add().await;
    rig.receiver.answer([Answer::Status(410)]);
    rig.land(0..1, 1).await;
    round(rig.app()).await;
    rig.receiver.next().await;
    let shown = rig.show(id).await;
    assert_eq!(
        (&shown["state"], &shown["reason"]),
        (&json!("disabled"), &json!("the receiver answered 410 Gone"))
    );
    rig.land(1..2, 2).await;
    rig.wait(DAY_MS);
    assert_eq!(round(rig.app()).await, 0);
    let enabled = rig.ask("PATCH", &format!("/v1/webhooks/{id}"), &rig.key, json!({"enabled": true})).await;
    assert_eq!((enabled.status, &enabled.body["state"]), (StatusCode::OK, &json!("delivering")));
    round(rig.app()).await;
    let readings: Vec<_> = rig.receiver.all().iter().flat_map(Post::readings).collect();
    assert_eq!(readings, rig.pairs(0..2, 1));
}

#[tokio::test]
async fn days_of_nothing_but_failure_disable_and_say_so() {
    let mut rig = Rig::new(1).await;
    let (id, _) = rig.add().await;
    rig.receiver.answer((0..3).map(|_| Answer::Status(502)));
    rig.land(0..1, 1).await;
    for ms in [0, 5 * DAY_MS - MINUTE_MS, 2 * MINUTE_MS] {
        rig.wait(ms);
        sqlx::query("UPDATE webhooks SET next_try_at = NULL").execute(&rig.app().pool).await.unwrap();
        assert_eq!(rig.show(id).await["disabled"], Value::Null);
        round(rig.app()).await;
        rig.receiver.next().await;
    }
    let shown = rig.show(id).await;
    let reason = shown["reason"].as_str().unwrap();
    assert!(shown["state"] == "disabled" && reason.contains("nothing could be delivered since"), "{shown}");
    assert!(reason.contains("the receiver answered 502"), "{reason}");
    rig.wait(DAY_MS);
    assert_eq!(round(rig.app()).await, 0);
    // Enabled again, it is as one that never failed.
    rig.receiver.answer([Answer::Status(502)]);
    rig.ask("PATCH", &format!("/v1/webhooks/{id}"), &rig.key, json!({"enabled": true})).await;
    round(rig.app()).await;
    rig.receiver.next().await;
    assert_eq!(rig.show(id).await["state"], "failing");
}

#[tokio::test]
async fn changes_that_are_not_kept_any_more_are_a_resync() {
    let mut rig = Rig::new(2).await;
    let (id, _) = rig.add().await;
    rig.land(0..1, 1).await;
    let stream = rig.app().keys.changes(rig.api.test.tenant);
    let app = rig.app().clone();
    let lose = async || {
        let mut lost = redis::cmd("DEL");
        lost.arg(&stream).exec_async(&mut app.redis.link()).await.unwrap();
    };
    lose().await;
    rig.receiver.answer([Answer::Status(500)]);
    round(rig.app()).await;
    rig.land(1..2, 2).await;
    rig.wait(6_000);
    round(rig.app()).await;
    let posts = rig.receiver.all();
    let seen: Vec<_> = posts.iter().map(|post| (post.is_resync(), post.events().len())).collect();
    assert_eq!(seen, [(true, 0), (true, 0), (false, 1)], "{posts:?}");
    assert_eq!(posts[0].id, posts[1].id);
    assert_eq!(posts[2].readings(), rig.pairs(1..2, 2), "it goes on after the resync");
    assert_eq!(rig.show(id).await["state"], "delivering");

    // A batch that was begun, and whose changes are lost before it is delivered: another id, as receivers leave out one
    // that they had.
    rig.receiver.answer([Answer::Status(500)]);
    rig.land(0..1, 3).await;
    round(rig.app()).await;
    lose().await;
    rig.wait(6_000);
    round(rig.app()).await;
    let posts = rig.receiver.all();
    assert_eq!(posts.iter().map(Post::is_resync).collect::<Vec<_>>(), [false, true]);
    assert_ne!(posts[0].id, posts[1].id);
}

#[tokio::test]
async fn filters_choose_what_is_delivered() {
    let mut rig = Rig::new(3).await;
    let pool = rig.app().pool.clone();
    let set = "UPDATE devices SET group_key = 'cabin' WHERE device_id = $1";
    sqlx::query(set).bind(rig.api.devices[1].0).execute(&pool).await.unwrap();
    let first = rig.api.devices[0];
    for (filter, expected) in [
        (json!({"devices": [first]}), 0..1),
        (json!({"group": "cabin"}), 1..2),
        (json!({"provider": "testcloud", "connection": "home"}), 0..3),
        (json!({"group": "attic"}), 0..0),
    ] {
        let (id, _) = rig.add_with(json!({"url": rig.receiver.url, "filter": filter})).await;
        rig.land(0..3, 1).await;
        round(rig.app()).await;
        let found: Vec<_> = rig.receiver.all().iter().flat_map(Post::readings).collect();
        let firsts = rig.pairs(0..3, 1);
        assert_eq!(found, firsts[expected].to_vec(), "{filter}");
        assert_eq!(round(rig.app()).await, 0, "what is left out is passed over: {filter}");
        rig.ask("DELETE", &format!("/v1/webhooks/{id}"), &rig.key, json!({})).await;
    }
    // Of a connection that is gone: nothing, rather than everything.
    let (_, _) = rig.add_with(json!({"url": rig.receiver.url, "filter": {"connection": "home"}})).await;
    sqlx::query("UPDATE webhooks SET connection_id = 9999").execute(&pool).await.unwrap();
    rig.land(0..3, 4).await;
    round(rig.app()).await;
    assert!(rig.receiver.all().is_empty());
}

//! What the API does with webhooks.

use super::*;
use paceline::app::Servers;
use paceline::seal::Sealer;

#[tokio::test]
async fn webhook_is_added_shown_changed_and_deleted_and_its_secret_shown_once() {
    let rig = Rig::new(1).await;
    let body = json!({
        "url": "https://example.com/hook", "label": " backend ",
        "filter": {"devices": [rig.api.devices[0]], "connection": "home"},
    });
    let added = rig.post("/v1/webhooks", body).await;
    let (id, secret) =
        (added.body["id"].as_i64().unwrap(), added.body["secret"].as_str().unwrap().to_owned());
    assert!(secret.starts_with("whsec_") && secret.len() == 50, "{secret}");
    let shown = rig.show(id).await;
    for (name, value) in shown.as_object().unwrap() {
        assert_eq!(&added.body[name], value, "{name}");
    }
    assert_eq!((&shown["label"], &shown["state"]), (&json!("backend"), &json!("delivering")));
    assert_eq!(shown["filter"]["devices"], json!([rig.api.devices[0]]));
    let listed = rig.api.get("/v1/webhooks", &rig.key).await;
    assert_eq!(listed.body["webhooks"], json!([shown]));
    let sealed: Vec<u8> =
        sqlx::query_scalar("SELECT secrets_sealed FROM webhooks").fetch_one(&rig.app().pool).await.unwrap();
    assert!(!String::from_utf8_lossy(&sealed).contains(&secret[6..20]));

    let path = format!("/v1/webhooks/{id}");
    let patch = json!({"url": "https://example.org/", "filter": {"group": "cabin"}, "enabled": false});
    let changed = rig.ask("PATCH", &path, &rig.key, patch).await.body;
    assert_eq!((&changed["url"], &changed["label"]), (&json!("https://example.org/"), &json!("backend")));
    let filter = json!({"devices": null, "provider": null, "connection": null, "group": "cabin"});
    assert_eq!(changed["filter"], filter);
    assert_eq!(
        (&changed["state"], &changed["reason"]),
        (&json!("disabled"), &json!("it was disabled by request"))
    );
    assert_eq!(rig.ask("DELETE", &path, &rig.key, json!({})).await.status, StatusCode::NO_CONTENT);
    let gone = rig.api.get(&path, &rig.key).await;
    assert_eq!((gone.status, gone.problem()), (StatusCode::NOT_FOUND, "no-such-webhook"));
}

#[tokio::test]
async fn what_cannot_be_a_webhook_is_refused_with_the_reason() {
    let rig = Rig::with(1, |settings| settings.webhooks.private_networks = false).await;
    let (id, _) = rig.add_with(json!({"url": "https://example.com/"})).await;
    for (url, says) in [
        ("http://example.com/", "https://"),
        ("https://127.0.0.1/", "private network"),
        ("https://[::ffff:10.0.0.1]/", "private network"),
        ("https://169.254.169.254/latest", "no server"),
        ("https://localhost/", "private network"),
        ("https://user:pass@example.com/", "user name"),
        ("example.com", "https://example.com/paceline"),
        ("", "https://example.com/paceline"),
        (&format!("https://example.com/{}", "x".repeat(3_000)), "longer"),
    ] {
        for (method, path) in [("POST", "/v1/webhooks".to_owned()), ("PATCH", format!("/v1/webhooks/{id}"))] {
            let refused = rig.ask(method, &path, &rig.key, json!({ "url": url })).await;
            assert_eq!((refused.status.as_u16(), refused.problem()), (422, "bad-webhook"), "{url:.40}");
            assert!(refused.detail().contains(says), "{url:.40}: {}", refused.detail());
        }
    }
    let url = "https://example.com/";
    let many: Vec<_> = (0..501).collect();
    for (body, status, problem) in [
        (json!({"url": url, "filter": {"provider": "tsetcloud"}}), 422, "bad-webhook"),
        (json!({"url": url, "filter": {"devices": many}}), 422, "bad-webhook"),
        (json!({"url": url, "filter": {"connection": "office"}}), 404, "no-such-connection"),
        (json!({"url": url, "label": "a\0b"}), 422, "bad-label"),
        (json!({"url": url, "secret": "x"}), 422, "bad-body"),
        (json!({}), 422, "bad-body"),
    ] {
        let refused = rig.post("/v1/webhooks", body.clone()).await;
        assert_eq!((refused.status.as_u16(), refused.problem()), (status, problem), "{body:.80}");
    }
    let nothing = rig.ask("PATCH", &format!("/v1/webhooks/{id}"), &rig.key, json!({})).await;
    assert_eq!((nothing.status.as_u16(), nothing.problem()), (422, "bad-webhook"));
    assert_eq!(rig.show(id).await["url"], url);
}

#[tokio::test]
async fn tenant_has_as_many_as_it_may_have() {
    let rig = Rig::with(1, |settings| settings.webhooks.tenant_max = 2).await;
    let adding = (0..4).map(|_| rig.post("/v1/webhooks", json!({ "url": rig.receiver.url })));
    let added = futures::future::join_all(adding).await;
    let refused: Vec<_> = added.iter().filter(|it| it.status == StatusCode::CONFLICT).collect();
    assert_eq!((refused.len(), refused[0].problem()), (2, "too-many-webhooks"));
}

#[tokio::test]
async fn other_tenants_see_and_receive_nothing() {
    let mut rig = Rig::new(1).await;
    let (_, _, stranger) = rig.api.stranger(Role::User).await;
    let (id, _) = rig.add().await;
    let mut their_receiver = Receiver::start().await;
    let added = rig.ask("POST", "/v1/webhooks", &stranger, json!({"url": their_receiver.url})).await;
    assert_eq!(added.status, StatusCode::CREATED);
    for (method, path, body) in [
        ("GET", "", json!({})),
        ("PATCH", "", json!({"enabled": false})),
        ("DELETE", "", json!({})),
        ("POST", "/rotate", json!({})),
        ("POST", "/test", json!({})),
        ("POST", "/replay", json!({"since": "1-0"})),
    ] {
        let refused = rig.ask(method, &format!("/v1/webhooks/{id}{path}"), &stranger, body).await;
        assert_eq!((refused.status.as_u16(), refused.problem()), (404, "no-such-webhook"), "{method} {path}");
    }
    let listed = rig.api.get("/v1/webhooks", &stranger).await;
    assert_eq!(listed.body["webhooks"].as_array().unwrap().len(), 1);
    rig.land(0..1, 1).await;
    round(rig.app()).await;
    assert_eq!(rig.receiver.next().await.readings(), rig.pairs(0..1, 1));
    assert!(their_receiver.all().is_empty());
    // Nor does a filter that names what is not theirs.
    let filter = json!({"url": their_receiver.url, "filter": {"connection": "home"}});
    let refused = rig.ask("POST", "/v1/webhooks", &stranger, filter).await;
    assert_eq!(refused.problem(), "no-such-connection");
}

#[tokio::test]
async fn rotated_secret_signs_beside_the_former_for_a_day() {
    let mut rig = Rig::new(1).await;
    let (id, former) = rig.add().await;
    let rotated = rig.post(&format!("/v1/webhooks/{id}/rotate"), json!({})).await;
    let secret = rotated.body["secret"].as_str().unwrap().to_owned();
    assert!(rotated.status.is_success() && secret != former && rotated.body["former_until"].is_string());
    rig.land(0..1, 1).await;
    round(rig.app()).await;
    let post = rig.receiver.next().await;
    assert_eq!(post.signatures.split(' ').count(), 2);
    assert!(post.is_signed_by(&secret) && post.is_signed_by(&former));
    rig.wait(DAY_MS + 1);
    rig.land(0..1, 2).await;
    round(rig.app()).await;
    let post = rig.receiver.next().await;
    assert!(post.is_signed_by(&secret) && !post.is_signed_by(&former), "{post:?}");
}

#[tokio::test]
async fn test_is_signed_and_says_what_the_receiver_said() {
    let mut rig = Rig::new(1).await;
    let (id, secret) = rig.add().await;
    let path = format!("/v1/webhooks/{id}/test");
    rig.receiver.answer([Answer::Status(204), Answer::Status(418)]);
    let good = rig.post(&path, json!({})).await.body;
    assert_eq!(
        (&good["delivered"], &good["status"], &good["error"]),
        (&json!(true), &json!(204), &Value::Null)
    );
    assert!(good["ms"].is_u64());
    let post = rig.receiver.next().await;
    assert!(post.is_signed_by(&secret) && post.body["type"] == "test", "{post:?}");
    let bad = rig.post(&path, json!({})).await.body;
    let error = json!("the receiver answered 418");
    assert_eq!((&bad["delivered"], &bad["status"], &bad["error"]), (&json!(false), &json!(418), &error));
    let (nowhere, _) = rig.add_with(json!({"url": "http://127.0.0.1:1/"})).await;
    let lost = rig.post(&format!("/v1/webhooks/{nowhere}/test"), json!({})).await.body;
    assert_eq!((&lost["delivered"], &lost["status"]), (&json!(false), &Value::Null));
    assert!(lost["error"].as_str().unwrap().len() > 10, "{lost}");
    assert_eq!(rig.show(id).await["state"], "delivering", "tests change nothing");
}

#[tokio::test]
async fn replay_delivers_again_as_far_as_changes_are_kept() {
    let mut rig = Rig::new(3).await;
    let (id, _) = rig.add().await;
    let began = rig.show(id).await["cursor"].as_str().unwrap().to_owned();
    rig.land(0..3, 1).await;
    round(rig.app()).await;
    let first = rig.receiver.next().await;
    let second_change = first.events()[0]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/webhooks/{id}/replay");
    for (since, after, cut, expected) in [
        (second_change.clone(), second_change, false, 1..3),
        ("2020-01-01T00:00:00Z".to_owned(), began.clone(), true, 0..3),
        ("1-0".to_owned(), began, true, 0..3),
    ] {
        let replay = rig.post(&path, json!({ "since": since })).await;
        assert_eq!((&replay.body["after"], &replay.body["cut"]), (&json!(after), &json!(cut)), "{since}");
        assert!(replay.body["from"].is_string());
        round(rig.app()).await;
        let post = rig.receiver.next().await;
        assert_eq!(post.readings(), rig.pairs(0..3, 1)[expected].to_vec(), "{since}");
        assert_ne!(post.id, first.id, "receivers leave out an id that they had");
    }
    // Never forward: what is not delivered yet is not left out.
    rig.land(0..1, 9).await;
    let replay = rig.post(&path, json!({"since": "2999-01-01T00:00:00Z"})).await;
    assert!(replay.status.is_success());
    round(rig.app()).await;
    assert_eq!(rig.receiver.next().await.readings(), rig.pairs(0..1, 9));
    for bad in ["", "yesterday", "1", "2020-01-01"] {
        let refused = rig.post(&path, json!({ "since": bad })).await;
        assert_eq!((refused.status.as_u16(), refused.problem()), (422, "bad-webhook"), "{bad}");
    }
}

#[tokio::test]
async fn secrets_are_sealed_again_with_a_new_key() {
    let mut rig = Rig::new(1).await;
    let (_, secret) = rig.add().await;
    let mut app = rig.app().clone();
    let key = Sealer::generate_key().unwrap();
    app.sealer = Sealer::with_former(&key, &[rig.api.test.sealing_key.clone()]).unwrap();
    let resealed = paceline::authorise::reseal(&app, |_| ()).await.unwrap();
    assert!(resealed.sealed >= 1 && resealed.unopenable_webhooks.is_empty(), "{resealed:?}");
    app.sealer = Sealer::new(&key).unwrap();
    rig.land(0..1, 1).await;
    round(&app).await;
    assert!(rig.receiver.next().await.is_signed_by(&secret));
    let servers = Servers {
        database_url: rig.api.test.database_url.clone(),
        redis_url: crate::support::server("PACELINE_TEST_REDIS_URL").into(),
        sealing_key: key,
    };
    assert!(
        App::start(app.settings.clone(), &servers).await.is_ok(),
        "the former key is not needed any more"
    );
    // With a key that opens nothing: the webhook says so.
    app.sealer = Sealer::new(&Sealer::generate_key().unwrap()).unwrap();
    rig.land(0..1, 2).await;
    round(&app).await;
    assert!(rig.receiver.all().is_empty());
    let listed = rig.api.get("/v1/webhooks", &rig.key).await;
    let reason = listed.body["webhooks"][0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("its secret cannot be read"), "{reason}");
}

//! A cloud that repeats the credential in its response, or redirects elsewhere.

use crate::journey::{Rig, SINGLE};
use serde_json::json;
use wiremock::ResponseTemplate;

/// All stored texts of a failure: the job's last error and its history.
async fn stored_texts(rig: &Rig) -> String {
    let (_, _, error) = rig.standing(rig.devices[0]).await;
    let events: Vec<String> =
        sqlx::query_scalar("SELECT detail FROM sync_events").fetch_all(&rig.t.app.pool).await.unwrap();
    format!("{} {}", error.unwrap(), events.join(" "))
}

#[tokio::test]
async fn credential_in_a_response_is_redacted_everywhere() {
    let cut = "x".repeat(195) + "s3cret";
    for (response, expected) in [
        (ResponseTemplate::new(401).set_body_string("no such key: s3cret!"), "no such key: ***!"),
        (ResponseTemplate::new(418).set_body_string("s3cret s3cret"), "*** ***"),
        (ResponseTemplate::new(500).set_body_string(cut), "x***"),
        (ResponseTemplate::new(200).set_body_json(json!(["s3cret"])), "mapping failed"),
        (ResponseTemplate::new(302).insert_header("location", "/in/s3cret"), "/in/***;"),
    ] {
        let rig = Rig::new(SINGLE, 1).await;
        rig.answer(response).await;
        rig.land(1).await;
        let stored = stored_texts(&rig).await;
        assert!(stored.contains(expected) && !stored.contains("s3cre"), "{expected}: {stored}");
        assert!(stored.contains("***"), "{stored}");
    }
}

#[tokio::test]
async fn redirect_is_reported_and_not_followed() {
    for (location, expected) in [
        ("/else/where?key=k3y#part", "redirects to {cloud}/else/where; "),
        ("http://user:k3y@127.0.0.1:9/there", "redirects to http://127.0.0.1:9/there; "),
    ] {
        let rig = Rig::new(SINGLE, 1).await;
        rig.answer(ResponseTemplate::new(307).insert_header("location", location)).await;
        rig.land(1).await;
        let stored = stored_texts(&rig).await;
        let expected = expected.replace("{cloud}", &rig.cloud.uri());
        assert!(stored.starts_with("broken: HTTP 307 ") && stored.contains(&expected), "{stored}");
        assert!(!stored.contains("k3y"), "{stored}");
        assert_eq!(rig.cloud.received_requests().await.unwrap().len(), 1);
    }
}

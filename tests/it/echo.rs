//! A cloud that says too much: the credential back, or where else to go.

use crate::journey::{Rig, SINGLE};
use serde_json::json;
use wiremock::ResponseTemplate;

/// What is kept of a failure: with the job, and in its history.
async fn told(rig: &Rig) -> String {
    let (_, _, error) = rig.standing(rig.devices[0]).await;
    let events: Vec<String> =
        sqlx::query_scalar("SELECT detail FROM sync_events").fetch_all(&rig.t.app.pool).await.unwrap();
    format!("{} {}", error.unwrap(), events.join(" "))
}

#[tokio::test]
async fn a_credential_said_back_is_kept_nowhere() {
    let cut = "x".repeat(195) + "s3cret";
    for (answer, says) in [
        (ResponseTemplate::new(401).set_body_string("no such key: s3cret!"), "no such key: ***!"),
        (ResponseTemplate::new(418).set_body_string("s3cret s3cret"), "*** ***"),
        (ResponseTemplate::new(500).set_body_string(cut), "x***"),
        (ResponseTemplate::new(200).set_body_json(json!(["s3cret"])), "mapping failed"),
        (
            ResponseTemplate::new(200).set_body_json(json!({"id": "d0", "at": "s3cret"})),
            "observed_at \"***\"",
        ),
        (ResponseTemplate::new(302).insert_header("location", "/in/s3cret"), "/in/***,"),
    ] {
        let rig = Rig::new(SINGLE, 1).await;
        rig.answer(answer).await;
        rig.land(1).await;
        let told = told(&rig).await;
        assert!(told.contains(says) && !told.contains("s3cre"), "{says}: {told}");
        assert!(told.contains("***"), "{told}");
    }
}

#[tokio::test]
async fn a_redirect_is_told_and_not_followed() {
    for (to, says) in [
        ("/else/where?key=k3y#part", "redirects to {cloud}/else/where, "),
        ("http://user:k3y@127.0.0.1:9/there", "redirects to http://127.0.0.1:9/there, "),
    ] {
        let rig = Rig::new(SINGLE, 1).await;
        rig.answer(ResponseTemplate::new(307).insert_header("location", to)).await;
        rig.land(1).await;
        let told = told(&rig).await;
        let says = says.replace("{cloud}", &rig.cloud.uri());
        assert!(told.starts_with("broken: HTTP 307 ") && told.contains(&says), "{told}");
        assert!(!told.contains("k3y"), "{told}");
        assert_eq!(rig.cloud.received_requests().await.unwrap().len(), 1);
    }
}

//! A cloud that says too much: the credential back, or where else to go.

use crate::journey::{Rig, SINGLE};
use wiremock::ResponseTemplate;

/// What is kept of a failure: with the job, and in its history.
async fn told(rig: &Rig) -> String {
    let (_, _, error) = rig.standing(rig.devices[0]).await;
    let events: Vec<String> =
        sqlx::query_scalar("SELECT detail FROM sync_events").fetch_all(&rig.t.app.pool).await.unwrap();
    format!("{} {}", error.unwrap(), events.join(" "))
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

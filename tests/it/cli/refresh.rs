//! `refresh`: queues a job to run now, or says why it cannot.

use super::Binary;

#[tokio::test]
async fn refresh_is_queued_once_or_refused_with_a_reason() {
    let binary = Binary::new().await;
    binary.connect();
    let add = "device add --tenant acme --connection main --external-id a";
    let device = binary.json(add)["device"].clone();
    let queued = binary.run("refresh a --tenant acme --resource state").ok().out;
    let expected = format!(
        "Device {device}, state: queued ahead of all waiting jobs; it runs as soon as the quotas allow.\n"
    );
    assert_eq!(queued, expected);
    let again = binary.json(&format!("refresh {device} --resource state"));
    let expected = serde_json::json!({
        "device": device, "resource": "state", "refresh": 2, "status": "waiting", "fetched_at": null
    });
    assert_eq!(again, expected);
    // No worker runs: the time is over first.
    let waited = binary.run(&format!("refresh {device} --resource state --wait 200ms")).ok().out;
    assert!(waited.contains("state: not ended yet: it waits for the quotas"), "{waited}");
    let waited = binary.json(&format!("refresh {device} --resource state --wait 200ms"));
    assert_eq!((&waited["state"], &waited["error"]), (&"queued".into(), &serde_json::Value::Null));

    // The device has a job for one of the provider's two resources, so --resource is optional; `set` does the same.
    assert_eq!(binary.json(&format!("refresh {device}"))["status"], "waiting");
    binary.run(&format!("refresh {device} --resource energy")).refused(1, &["energy", "paceline set"]);
    binary.run(&format!("refresh {device} --resource power")).refused(1, &["energy, state"]);
    binary.run("refresh 999999").refused(1, &["no device", "paceline device list"]);
    binary.run(&format!("{add} --resource energy")).ok();
    binary.run(&format!("refresh {device}")).refused(1, &["--resource", "energy, state"]);
    binary.run("refresh a --tenant nobody").refused(1, &["no tenant"]);

    binary.run(&format!("set {device} --resource state --pause")).ok();
    binary.run(&format!("refresh {device} --resource state")).refused(1, &["paused", "--resume"]);
    // One that keeps failing is asked at once.
    let probing = "UPDATE jobs SET state = 'probing', state_reason = 'gone: HTTP 404'";
    let pool = &binary.app.as_ref().expect("an app").app.pool;
    sqlx::query(probing).execute(pool).await.expect("probing");
    binary.run(&format!("refresh {device} --resource state")).ok();
}

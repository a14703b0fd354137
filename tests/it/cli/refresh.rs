//! `refresh`: what is told of a job that is to run now.

use super::Binary;

#[tokio::test]
async fn a_device_is_refreshed_or_it_is_told_why_not() {
    let binary = Binary::new().await;
    binary.connect();
    let add = "device add --tenant acme --connection main --external-id a";
    let device = binary.json(add)["device"].clone();
    let asked = binary.run("refresh a --tenant acme --resource state").ok().out;
    assert_eq!(
        asked,
        format!("Device {device}, state: goes ahead of everything, as soon as the quotas let it.\n")
    );
    let again = binary.json(&format!("refresh {device} --resource state"));
    let told =
        serde_json::json!({"device": device, "resource": "state", "status": "waiting", "fetched_at": null});
    assert_eq!(again, told);

    // The only resource that the device is asked for, though its provider has two: `set` finds it likewise.
    assert_eq!(binary.json(&format!("refresh {device}"))["status"], "waiting");
    binary.run(&format!("refresh {device} --resource energy")).refused(1, &["energy", "paceline set"]);
    binary.run(&format!("refresh {device} --resource power")).refused(1, &["energy, state"]);
    binary.run("refresh 999999").refused(1, &["no device", "paceline device list"]);
    binary.run(&format!("{add} --resource energy")).ok();
    binary.run(&format!("refresh {device}")).refused(1, &["--resource", "energy, state"]);
    binary.run("refresh a --tenant nobody").refused(1, &["no tenant"]);

    binary.run(&format!("set {device} --resource state --pause")).ok();
    binary.run(&format!("refresh {device} --resource state")).refused(1, &["paused", "--resume"]);
    let park = "UPDATE jobs SET state = 'parked', state_reason = 'gone: HTTP 404'";
    let pool = &binary.app.as_ref().expect("an app").app.pool;
    sqlx::query(park).execute(pool).await.expect("parked");
    binary.run(&format!("refresh {device} --resource state")).refused(1, &["gone: HTTP 404", "--resume"]);
}

//! `why`: one sentence per job.

use super::Binary;
use paceline::keep;

#[tokio::test]
async fn each_job_of_a_device_is_explained() {
    let binary = Binary::new().await;
    binary.connect();
    let add = "device add --tenant acme --connection main --external-id";
    let device = binary.json(&format!("{add} a"))["device"].clone();
    binary.run(&format!("{add} a --resource energy")).ok();
    let unbuilt = binary.run(&format!("why {device} --resource state")).ok().out;
    assert!(unbuilt.starts_with("state: the schedule is not built"), "{unbuilt}");

    let app = &binary.app.as_ref().expect("an app").app;
    let meadow = "meadow".parse().expect("a name");
    keep::rebuild_if_lost(app, &meadow).await.expect("built");
    // The grid of 31 days: the job does not become due during the test.
    binary.run("set a --tenant acme --resource energy --interval 31days").ok();
    binary.run("set a --tenant acme --resource state --pause").ok();
    let due = binary.json(&format!("why {device} --resource energy"))["jobs"][0].take();
    assert!(due["sentence"].as_str().is_some_and(|text| text.starts_with("due in ")), "{due}");
    assert!(due["sentence"].as_str().is_some_and(|text| text.ends_with("(every 31days, normal)")), "{due}");
    assert!(due["due_at"].as_str().is_some_and(|at| at.ends_with('Z')) && due["place"] == "due", "{due}");
    binary.run("refresh a --tenant acme --resource energy").ok();
    let text = binary.run("why a --tenant acme").ok().out;
    assert_eq!(
        text,
        "energy: refreshed ahead of its time; it waits for a worker\n\
         state: paused by its owner\n"
    );
    let json = binary.json(&format!("why {device}"));
    assert_eq!((&json["device"], json["jobs"].as_array().map(Vec::len)), (&device, Some(2)));
    let (energy, state) = (&json["jobs"][0], &json["jobs"][1]);
    assert_eq!((&energy["place"], &state["state"]), (&"ready".into(), &"paused".into()));
    assert!(energy["why"].is_null() && energy["until"].is_null() && state["place"].is_null(), "{json}");

    sqlx::query("UPDATE jobs SET state = 'probing', state_reason = 'gone: HTTP 404', state_at = NULL")
        .execute(&app.pool)
        .await
        .expect("probing");
    let probing = binary.run(&format!("why {device} --resource state")).ok().out;
    let expected = "state: it keeps failing and is tried ever more rarely (gone: HTTP 404): ";
    assert!(probing.starts_with(expected), "{probing}");

    sqlx::query("DELETE FROM jobs WHERE resource = 'energy'").execute(&app.pool).await.expect("gone");
    let none = binary.run(&format!("why {device} --resource energy")).ok().out;
    assert!(none.contains("has no such job") && none.contains("paceline set"), "{none}");
    binary.run(&format!("why {device} --resource power")).refused(1, &["energy, state"]);
    binary.run("why 999999").refused(1, &["no device", "paceline device list"]);
    binary.run("why a --tenant nobody").refused(1, &["no tenant"]);
}

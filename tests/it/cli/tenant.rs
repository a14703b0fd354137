//! `tenant`: lists tenants and sets their weights.

use super::Binary;
use paceline::preference::{outbox, tenants};
use paceline::schedule::JobLocation;
use paceline::words::JobId;
use std::collections::HashMap;

/// The weights in the schedule, by lane.
async fn weights(binary: &Binary) -> HashMap<String, u32> {
    let app = &binary.app.as_ref().expect("an app").app;
    let key = app.keys.anchor(&"meadow".parse().expect("a name")) + "weights";
    redis::cmd("HGETALL").arg(key).query_async(&mut app.redis.link()).await.expect("a hash")
}

/// Where all jobs are in the schedule.
async fn locations(binary: &Binary) -> Vec<JobLocation> {
    let app = &binary.app.as_ref().expect("an app").app;
    let ids = sqlx::query_scalar("SELECT job_id FROM jobs").fetch_all(&app.pool).await.expect("rows");
    let ids: Vec<_> = ids.into_iter().map(JobId).collect();
    app.queue.locate(&"meadow".parse().expect("a name"), &ids).await.expect("locations")
}

#[tokio::test]
async fn weight_is_stored_and_reaches_the_schedule() {
    let binary = Binary::new().await;
    binary.connect();
    let none = binary.run("tenant weight acme 2").ok().out;
    assert_eq!(none, "Tenant acme has weight 2; it has no jobs yet.\n");
    let add = "device add --tenant acme --connection main --external-id";
    for device in ["a", "b"] {
        binary.run(&format!("{add} {device}")).ok();
    }
    let lane = binary.json("connection list --tenant acme")["connections"][0]["id"].to_string();
    assert_eq!(weights(&binary).await, HashMap::from([(lane.clone(), 2)]), "a new job carries the weight");

    let set = binary.run("tenant weight acme 7").ok().out;
    assert_eq!(set, "Tenant acme has weight 7; applied to its 2 jobs.\n");
    assert_eq!(weights(&binary).await, HashMap::from([(lane.clone(), 7)]));
    let locations = locations(&binary).await;
    assert!(
        locations.len() == 2 && locations.iter().all(|location| location.is_sound() && location.due),
        "{locations:?}"
    );
    let back = binary.json("tenant weight acme 1");
    assert_eq!(back, serde_json::json!({"tenant": "acme", "weight": 1, "jobs": 2}));
    assert_eq!(weights(&binary).await, HashMap::new(), "1 is the default and is not stored");

    // Stored without draining, the change is in the outbox, for the jobs of this tenant only.
    let pool = &binary.app.as_ref().expect("an app").app.pool;
    let stranger = tenants::ensure(pool, "stranger").await.expect("a tenant");
    let mine = tenants::find(pool, "acme").await.expect("a tenant");
    let heavy = "1000".parse().expect("a weight");
    assert_eq!(tenants::set_weight(pool, stranger, heavy).await.expect("stored"), 0);
    assert_eq!(tenants::set_weight(pool, mine, heavy).await.expect("stored"), 2);
    assert_eq!(outbox::read(pool, 10).await.expect("notes").len(), 2);
    binary.run("set a --tenant acme --resource state --priority low").ok();
    assert_eq!(weights(&binary).await, HashMap::from([(lane, 1000)]));
}

#[tokio::test]
async fn tenants_are_listed_and_weights_out_of_range_refused() {
    let binary = Binary::new().await;
    binary.run("key create --tenant zebra --role user").ok();
    binary.connect();
    binary.run("tenant weight zebra 1000").ok();
    let list = binary.json("tenant list");
    let row = |n: usize| (list["tenants"][n]["name"].as_str(), list["tenants"][n]["weight"].as_i64());
    assert_eq!((row(0), row(1)), ((Some("acme"), Some(1)), (Some("zebra"), Some(1000))));
    assert_eq!(list["tenants"][0]["connections"], 1);
    let shown = binary.run("tenant list").ok().out;
    assert!(shown.contains("zebra") && shown.contains("1000"), "{shown}");

    for weight in ["0", "1001", "-3", "1.5", "heavy"] {
        binary.run(&format!("tenant weight acme {weight}")).refused(2, &["from 1 to 1000", weight]);
    }
    binary.run("tenant weight nobody 3").refused(1, &["no tenant", "nobody"]);
    assert_eq!(binary.json("tenant list")["tenants"][0]["weight"], 1);
}

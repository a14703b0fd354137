//! `tenant`: who there is, and how they weigh.

use super::Binary;
use paceline::preference::{outbox, tenants};
use paceline::schedule::JobLocation;
use paceline::words::JobId;
use std::collections::HashMap;

/// The weights that the schedule knows, by lane.
async fn weights(binary: &Binary) -> HashMap<String, u32> {
    let app = &binary.app.as_ref().expect("an app").app;
    let key = app.keys.anchor(&"meadow".parse().expect("a name")) + "weights";
    redis::cmd("HGETALL").arg(key).query_async(&mut app.redis.link()).await.expect("a hash")
}

/// Where the schedule has all jobs.
async fn locations(binary: &Binary) -> Vec<JobLocation> {
    let app = &binary.app.as_ref().expect("an app").app;
    let ids = sqlx::query_scalar("SELECT job_id FROM jobs").fetch_all(&app.pool).await.expect("rows");
    let ids: Vec<_> = ids.into_iter().map(JobId).collect();
    app.queue.locate(&"meadow".parse().expect("a name"), &ids).await.expect("locations")
}

#[tokio::test]
async fn a_weight_is_stored_and_reaches_the_schedule() {
    let binary = Binary::new().await;
    binary.connect();
    let none = binary.run("tenant weight acme 2").ok().out;
    assert_eq!(none, "Tenant acme weighs 2, which holds for the jobs it will have: it has none yet.\n");
    let add = "device add --tenant acme --connection main --external-id";
    for device in ["a", "b"] {
        binary.run(&format!("{add} {device}")).ok();
    }
    let lane = binary.json("connection list --tenant acme")["connections"][0]["id"].to_string();
    assert_eq!(weights(&binary).await, HashMap::from([(lane.clone(), 2)]), "a new job brings it");

    let set = binary.run("tenant weight acme 7").ok().out;
    assert_eq!(set, "Tenant acme weighs 7, which holds for its 2 jobs.\n");
    assert_eq!(weights(&binary).await, HashMap::from([(lane.clone(), 7)]));
    let locations = locations(&binary).await;
    assert!(
        locations.len() == 2 && locations.iter().all(|location| location.is_sound() && location.due),
        "{locations:?}"
    );
    let back = binary.json("tenant weight acme 1");
    assert_eq!(back, serde_json::json!({"tenant": "acme", "weight": 1, "jobs": 2}));
    assert_eq!(weights(&binary).await, HashMap::new(), "1 is what every lane has");

    // Stored while nobody could tell the schedule, it is in the outbox: of this tenant's jobs and nobody else's.
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
async fn tenants_are_listed_and_weights_refused_with_the_range() {
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

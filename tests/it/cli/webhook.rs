//! `webhook`: lists webhooks of all tenants, and enables them again.

use super::Binary;
use paceline::preference::tenants;
use paceline::webhook;

#[tokio::test]
async fn webhooks_are_listed_with_their_states_and_enabled_again() {
    let binary = Binary::new().await;
    assert!(binary.run("webhook list").ok().out.contains("No webhooks"));
    let app = &binary.app.as_ref().expect("an app").app;
    let mut ids = Vec::new();
    for tenant in ["acme", "zebra"] {
        let tenant = tenants::ensure(&app.pool, tenant).await.expect("a tenant");
        let url = "https://backend.example/?key=hush";
        let added = webhook::create(app, tenant, "backend", url, Default::default()).await;
        ids.push(added.expect("a webhook").0.id.0);
    }
    let disable =
        "UPDATE webhooks SET disabled_at = now(), disabled_reason = 'it is gone' WHERE webhook_id = $1";
    sqlx::query(disable).bind(ids[1]).execute(&app.pool).await.expect("an update");
    let listed = binary.json("webhook list");
    let states: Vec<_> = listed["webhooks"].as_array().unwrap().iter().map(|row| &row["state"]).collect();
    assert_eq!(states, ["delivering", "disabled"]);
    let text = binary.run("webhook list --tenant zebra").ok().out;
    assert!(text.contains("it is gone") && !text.contains("acme") && !text.contains("hush"), "{text}");

    let enable = format!("webhook enable --tenant acme {}", ids[1]);
    binary.run(&enable).refused(1, &["no webhook", "paceline webhook list"]);
    let enabled = binary.run(&enable.replace("acme", "zebra")).ok().out;
    assert!(enabled.contains("is enabled"), "{enabled}");
    assert_eq!(binary.json("webhook list")["webhooks"][1]["state"], "delivering");
}

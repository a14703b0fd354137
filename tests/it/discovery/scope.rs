//! Ids that are unique only within a home carry the home.

use super::names::import;
use super::{discover, kept};
use crate::journey::Rig;
use paceline::keep;
use serde_json::json;
use std::time::Duration;
use tokio::time::timeout;
use wiremock::matchers::{method, path};
use wiremock::{Mock, ResponseTemplate};

const ZONES: &str = r#"
title = "Zones"
id_scope = "{{ params.home }}"
[http]
base_url = "{{ params.base_url }}"
[discovery]
path = "/homes/{{ params.home }}/zones"
devices = ".[] | {id, name}"
[resource.state]
unit = "connection"
interval_min = "1s"
interval_default = "1h"
path = "/homes/{{ params.home }}/states"
each = "to_entries[]"
id = ".key"
records = "{values: {t: .value}}"
"#;

async fn serve(rig: &Rig, home: &str, zones: &[(&str, f64)]) {
    let list: Vec<_> =
        zones.iter().map(|(id, _)| json!({"id": id, "name": format!("{home} {id}")})).collect();
    let states: serde_json::Map<_, _> = zones.iter().map(|(id, t)| ((*id).to_owned(), json!(t))).collect();
    for (what, body) in [("zones", json!(list)), ("states", json!(states))] {
        Mock::given(method("GET"))
            .and(path(format!("/homes/{home}/{what}")))
            .respond_with(ResponseTemplate::new(200).set_body_json(body))
            .mount(&rig.cloud)
            .await;
    }
}

async fn move_to(rig: &Rig, home: &str) {
    sqlx::query("UPDATE connections SET params = params || jsonb_build_object('home', $1::text)")
        .bind(home)
        .execute(&rig.t.app.pool)
        .await
        .unwrap();
}

/// external id, whether it is missing, its value; by id.
async fn devices(rig: &Rig) -> Vec<(String, bool, Option<f64>)> {
    sqlx::query_as(
        "SELECT external_id, missing_since IS NOT NULL, (l.values->>'t')::float8
         FROM devices d LEFT JOIN latest l USING (tenant_id, device_id) ORDER BY external_id",
    )
    .fetch_all(&rig.t.app.pool)
    .await
    .unwrap()
}

fn row(id: &str, missing: bool, t: Option<f64>) -> (String, bool, Option<f64>) {
    (id.to_owned(), missing, t)
}

#[tokio::test]
async fn zones_of_two_homes_with_the_same_number_are_never_mixed_up() {
    let rig = Rig::new(ZONES, 1).await;
    move_to(&rig, "7").await;
    serve(&rig, "7", &[("1", 20.0), ("2", 21.0)]).await;
    serve(&rig, "8", &[("1", 5.0)]).await;
    // A device from before ids had their home is read, and the next list completes its id.
    sqlx::query("UPDATE devices SET external_id = '1'").execute(&rig.t.app.pool).await.unwrap();
    rig.read_all(&rig.journey).await;
    assert_eq!(devices(&rig).await, [row("1", false, Some(20.0))]);
    let changes = discover(&rig).await.unwrap();
    assert_eq!(changes.new.iter().map(|one| one.external_id.as_str()).collect::<Vec<_>>(), ["7/2"]);
    assert_eq!(devices(&rig).await, [row("7/1", false, Some(20.0)), row("7/2", false, None)]);
    assert_eq!(discover(&rig).await.unwrap().new, []);

    // The account's first home is another one now.
    move_to(&rig, "8").await;
    discover(&rig).await.unwrap();
    assert_eq!(
        kept(&rig).await.iter().map(|row| (row.0.as_str(), row.4)).collect::<Vec<_>>(),
        [("7/1", true), ("7/2", true), ("8/1", false)]
    );
    rig.run_again().await;
    keep::drain(&rig.t.app).await.unwrap();
    let read = async {
        while devices(&rig).await[2].2.is_none() {
            rig.land(1).await;
        }
    };
    timeout(Duration::from_secs(30), read).await.expect("the zone of the new home is read");
    assert_eq!(devices(&rig).await[2], row("8/1", false, Some(5.0)));
    assert_eq!(devices(&rig).await[0], row("7/1", true, Some(20.0)), "the other home's zone is not its own");
}

#[tokio::test]
async fn zone_removed_by_its_bare_id_stays_removed() {
    let rig = Rig::new(ZONES, 1).await;
    move_to(&rig, "7").await;
    serve(&rig, "7", &[("1", 20.0), ("2", 21.0)]).await;
    sqlx::query(
        "INSERT INTO removed_devices (tenant_id, connection_id, external_id)
         SELECT tenant_id, connection_id, '2' FROM connections",
    )
    .execute(&rig.t.app.pool)
    .await
    .unwrap();
    let changes = discover(&rig).await.unwrap();
    assert_eq!(changes.removed, ["7/2"]);
    assert_eq!(changes.new.len(), 1);
}

#[tokio::test]
async fn zone_imported_by_its_bare_id_or_its_whole_one_is_the_same_device() {
    let rig = Rig::new(ZONES, 1).await;
    move_to(&rig, "7").await;
    serve(&rig, "7", &[("1", 20.0), ("2", 21.0)]).await;
    sqlx::query("UPDATE devices SET external_id = '1'").execute(&rig.t.app.pool).await.unwrap();
    discover(&rig).await.unwrap();
    for id in ["1", "7/1", "2"] {
        import(&rig, id, "Mine").await;
        assert_eq!(devices(&rig).await, [row("7/1", false, None), row("7/2", false, None)], "{id}");
    }
    // Neither had its home yet: one is imported by the whole id, the other by the bare one.
    for id in ["7/1", "2"] {
        sqlx::query("UPDATE devices SET external_id = right(external_id, 1)")
            .execute(&rig.t.app.pool)
            .await
            .unwrap();
        import(&rig, id, "Mine").await;
        let ids: Vec<_> = devices(&rig).await.into_iter().map(|(id, ..)| id).collect();
        assert_eq!(ids, if id == "2" { ["1", "7/2"] } else { ["2", "7/1"] });
    }
    sqlx::query(
        "INSERT INTO removed_devices (tenant_id, connection_id, external_id)
         SELECT tenant_id, connection_id, '3' FROM connections",
    )
    .execute(&rig.t.app.pool)
    .await
    .unwrap();
    import(&rig, "3", "").await;
    let count = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM removed_devices");
    assert_eq!(count.fetch_one(&rig.t.app.pool).await.unwrap(), 0);
}

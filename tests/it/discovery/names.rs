//! Names that the provider's list gives follow it; what an owner says, a name or a removal, stays.

use super::{LISTED, discover, list};
use crate::journey::Rig;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use paceline::discovery::id_prefix;
use paceline::preference::devices::TenantConnection;
use paceline::preference::discovered::Changes;
use paceline::preference::import::{self, Row};
use paceline::words::{DeviceId, Role};
use paceline::{http, keep};
use serde_json::{Value, json};
use tower::ServiceExt;

async fn device(rig: &Rig, external_id: &str) -> DeviceId {
    let id: i64 = sqlx::query_scalar("SELECT device_id FROM devices WHERE external_id = $1")
        .bind(external_id)
        .fetch_one(&rig.t.app.pool)
        .await
        .unwrap();
    DeviceId(id)
}

/// The name as the API shows it, which fills the cache.
async fn shown_name(rig: &Rig, external_id: &str) -> String {
    let (path, key) =
        (format!("/v1/devices/{}", device(rig, external_id).await), rig.t.key(Role::Reader).await);
    let request = Request::builder().uri(path).header("authorization", format!("Bearer {key}"));
    let response =
        http::router(rig.t.app.clone()).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    serde_json::from_slice::<Value>(&body).unwrap()["name"].as_str().unwrap().to_owned()
}

/// As `paceline device add` does.
pub async fn import(rig: &Rig, external_id: &str, name: &str) {
    let provider = rig.t.app.registry.get(rig.provider).unwrap();
    let row = Row { external_id: external_id.to_owned(), name: name.to_owned(), ..Row::default() };
    let account = TenantConnection {
        tenant: rig.t.tenant,
        connection: rig.connection,
        provider: provider.name.clone(),
    };
    let id_prefix = id_prefix(&rig.t.app, provider, &account).await.unwrap();
    let wanted = vec![import::check(provider, &id_prefix, row).unwrap()];
    import::add(&rig.t.app.pool, &account, wanted, (provider, &id_prefix)).await.unwrap();
}

fn changed(ids: &[&str], listed: usize) -> Changes {
    Changes { changed: ids.iter().map(|id| (*id).to_owned()).collect(), listed, ..Changes::default() }
}

#[tokio::test]
async fn rename_at_the_provider_arrives_and_an_owners_name_stays() {
    let rig = Rig::new(LISTED, 0).await;
    list(&rig, json!([{"id": "a", "name": "Hall"}, {"id": "b", "name": "Attic"}])).await;
    discover(&rig).await.unwrap();
    // Without a name the import leaves the provider's.
    import(&rig, "a", "").await;
    import(&rig, "b", "Mine").await;
    assert_eq!((shown_name(&rig, "a").await, shown_name(&rig, "b").await), ("Hall".into(), "Mine".into()));

    list(&rig, json!([{"id": "a", "name": "Corridor"}, {"id": "b", "name": "Loft"}])).await;
    assert_eq!(discover(&rig).await.unwrap(), changed(&["a"], 2));
    assert_eq!(
        (shown_name(&rig, "a").await, shown_name(&rig, "b").await),
        ("Corridor".into(), "Mine".into())
    );

    // A list without the name changes nothing, and neither does one that repeats it.
    list(&rig, json!([{"id": "a"}, {"id": "b", "name": "Loft"}])).await;
    assert_eq!(discover(&rig).await.unwrap(), changed(&[], 2));
    import(&rig, "a", "Ours").await;
    list(&rig, json!([{"id": "a", "name": "Passage"}, {"id": "b", "name": "Loft"}])).await;
    assert_eq!(discover(&rig).await.unwrap(), changed(&[], 2));
    assert_eq!(shown_name(&rig, "a").await, "Ours");
}

#[tokio::test]
async fn name_of_unknown_origin_follows_the_provider_once_the_list_has_it() {
    let rig = Rig::new(LISTED, 0).await;
    list(&rig, json!([{"id": "a", "name": "Hall"}, {"id": "b", "name": "Attic"}])).await;
    discover(&rig).await.unwrap();
    // As stored before origins were: one is as the list has it, the other may be its owner's.
    let before = "UPDATE devices SET name_origin = NULL,
                         name = CASE WHEN external_id = 'b' THEN 'Study' ELSE name END";
    sqlx::query(before).execute(&rig.t.app.pool).await.unwrap();
    assert_eq!(discover(&rig).await.unwrap(), changed(&[], 2));
    list(&rig, json!([{"id": "a", "name": "Corridor"}, {"id": "b", "name": "Loft"}])).await;
    assert_eq!(discover(&rig).await.unwrap(), changed(&["a"], 2));
    assert_eq!(
        (shown_name(&rig, "a").await, shown_name(&rig, "b").await),
        ("Corridor".into(), "Study".into())
    );
}

#[tokio::test]
async fn removed_device_returns_only_when_it_is_added_by_hand() {
    let rig = Rig::new(LISTED, 0).await;
    list(&rig, json!([{"id": "a", "name": "Hall"}, {"id": "b"}])).await;
    discover(&rig).await.unwrap();
    let gone = device(&rig, "a").await;
    keep::remove_devices(&rig.t.app, rig.t.tenant, &[gone]).await.unwrap();
    let kept_away = Changes { removed: vec!["a".to_owned()], listed: 2, ..Changes::default() };
    assert_eq!(discover(&rig).await.unwrap(), kept_away);
    assert_eq!(discover(&rig).await.unwrap(), kept_away);

    import(&rig, "a", "").await;
    assert_ne!(device(&rig, "a").await, gone);
    assert_eq!(discover(&rig).await.unwrap(), changed(&["a"], 2), "it has no name of its owner's");
    assert_eq!(shown_name(&rig, "a").await, "Hall");
}

//! A tenant's devices in, and all of its data out.

use super::lifecycle::ask;
use super::*;

async fn import(api: &Api, key: &str, query: &str, kind: &str, body: impl Into<Body>) -> Response {
    let path = format!("/v1/connections/{}/devices{query}", connection(api).await);
    let request =
        request("POST", &path).header(header::AUTHORIZATION, bearer(key)).header(header::CONTENT_TYPE, kind);
    send(&api.router, request, body.into()).await
}

async fn connection(api: &Api) -> i64 {
    sqlx::query_scalar("SELECT min(connection_id) FROM connections").fetch_one(&api.app().pool).await.unwrap()
}

const CSV: &str = "external_id,name,resource,interval,priority\n\
                   a,Hall,state,30s,high\n\
                   b,Attic,state,1s,high\n\
                   c,Cellar,humidity,30s,high\n\
                   d,Shed,,,\n";

#[tokio::test]
async fn devices_are_imported_and_refused_rows_are_named() {
    let api = Api::with_devices(1).await;
    let (user, reader) = (api.test.key(Role::User).await, api.test.key(Role::Reader).await);
    assert_eq!(import(&api, &reader, "", "text/csv", CSV).await.status, StatusCode::FORBIDDEN);
    let nothing = import(&api, &user, "?all_or_nothing=true", "text/csv", CSV).await;
    assert_eq!((nothing.status, &nothing.body["added"]), (StatusCode::OK, &json!(0)), "{}", nothing.body);
    assert_eq!(api.get("/v1/devices", &user).await.body["devices"].as_array().unwrap().len(), 1);
    let some = import(&api, &user, "", "text/csv", CSV).await;
    assert_eq!(
        (&some.body["read"], &some.body["added"], &some.body["refused"], &some.body["devices"]),
        (&json!(4), &json!(2), &json!(2), &json!(2)),
        "{}",
        some.body
    );
    assert_eq!((&some.body["errors"][0]["row"], &some.body["errors"][1]["row"]), (&json!(3), &json!(4)));
    assert!(some.body["errors"][0]["error"].as_str().unwrap().contains("5s"), "{}", some.body);
    // Lines of JSON, in any content type that is not CSV; again, it does no harm.
    let lines = "{\"external_id\":\"a\",\"name\":\"Entry\"}\n\n{\"external_id\":7}\n[1]\n";
    let again = import(&api, &user, "", "application/x-ndjson", lines).await;
    assert_eq!((&again.body["added"], &again.body["refused"]), (&json!(1), &json!(2)), "{}", again.body);
    let listed = api.get("/v1/devices?q=entry", &user).await;
    assert_eq!(listed.body["devices"][0]["resources"]["state"]["priority"], "high", "{}", listed.body);
    let header = import(&api, &user, "", "text/csv", "name\nHall\n").await;
    assert_eq!((header.status.as_u16(), header.problem()), (422, "bad-import"), "{}", header.body);
    let empty = import(&api, &user, "", "application/octet-stream", "").await;
    assert!(empty.status.is_success() || empty.problem() == "bad-import", "{}", empty.body);
    let (_, _, foreign) = api.stranger(Role::User).await;
    assert_eq!(import(&api, &foreign, "", "text/csv", CSV).await.problem(), "no-such-connection");
}

#[tokio::test]
async fn import_stops_at_the_tenants_limit_and_at_its_own() {
    let test = TestApp::with_settings(&[("testcloud", PROVIDER)], |settings| {
        settings.tenant.devices_max = 3;
        settings.http.import_bytes_max = 10_000;
        settings.http.body_bytes_max = 100;
    })
    .await;
    test.connect("testcloud", "home", "http://cloud.invalid").await;
    let router = http::router(test.app.clone());
    let api = Api { test, router, devices: Vec::new() };
    let user = api.test.key(Role::User).await;
    let rows = |count: usize| {
        (0..count).fold("external_id\n".to_owned(), |text, n| text + &format!("device-number-{n}\n"))
    };
    let full = import(&api, &user, "", "text/csv", rows(4)).await;
    assert_eq!((full.status, full.problem()), (StatusCode::CONFLICT, "too-many-devices"), "{}", full.body);
    assert!(full.detail().contains("you may have 3 devices"), "{}", full.detail());
    // A body longer than those of other requests may be.
    let three = import(&api, &user, "", "text/csv", rows(3) + &"\n".repeat(200)).await;
    assert_eq!((three.status, &three.body["added"]), (StatusCode::OK, &json!(3)), "{}", three.body);
    let known = import(&api, &user, "", "text/csv", rows(3)).await;
    assert_eq!(known.body["added"], 3, "devices that are known need no room");
    let long = import(&api, &user, "", "text/csv", rows(1_000)).await;
    assert_eq!((long.status, long.problem()), (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large"));
}

#[tokio::test]
async fn export_has_all_of_a_tenants_data_and_nothing_of_others() {
    let api = Api::with_devices(3).await;
    let (user, reader) = (api.test.key(Role::User).await, api.test.key(Role::Reader).await);
    let (_, theirs, foreign) = api.stranger(Role::User).await;
    // More readings than are read at once, on days of several partitions.
    for sql in [
        "SELECT ensure_history(day::date) FROM generate_series(now() - interval '2 days', now(), '1 day') day",
        "INSERT INTO readings (tenant_id, device_id, resource, fetched_at, online, \"values\")
         SELECT d.tenant_id, d.device_id, 'state', now() - n * interval '1 minute', true, jsonb_build_object('t', n)
         FROM devices d, generate_series(1, 2500) n WHERE d.external_id IN ('d1', 'theirs')",
    ] {
        sqlx::query(sql).execute(&api.app().pool).await.unwrap();
    }
    api.record(api.devices[0], 1_000, json!({"t": 21.5, "on": true})).await;
    let export = async |key: &str| {
        let request = request("GET", "/v1/export").header(header::AUTHORIZATION, bearer(key));
        let answer = api.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/x-ndjson");
        let text = to_bytes(answer.into_body(), 100 << 20).await.unwrap();
        let text = String::from_utf8(text.to_vec()).unwrap();
        assert!(!text.contains(SECRET));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let lines = export(&user).await;
    let count = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).count();
    assert_eq!(
        (count("export"), count("connection"), count("device"), count("reading"), count("end")),
        (1, 1, 3, 2501, 1)
    );
    assert_eq!(lines.last().unwrap(), &json!({"kind": "end", "lines": lines.len() - 1}));
    let device = lines.iter().find(|line| line["kind"] == "device" && line["external_id"] == "d0").unwrap();
    assert_eq!(device["jobs"]["state"]["interval"], "30s", "{device}");
    assert_eq!(device["latest"]["state"]["values"]["t"], 21.5, "{device}");
    let of_d1: Vec<_> =
        lines.iter().filter(|line| line["kind"] == "reading" && line["device"] == api.devices[1].0).collect();
    let numbers: Vec<_> = of_d1.iter().map(|line| line["values"]["t"].as_i64().unwrap()).collect();
    assert_eq!(numbers, (1..=2500).collect::<Vec<_>>(), "each once, newest first");
    assert!(!lines.iter().any(|line| line["device"] == theirs.0));
    assert_eq!(export(&foreign).await.iter().filter(|line| line["kind"] == "reading").count(), 2500);
    assert_eq!(ask(&api.router, "GET", "/v1/export", &reader, None).await.problem(), "forbidden");
}

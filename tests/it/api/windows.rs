//! Intervals by time of day.

use super::lifecycle::ask;
use super::*;
use crate::journey::{Rig, SINGLE};
use paceline::keep;
use wiremock::ResponseTemplate;

/// A window that contains now, in UTC, and one that does not. Their edges are hours away.
fn windows(rig_now: paceline::words::UnixMs) -> (Value, Value) {
    let hour = rig_now.to_datetime().format("%H").to_string().parse::<u32>().unwrap();
    let at = |hour: u32| format!("{:02}:00", hour % 24);
    let now = json!({"from": at(hour + 22), "to": at(hour + 2), "interval": "45s"});
    (now, json!({"from": at(hour + 4), "to": at(hour + 6), "interval": "2m"}))
}

#[tokio::test]
async fn windows_are_set_told_and_removed() {
    let api = Api::with_devices(2).await;
    let (user, device) = (api.test.key(Role::User).await, api.devices[0]);
    let (now, later) = windows(api.app().clock.now());
    let path = format!("/v1/devices/{device}/jobs/state");
    let body = json!({"interval": "10m", "windows": [now, later], "zone": "UTC"});
    // What it would be, and then is.
    let would = api.put(&format!("{path}?dry_run=true"), &user, body.clone()).await;
    let set = api.put(&path, &user, body.clone()).await;
    for answer in [&would, &set, &api.get(&path, &user).await] {
        let told = &answer.body;
        assert_eq!(answer.status, StatusCode::OK, "{told}");
        assert_eq!(
            (&told["interval"], &told["interval_now"], &told["zone"]),
            (&json!("10m"), &json!("45s"), &json!("UTC"))
        );
        assert_eq!((&told["windows"], &told["from"]), (&body["windows"], &json!("device")));
        assert!(told["turns_at"].as_str().unwrap().ends_with(":00:00.000Z"), "{told}");
    }
    // The interval in force is what the schedule and the device's view have.
    assert_eq!(
        api.get(&format!("/v1/devices/{device}"), &user).await.body["resources"]["state"]["interval"],
        "45s"
    );
    // The interval outside of the windows changes alone.
    let base = api.put(&path, &user, json!({"interval": "20m"})).await;
    assert_eq!((&base.body["interval"], &base.body["interval_now"]), (&json!("20m"), &json!("45s")));
    // Many at once: those that are so already stay as they are.
    let would = ask(
        &api.router,
        "PATCH",
        "/v1/jobs?dry_run=true",
        &user,
        Some(json!({"interval": "20m", "windows": body["windows"], "zone": "UTC"})),
    );
    assert_eq!(would.await.body["changed"], 1, "as the change itself says");
    let many = ask(
        &api.router,
        "PATCH",
        "/v1/jobs",
        &user,
        Some(json!({"interval": "20m", "windows": body["windows"], "zone": "UTC"})),
    )
    .await;
    assert_eq!((&many.body["matched"], &many.body["changed"]), (&json!(2), &json!(1)), "{}", many.body);
    let other = api.get(&format!("/v1/devices/{}/jobs/state", api.devices[1]), &user).await;
    assert_eq!((&other.body["interval"], &other.body["interval_now"]), (&json!("20m"), &json!("45s")));
    // Without windows, the interval that held outside of them holds at all times.
    let removed = api.put(&path, &user, json!({"windows": []})).await;
    assert_eq!(
        (&removed.body["interval"], removed.body.get("windows")),
        (&json!("20m"), None),
        "{}",
        removed.body
    );
    assert_eq!(
        api.get(&format!("/v1/devices/{device}"), &user).await.body["resources"]["state"]["interval"],
        "20m"
    );

    let window = |from: &str, interval: &str| json!({"from": from, "to": "22:00", "interval": interval});
    let with = |window: Value, zone: Value| json!({"interval": "10m", "windows": [window], "zone": zone});
    for (bad, problem, says) in [
        (with(window("7:00", "30s"), json!("UTC")), "bad-windows", "00:00 to 23:59"),
        (with(window("07:00", "30s"), json!("Oslo")), "bad-windows", "IANA"),
        (with(window("07:00", "1s"), json!("UTC")), "bad-windows", "5s"),
        (with(window("07:00", "30s"), Value::Null), "bad-windows", "need a zone"),
        (json!({"windows": [window("07:00", "30s")], "zone": "UTC"}), "bad-windows", "need an interval"),
        (json!({"interval": "10m", "zone": "UTC"}), "bad-windows", "a zone needs windows"),
        (with(json!({"from": "07:00", "interval": "30s"}), json!("UTC")), "bad-body", "`to`"),
        (
            json!({"interval": "10m", "zone": "UTC", "windows": vec![window("07:00", "30s"); 17]}),
            "bad-windows",
            "at most 16",
        ),
    ] {
        let refused = api.put(&path, &user, bad.clone()).await;
        assert_eq!((refused.status.as_u16(), refused.problem()), (422, problem), "{bad}");
        assert!(refused.detail().contains(says), "{says}: {}", refused.detail());
    }
    let short = json!({"interval": "10m", "windows": [window("07:00", "1s")], "zone": "UTC"});
    let refused = ask(&api.router, "PATCH", "/v1/jobs", &user, Some(short)).await;
    assert_eq!(refused.problem(), "bad-interval", "{}", refused.body);
}

/// At an edge another interval is in force, for thousands of jobs, without all of them being due at once; and the
/// preference is the same.
#[tokio::test]
async fn interval_in_force_follows_the_time_of_day() {
    let rig = Rig::new(SINGLE, 50).await;
    let app = &rig.t.app;
    let (router, user) = (http::router(app.clone()), rig.t.key(Role::User).await);
    let (now, _) = windows(app.clock.now());
    let body = json!({"interval": "1h", "windows": [now], "zone": "UTC"});
    let set = ask(&router, "PATCH", "/v1/jobs", &user, Some(body)).await;
    assert_eq!(set.body["changed"], 50, "{}", set.body);
    let path = format!("/v1/devices/{}/jobs/state", rig.devices[0]);
    let tag = ask(&router, "GET", &path, &user, None).await.headers[header::ETAG].clone();
    let in_force = async || -> (i64, i64) {
        let sql = "SELECT min(interval_ms), max(interval_ms) FROM jobs";
        sqlx::query_as(sql).fetch_one(&app.pool).await.unwrap()
    };
    assert_eq!(in_force().await, (45_000, 45_000));
    // As if the window had ended: it is looked at, and the interval outside holds.
    let moved = "UPDATE jobs SET turns_at = now() - interval '1 second',
                 windows = jsonb_set(jsonb_set(windows,
                     '{windows,0,from}', to_jsonb(to_char(now() at time zone 'UTC' + interval '3 hours', 'HH24:00'))),
                     '{windows,0,to}', to_jsonb(to_char(now() at time zone 'UTC' + interval '5 hours', 'HH24:00')))";
    sqlx::query(moved).execute(&app.pool).await.unwrap();
    let next = keep::turn(app).await.unwrap().unwrap();
    assert_eq!(in_force().await, (3_600_000, 3_600_000));
    // It is put once more a little later, because another process may have read the interval of before.
    assert!((25_000..=30_000).contains(&next.since_ms(app.clock.now())), "{next}");
    keep::drain(app).await.unwrap();
    let mut tenths = [0; 10];
    for device in &rig.devices {
        let wait_ms = rig.location(*device).await.due_ms - app.clock.now().0;
        assert!((0..=3_600_000).contains(&wait_ms), "{wait_ms}");
        tenths[(wait_ms / 360_001) as usize] += 1;
    }
    assert!(tenths.iter().all(|count| *count <= 10), "spread over the hour: {tenths:?}");
    assert!(rig.check().await.clean);
    let after = ask(&router, "GET", &path, &user, None).await;
    assert_eq!((&after.headers[header::ETAG], &after.body["interval_now"]), (&tag, &json!("1h")));
    // Looked at once more, nothing changes, and the next look is at the window's beginning.
    sqlx::query("UPDATE jobs SET turns_at = now() - interval '1 second'").execute(&app.pool).await.unwrap();
    let next = keep::turn(app).await.unwrap().unwrap();
    assert!(next.since_ms(app.clock.now()) > 3_600_000, "{next}");
    assert_eq!(in_force().await, (3_600_000, 3_600_000));
}

/// The same preference at another time of day: what failed is not tried any earlier for it.
#[tokio::test]
async fn failing_job_waits_as_long_at_the_edge_of_a_window() {
    let rig = Rig::new(SINGLE, 1).await;
    let app = &rig.t.app;
    let (router, user, device) = (http::router(app.clone()), rig.t.key(Role::User).await, rig.devices[0]);
    let (now, later) = windows(app.clock.now());
    let body = json!({"interval": "1h", "windows": [later], "zone": "UTC"});
    let set = ask(&router, "PATCH", "/v1/jobs", &user, Some(body)).await;
    assert_eq!(set.body["changed"], 1, "{}", set.body);
    rig.answer(ResponseTemplate::new(500)).await;
    // At once, and once more soon; then it waits for its interval.
    rig.land(2).await;
    let before = rig.location(device).await;
    assert!(before.due_ms - app.clock.now().0 > 600_000, "{before:?}");
    let moved = "UPDATE jobs SET turns_at = now() - interval '1 second',
                 windows = jsonb_set(windows, '{windows,0}', $1)";
    sqlx::query(moved).bind(now).execute(&app.pool).await.unwrap();
    keep::turn(app).await.unwrap();
    keep::drain(app).await.unwrap();
    let after = rig.location(device).await;
    assert_eq!((after.interval_ms, after.due_ms), (45_000, before.due_ms));
    assert!(rig.check().await.clean);
}

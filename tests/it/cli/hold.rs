//! `hold`: what providers hold back is listed and lifted.

use super::Binary;
use paceline::keep;
use paceline::provider::Provider;
use paceline::take::{Reservation, ReserveRequest, Settlement, Taker};
use paceline::words::{End, Hold, Refusal, Scope};

#[tokio::test]
async fn hold_is_listed_with_its_reported_wait_and_lifted() {
    let binary = Binary::new().await;
    binary.connect();
    assert_eq!(binary.run("hold list").ok().out, "Nothing is held.\n");
    let app = &binary.app.as_ref().expect("an app").app;
    let meadow = "meadow".parse().expect("a name");
    keep::rebuild_if_lost(app, &meadow).await.expect("built");
    let listed = binary.json("connection list --tenant acme");
    let connection = listed["connections"][0]["id"].clone();
    let definition = include_str!("../../../config/providers/meadow.toml");
    let provider = Provider::parse(meadow, "meadow.toml", definition).expect("a definition");
    let taker = Taker::new(app.redis.clone(), &provider, &app.taker_settings());
    let request = ReserveRequest {
        lane: connection.to_string(),
        resource: "state".parse().expect("a name"),
        cost: 1,
        devices: Vec::new(),
        keep_ms: 0,
        probes: true,
    };
    let reserved = taker.reserve(&request, None).await.expect("an answer");
    let Reservation::Granted { call, .. } = reserved else { panic!("{reserved:?}") };
    let (until, reported) = (app.clock.now().plus_ms(86_400_000), app.clock.now().plus_ms(400 * 86_400_000));
    let hold = Hold {
        scope: Scope::Connection,
        until,
        reason: "HTTP 429".to_owned(),
        refusal: Some(Refusal { reported_until: Some(reported) }),
    };
    let refused = Settlement { end: End::Throttled, holds: vec![(hold, None)], ..Settlement::unsent(call) };
    taker.settle(&[refused], None).await.expect("settled");

    let json = binary.json("hold list --provider meadow");
    let found = &json["holds"][0];
    assert_eq!(json["holds"].as_array().map(Vec::len), Some(1), "{json}");
    let expected = serde_json::json!({
        "provider": "meadow", "scope": "connection", "tenant": "acme", "connection": "main",
        "connection_id": connection, "group": null, "device": null, "reason": "HTTP 429",
        "since": found["since"], "until": until.to_string(), "reported_until": reported.to_string(), "refusals": 1,
        "is_tried": false,
    });
    assert_eq!(*found, expected);
    let text = binary.run("hold list --tenant acme --connection main").ok().out;
    assert!(text.contains(&format!("connection {connection} (acme, main)")), "{text}");
    assert_eq!(binary.json("hold list --provider signalk")["holds"], serde_json::json!([]));

    let lift = "hold lift meadow";
    assert_eq!(binary.json(&format!("{lift} --connection 999999"))["lifted"], 0);
    let none = binary.run(&format!("{lift} --device 999999")).ok().out;
    assert_eq!(none, "No such hold at meadow: `paceline hold list` shows what is held.\n");
    binary.run(&format!("{lift} --connection main")).refused(1, &["main", "--tenant"]);
    binary.run("hold lift nowhere").refused(1, &["nowhere"]);
    let lifted = binary.run(&format!("{lift} --tenant acme --connection main")).ok().out;
    assert_eq!(lifted, "Lifted 1 hold of meadow; calls go on at once, within the quotas.\n");
    assert_eq!(binary.run("hold list").ok().out, "Nothing is held.\n");
}

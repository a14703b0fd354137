//! `device remove` and `connection remove`: ask or refuse, then remove and say what.

use super::Binary;

#[tokio::test]
async fn removal_needs_a_yes_and_says_what_it_removes() {
    let binary = Binary::new().await;
    binary.connect();
    for device in ["a", "b", "c"] {
        binary.run(&format!("device add --tenant acme --connection main --external-id {device}")).ok();
    }
    let devices = || binary.json("device list --tenant acme")["devices"].as_array().unwrap().len();
    binary
        .run("device remove --tenant acme a b")
        .refused(1, &["nothing was removed", "2 devices, 2 jobs and 0 readings", "--yes"]);
    binary
        .run("device remove --tenant acme a nowhere --yes")
        .refused(1, &["no device answers to \"nowhere\""]);
    assert_eq!(devices(), 3);

    let removed = binary.run("device remove --tenant acme a --yes").ok().out;
    assert!(removed.starts_with("Removed 1 device, 1 job and 0 readings."), "{removed}");
    let number = binary.json("device list --tenant acme")["devices"][0]["device"].to_string();
    let removed = binary.json(&format!("device remove {number} {number} --yes"));
    assert_eq!(removed, serde_json::json!({"devices": 1, "jobs": 1, "readings": 0}));
    assert_eq!(devices(), 1);

    binary
        .run("connection remove --tenant acme main")
        .refused(1, &["connection \"main\" at meadow with 1 device"]);
    let removed = binary.json("connection remove --tenant acme main --yes");
    assert_eq!((&removed["label"], &removed["devices"]), (&"main".into(), &1.into()));
    assert_eq!(binary.json("connection list --tenant acme")["connections"].as_array().unwrap().len(), 0);
    binary.run("connection remove --tenant acme main --yes").refused(1, &["no single connection"]);
    let check = binary.json("check");
    assert_eq!((&check["clean"], &check["jobs"]), (&true.into(), &0.into()));
}

#[tokio::test]
async fn connection_is_paused_renamed_and_closed() {
    let binary = Binary::new().await;
    binary.connect();
    binary.run("device add --tenant acme --connection main --external-id a").ok();
    let state = || binary.json("connection list --tenant acme")["connections"][0]["state"].clone();
    let paused = binary.run("connection pause --tenant acme main").ok().out;
    assert!(paused.starts_with("Connection 1, \"main\", is paused."), "{paused}");
    assert_eq!(state(), "paused");
    assert!(binary.run("why 1").ok().out.contains("connection \"main\" is paused by its owner"));
    binary.run("refresh 1").refused(1, &["connection \"main\" is paused", "connection resume"]);
    binary.run("connection resume --tenant acme main").ok();
    assert_eq!(state(), "active");
    binary.run("connection rename --tenant acme main --to 17").refused(1, &["digits only"]);
    let renamed = binary.json("connection rename --tenant acme main --to roof");
    assert_eq!((&renamed["label"], &renamed["state"]), (&"roof".into(), &"active".into()));
    binary
        .run("connection remove --tenant acme roof --keep-history")
        .refused(1, &["nothing was removed", "the secrets and tokens of connection \"roof\""]);
    binary.run("connection remove --tenant acme roof --keep-history --yes").ok();
    assert_eq!(state(), "closed");
    assert_eq!(binary.json("device list --tenant acme")["devices"].as_array().unwrap().len(), 1);
    binary.run("connection resume --tenant acme roof").refused(1, &["is closed", "connection secret"]);
    assert_eq!(binary.json("check")["clean"], true);
}

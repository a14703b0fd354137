//! `connection discover`: lists and stores the devices of a connection.

use super::Binary;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

const DEFINITION: &str = r#"title = "ListedDevice"
[http]
base_url = "{{ params.base_url }}"
[[quota]]
name = "minute"
scope = "connection"
amount = 600
window = "1m"
burst = 9
[discovery]
path = "/devices"
devices = ".[]"
[resource.state]
interval_min = "1s"
interval_default = "1h"
path = "/state"
records = "."
"#;

#[tokio::test]
async fn dry_run_stores_nothing_and_discovery_adds_the_listed_devices() {
    let cloud = MockServer::start().await;
    let list = ResponseTemplate::new(200).set_body_string(r#"[{"id": "a", "name": "Hall"}]"#);
    Mock::given(matchers::path("/devices")).respond_with(list).up_to_n_times(3).mount(&cloud).await;
    let binary = Binary::new().await;
    binary.file("providers/listed.toml", DEFINITION);
    let (before, rest) = DEFINITION.split_once("[discovery]").expect("a list");
    let unlisted = [before, &rest[rest.find("[resource.state]").expect("a resource")..]].concat();
    binary.file("providers/unlisted.toml", &unlisted);
    let binary = binary
        .set("PACELINE__PROVIDERS__DIR", "providers")
        .set("PACELINE__PROVIDERS__PRIVATE_NETWORKS", "listed,unlisted");
    let add = |provider: &str, label: &str| {
        let base_url = cloud.uri();
        format!(
            "connection add --tenant acme --provider {provider} --label {label} --param base_url={base_url}"
        )
    };
    binary.run(&add("listed", "main")).ok();
    let discover = "connection discover --tenant acme main";
    let dry_run = binary.run(&format!("{discover} --dry-run")).ok().out;
    let expected =
        "new      a  Hall\nDry run, nothing stored: 1 listed, 1 new, 0 found again, 0 missing, 0 changed.\n";
    assert_eq!(dry_run, expected);
    assert!(binary.run("device list --tenant acme").ok().out.contains("No devices yet"));
    assert_eq!(binary.json(discover)["new"][0]["external_id"], "a");
    assert!(binary.run("device list --tenant acme").ok().out.contains("Hall"));
    let again = binary.run(discover).ok().out;
    assert_eq!(again, "Done: 1 listed, 0 new, 0 found again, 0 missing, 0 changed.\n");
    // The mock serves the list three times; the fourth request gets 404.
    binary.run(discover).refused(1, &["the cloud gave no list: gone: HTTP 404"]);
    assert!(
        binary.run("connection list --tenant acme").ok().out.contains("1; discovery failed: gone: HTTP 404")
    );
    binary.run(&add("unlisted", "boat")).ok();
    binary.run("connection discover --tenant acme boat").refused(1, &["does not say how devices are listed"]);
}

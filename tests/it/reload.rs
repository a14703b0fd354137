//! Definitions are re-read while the process runs: what is good replaces the one before, what is not is refused.

use crate::support::TestApp;
use paceline::keep;
use paceline::serve::{Role, serve_and_reload};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

const TIMEOUT: Duration = Duration::from_secs(60);

fn definition(path: &str) -> String {
    format!(
        r#"
title = "Reloaded"
[http]
base_url = "{{{{ params.base_url }}}}"
[resource.state]
interval_min = "1s"
interval_default = "1s"
path = "{path}"
records = "{{values: {{t: .t}}}}"
"#
    )
}

fn write(dir: &Path, name: &str, text: &str) {
    std::fs::write(dir.join(name).with_extension("toml"), text).unwrap();
}

/// How often the path was asked for.
async fn asked(cloud: &MockServer, path: &str) -> usize {
    cloud.received_requests().await.unwrap().iter().filter(|request| request.url.path() == path).count()
}

async fn until_asked(cloud: &MockServer, path: &str, times: usize) {
    let asked_often = async {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        while asked(cloud, path).await < times {
            tick.tick().await;
        }
    };
    timeout(TIMEOUT, asked_often).await.unwrap_or_else(|_| panic!("{path} is not asked for {times} times"));
}

#[tokio::test]
async fn good_definition_replaces_the_one_before_and_a_bad_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let (mine, other) = (definition("/mine/1"), definition("/other/1"));
    write(dir.path(), "mine", &mine);
    write(dir.path(), "other", &other);
    let t = TestApp::with_settings(&[("mine", &mine), ("other", &other)], |settings| {
        settings.providers.dir = dir.path().to_owned();
        settings.schedule.first_run_spread = "100ms".parse().unwrap();
    })
    .await;
    let cloud = MockServer::start().await;
    let good = ResponseTemplate::new(200).set_body_string(r#"{"t": 1}"#);
    Mock::given(method("GET")).respond_with(good).mount(&cloud).await;
    for provider in ["mine", "other"] {
        let connection = t.connect(provider, "main", &cloud.uri()).await;
        t.add_devices(provider, connection, 1, "1s").await;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = format!("http://{}/openapi.json", listener.local_addr().unwrap());
    let (stop, reload) = (CancellationToken::new(), Arc::new(Notify::new()));
    let serving = {
        let (app, stop, reload) = (t.app.clone(), stop.clone(), reload.clone());
        let roles = [Role::Api, Role::Fetch, Role::Keep];
        tokio::spawn(async move { serve_and_reload(app, &roles, Some(listener), stop, &reload).await })
    };
    until_asked(&cloud, "/mine/1", 1).await;
    until_asked(&cloud, "/other/1", 1).await;

    write(dir.path(), "mine", &definition("/mine/2"));
    reload.notify_one();
    until_asked(&cloud, "/mine/2", 1).await;
    // The other's turn comes as before.
    let before = asked(&cloud, "/other/1").await;
    until_asked(&cloud, "/other/1", before + 1).await;

    write(dir.path(), "mine", &definition("/mine/3").replace("records", "recrods"));
    write(dir.path(), "other", &definition("/other/2"));
    reload.notify_one();
    until_asked(&cloud, "/other/2", 1).await;
    let before = asked(&cloud, "/mine/2").await;
    until_asked(&cloud, "/mine/2", before + 1).await;
    assert_eq!(reqwest::get(api).await.unwrap().status(), 200);

    stop.cancel();
    timeout(TIMEOUT, serving).await.expect("an end").unwrap().unwrap();
    let report = keep::check(&t.app, false).await.unwrap();
    assert!(report.clean && report.scheduled == 2, "{report:?}");
}

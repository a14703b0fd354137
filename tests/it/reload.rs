//! Definitions are re-read while the process runs: what is good replaces the one before, what is not is refused.

use crate::crash::{ready, serving};
use crate::support::TestApp;
use paceline::keep;
use paceline::serve::{Role, serve_and_reload};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStderr, Command};
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

async fn hang_up(child: &Child) {
    let pid = child.id().expect("it runs").to_string();
    assert!(Command::new("kill").args(["-HUP", &pid]).status().await.unwrap().success());
}

/// The next line of the log with these words.
async fn logged(log: &mut tokio::io::Lines<BufReader<ChildStderr>>, words: &str) -> String {
    let found = async {
        loop {
            let line = log.next_line().await.unwrap().expect("it still logs");
            if line.contains(words) {
                return line;
            }
        }
    };
    timeout(TIMEOUT, found).await.unwrap_or_else(|_| panic!("{words:?} is not logged"))
}

#[tokio::test]
async fn sighup_makes_the_process_re_read_its_definitions() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "mine", &definition("/mine/1"));
    let t = TestApp::with(&[("mine", &definition("/mine/1"))]).await;
    let cloud = MockServer::start().await;
    let good = ResponseTemplate::new(200).set_body_string(r#"{"t": 1}"#);
    Mock::given(method("GET")).respond_with(good).mount(&cloud).await;
    let connection = t.connect("mine", "main", &cloud.uri()).await;
    t.add_devices("mine", connection, 1, "1s").await;
    let settings = [
        ("PACELINE__PROVIDERS__DIR", dir.path().to_str().unwrap()),
        ("PACELINE__PROVIDERS__PRIVATE_NETWORKS", "mine"),
        ("PACELINE__SCHEDULE__FIRST_RUN_SPREAD", "100ms"),
    ];
    let mut child = serving(&t, &settings).stderr(Stdio::piped()).spawn().unwrap();
    ready(&mut child).await;
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    until_asked(&cloud, "/mine/1", 1).await;

    write(dir.path(), "mine", &definition("/mine/2"));
    hang_up(&child).await;
    logged(&mut log, "definition re-read").await;
    until_asked(&cloud, "/mine/2", 1).await;

    write(dir.path(), "mine", &definition("/mine/3").replace("records", "recrods"));
    hang_up(&child).await;
    let line = logged(&mut log, "definition refused; the one before stays").await;
    assert!(line.contains("mine.toml:9: unknown field `recrods`"), "{line}");
    let before = asked(&cloud, "/mine/2").await;
    until_asked(&cloud, "/mine/2", before + 1).await;
    assert_eq!(asked(&cloud, "/mine/3").await, 0);
    child.kill().await.unwrap();
}

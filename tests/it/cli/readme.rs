//! The README's shell blocks, as written and in order.

use super::{Binary, shell_lines};
use crate::private_redis::free_port;
use serde_json::json;
use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

/// Lines that are run elsewhere: `scripts/test` runs the demo, and has built what the next installs.
const ELSEWHERE: [&str; 2] = ["scripts/demo", "cargo install"];

/// Lines that need somebody at the terminal, and what they say without.
const ASKING: [(&str, &str); 1] = [("paceline connection authorize", "nothing was pasted")];

/// curl waits for the server, fails where the API refuses, and leaves a live stream after a while.
const SHELL: &str = r#"
trap 'kill $(jobs -p)' EXIT
curl() {
    local stream=
    case " $* " in *' -N '*) stream='--max-time 2 --retry 0' ;; esac
    command curl -sS --fail-with-body --retry-connrefused --retry 40 --retry-delay 1 $stream "$@"
    local status=$?
    [ "$status $stream" = '28 --max-time 2 --retry 0' ] || return $status
}
"#;

/// Slow: it runs a server and all commands one after the other.
#[tokio::test]
async fn slow_readme_runs_as_written() {
    let boat = MockServer::start().await;
    let value = json!({"value": 280.1, "timestamp": "2026-01-01T10:00:00.000Z", "meta": {"units": "K"}});
    Mock::given(matchers::any())
        .respond_with(ResponseTemplate::new(200).set_body_json(value))
        .mount(&boat)
        .await;
    let address = format!("127.0.0.1:{}", free_port());
    let binary = Binary::new()
        .await
        .set("PACELINE__HTTP__LISTEN", &address)
        .set("PACELINE__HTTP__PUBLIC_URL", "https://paceline.example.com");
    let bin = binary.dir.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    symlink(env!("CARGO_BIN_EXE_paceline"), bin.join("paceline")).unwrap();

    let mut script = SHELL.to_owned();
    let mut lines = 0;
    for line in shell_lines(include_str!("../../../README.md")) {
        let line = line.replace("127.0.0.1:8077", &address).replace("http://127.0.0.1:3000", &boat.uri());
        if ELSEWHERE.iter().any(|known| line.starts_with(known)) {
            continue;
        }
        lines += 1;
        let code = line.split(" #").next().unwrap().trim();
        match ASKING.iter().find(|(known, _)| line.starts_with(known)) {
            Some((_, says)) => writeln!(script, "{code} </dev/null 2>&1 | grep -q '{says}'").unwrap(),
            None => writeln!(script, "{code}").unwrap(),
        }
        if !code.ends_with('&') {
            writeln!(
                script,
                "status=$?; [ $status = 0 ] || {{ echo \"line {lines} ended with $status\" >&2; exit 1; }}"
            )
            .unwrap();
        }
    }
    assert!(lines > 20, "{lines} lines");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("bash");
    shell.arg("-c").arg(&script).current_dir(binary.dir.path());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PACELINE__")) {
        shell.env_remove(name);
    }
    shell.envs(&binary.settings).env("PATH", path).stdin(Stdio::null());
    let ran = tokio::task::spawn_blocking(move || shell.output()).await.unwrap().unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{script}\n{out}\n{err}");
    for shown in ["navigation/position", "\"priority\":\"high\"", "\"status\":", "\"ended\":"] {
        assert!(out.contains(shown), "{shown}: {out}");
    }
}

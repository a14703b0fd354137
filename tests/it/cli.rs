//! The command line, tested by running the binary.

mod discover;
mod hold;
mod import;
mod plan;
mod provider;
mod readme;
mod refresh;
mod remove;
mod secrets;
mod start;
mod tenant;
mod trial;
mod webhook;
mod why;

use crate::support::{TestApp, server};
use clap::{CommandFactory, Parser};
use paceline::cli::Cli;
use paceline::seal::Sealer;
use secrecy::ExposeSecret;
use serde_json::Value;
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// The binary with its settings and a directory of its own.
pub struct Binary {
    dir: TempDir,
    settings: HashMap<&'static str, String>,
    /// Keeps the pool of the test database open.
    app: Option<TestApp>,
}

/// Exit code and output of a run.
#[derive(Debug)]
pub struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Binary {
    /// With no settings.
    fn bare() -> Self {
        Self { dir: TempDir::new().expect("a directory"), settings: HashMap::new(), app: None }
    }

    /// With the test servers, a database of its own and a sealing key.
    async fn new() -> Self {
        let app = TestApp::with(&[]).await;
        let key = Sealer::generate_key().expect("randomness").expose_secret().to_owned();
        Self::bare()
            .set("PACELINE__DATABASE__URL", app.database_url.expose_secret())
            .set("PACELINE__REDIS__URL", &server("PACELINE_TEST_REDIS_URL"))
            .set("PACELINE__REDIS__PREFIX", &app.app.settings.redis.prefix)
            .set("PACELINE__SECRET__KEY", &key)
            .with_app(app)
    }

    fn with_app(mut self, app: TestApp) -> Self {
        self.app = Some(app);
        self
    }

    fn set(mut self, name: &'static str, value: &str) -> Self {
        self.settings.insert(name, value.to_owned());
        self
    }

    /// Writes a file in its directory. Returns the path.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(&path, content).expect("a file");
        path.display().to_string()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
        command.args(args).current_dir(self.dir.path());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PACELINE__")) {
            command.env_remove(name);
        }
        command.envs(&self.settings).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run_with(&self, args: &[&str], input: &[u8]) -> Run {
        let mut child = self.command(args).spawn().expect("the binary");
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = input.to_owned();
        // A command that refuses at once closes the pipe: not an error of the test.
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().expect("its end");
        let _ = writer.join();
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Run { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Runs a command line.
    fn run(&self, line: &str) -> Run {
        self.run_with(&line.split_whitespace().collect::<Vec<_>>(), b"")
    }

    /// Runs a command line with `--json`; it must succeed.
    fn json(&self, line: &str) -> Value {
        self.run(&format!("{line} --json")).ok().json()
    }

    /// Adds the connection `main` of tenant `acme` at the simulated cloud.
    fn connect(&self) {
        let secret = self.file("secret", "s3cret-value\n");
        self.run(&format!(
            "connection add --tenant acme --provider meadow --label main --param base_url=http://x \
             --secret-file {secret}"
        ))
        .ok();
    }
}

impl Run {
    fn ok(self) -> Self {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{self:?}");
        self
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts this exit code, one line on stderr that contains all these parts, and nothing on stdout.
    fn refused(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.out, "", "{self:?}");
        assert!(self.err.starts_with("paceline: ") && self.err.lines().count() == 1, "{self:?}");
        for part in parts {
            assert!(self.err.contains(part), "{part}: {self:?}");
        }
    }
}

#[test]
fn every_example_in_the_help_parses() {
    fn walk(command: &clap::Command, path: &str) -> usize {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        // clap wraps wider lines, and a wrapped example cannot be copied.
        for line in help.lines().filter(|line| line.starts_with("  ")) {
            assert!(line.chars().count() <= 100, "{path}: too wide: {line}");
        }
        let help = help.replace("\\\n", " ");
        let mut examples = 0;
        for line in help.lines().filter_map(|line| line.strip_prefix("  paceline ")) {
            let command = line.split(['#', '|']).next().unwrap_or(line);
            let words = std::iter::once("paceline").chain(command.split_whitespace());
            Cli::try_parse_from(words).unwrap_or_else(|error| panic!("paceline {line}: {error}"));
            assert!(path.is_empty() || line.starts_with(path), "{path}: {line}");
            examples += 1;
        }
        let subcommands: Vec<_> = command.get_subcommands().filter(|c| c.get_name() != "help").collect();
        assert!(examples > 0 || !subcommands.is_empty(), "{path} has no examples");
        subcommands.iter().fold(examples, |sum, c| sum + walk(c, format!("{path} {}", c.get_name()).trim()))
    }
    let command = Cli::command();
    command.clone().debug_assert();
    assert!(walk(&command, "") > 20);
}

/// The lines of a document's shell blocks, continued ones joined.
fn shell_lines(document: &str) -> Vec<String> {
    let blocks = document.split("```sh\n").skip(1).filter_map(|rest| rest.split_once("```"));
    blocks
        .flat_map(|(block, _)| block.replace("\\\n", " ").lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

#[test]
fn every_command_in_the_documents_parses() {
    let documents = [
        include_str!("../../README.md"),
        include_str!("../../CONTRIBUTING.md"),
        include_str!("../../ARCHITECTURE.md"),
    ];
    let lines: Vec<_> = documents.into_iter().flat_map(shell_lines).collect();
    let mut seen = 0;
    for line in &lines {
        let command = line.split(" #").next().unwrap_or(line).replace(" &", " ");
        let command = command.split(" |").next().unwrap_or_default();
        let Some(at) = command.find("paceline ") else { continue };
        if command[..at].trim_end().ends_with("cargo") {
            continue;
        }
        Cli::try_parse_from(command[at..].split_whitespace())
            .unwrap_or_else(|error| panic!("{line}: {error}"));
        seen += 1;
    }
    assert!(seen > 20, "{seen} commands");
}

#[test]
fn every_request_in_the_readme_is_in_the_api_description() {
    let described: Value = serde_json::from_str(&paceline::http::document()).unwrap();
    let mut seen = 0;
    for line in shell_lines(include_str!("../../README.md")) {
        let Some((_, path)) = line.split_once("http://127.0.0.1:8077") else { continue };
        let method =
            line.split_once("-X ").map_or("get", |(_, rest)| rest.split(' ').next().unwrap()).to_lowercase();
        let path = path.split(['?', '"', ' ']).next().unwrap_or_default();
        let segments: Vec<_> = path.split('/').collect();
        let matches = |template: &String| {
            let template: Vec<_> = template.split('/').collect();
            let is_match = |(part, segment): (&&str, &&str)| part.starts_with('{') || part == segment;
            template.len() == segments.len() && template.iter().zip(&segments).all(is_match)
        };
        let paths = described["paths"].as_object().unwrap();
        assert!(
            paths.iter().any(|(template, item)| matches(template) && item.get(&method).is_some()),
            "{line}"
        );
        seen += 1;
    }
    assert_eq!(seen, 10);
}

#[test]
fn help_goes_to_stdout_and_a_mistake_is_one_line_on_stderr() {
    let binary = Binary::bare();
    assert!(binary.run("device import --help").ok().out.contains("external_id,name,group"));
    assert!(binary.run("--version").ok().out.starts_with("paceline "));
    let help = binary.run("--help").ok().out;
    assert!(help.contains("Exit codes:") && !help.contains("\n  cloud"), "{help}");
    binary.run("lagg").refused(2, &["'lagg'", "'lag'", "--help"]);
    binary.run("key list").refused(2, &["--tenant <NAME>"]);
    binary.run("set 1 --priority urgent").refused(2, &["urgent", "realtime, high, normal"]);
    binary.run("set 1").refused(2, &["--interval", "--pause"]);
    let json = binary.run("key list --json");
    assert_eq!((json.code, json.out.as_str()), (Some(2), ""));
    let error: Value = serde_json::from_str(&json.err).expect("JSON");
    assert!(error["error"].as_str().is_some_and(|text| text.contains("--tenant")), "{error}");
}

#[tokio::test]
async fn keys_are_created_listed_and_revoked() {
    let binary = Binary::new().await;
    let created = binary.run("key create --tenant new --role reader --label dash").ok();
    assert!(created.out.contains("pl_reader_") && created.out.contains("only this once"), "{created:?}");
    let created = binary.json("key create --tenant new --role operator");
    let key = created["key"].as_str().expect("a key");
    assert!(key.starts_with("pl_operator_"), "{created}");

    let list = binary.run("key list --tenant new").ok().out;
    assert!(list.contains("dash") && !list.contains(key), "{list}");
    let keys = binary.json("key list --tenant new");
    assert_eq!((keys["keys"][0]["label"].as_str(), &keys["keys"][1]["id"]), (Some("dash"), &created["id"]));

    let lasting = "key create --tenant new --role user --label lent --days 90";
    binary.run(lasting).ok();
    let keys = binary.json("key list --tenant new");
    let (created_at, expires_at) = (&keys["keys"][2]["created_at"], &keys["keys"][2]["expires_at"]);
    let instant = |at: &Value| chrono::DateTime::parse_from_rfc3339(at.as_str().unwrap()).unwrap();
    assert_eq!((instant(expires_at) - instant(created_at)).num_days(), 90);
    assert!(binary.run("key list --tenant new").ok().out.contains("expires"));
    binary.run("key create --tenant new --role user --days 0").refused(2, &["--days"]);

    let id = &created["id"];
    assert!(binary.run(&format!("key revoke --tenant new {id}")).ok().out.contains("revoked"));
    binary
        .run(&format!("key revoke --tenant new {id}"))
        .refused(1, &["no unrevoked key", "paceline key list"]);
    binary.run(&format!("key revoke --tenant acme {}", 1)).refused(1, &["no unrevoked key"]);
    binary.run("key list --tenant nobody").refused(1, &["no tenant", "nobody"]);
    binary.run("key create --tenant No! --role user").refused(1, &["not a tenant name"]);
    assert!(!binary.json("key list --tenant new")["keys"][1]["revoked_at"].is_null());
}

#[tokio::test]
async fn secrets_of_connections_are_sealed_and_never_shown() {
    let binary = Binary::new().await;
    let secret = binary.file("secret", "s3cret-value\r\n");
    let add = "connection add --tenant acme --param base_url=http://x";
    let added = binary.json(&format!("{add} --provider meadow --label main --secret-file {secret}"));
    assert_eq!((added["provider"].as_str(), added["label"].as_str()), (Some("meadow"), Some("main")));
    let args: Vec<_> =
        "connection add --tenant acme --provider meadow --label two --secret-stdin --param base_url=http://x"
            .split(' ')
            .collect();
    let second = binary.run_with(&args, b"s3cret-value").ok();
    assert!(second.out.contains("two") && second.out.contains("acme"), "{second:?}");

    for (line, error) in [
        (format!("{add} --provider medow --label x"), "awair, daikin-onecta, ecobee, enphase, govee"),
        (format!("{add} --provider meadow --label x"), "--secret-file"),
        (format!("{add} --provider signalk --label x --secret-file {secret}"), "takes no secret"),
        (format!("{add} --provider meadow --label main --secret-file {secret}"), "already has a connection"),
        (format!("{add} --provider meadow --label x --secret-file {}", binary.file("empty", "\n")), "empty"),
    ] {
        binary.run(&line).refused(1, &[error]);
    }
    binary.run(&format!("{add} --provider meadow --label x --secret-file nowhere")).refused(2, &["nowhere"]);
    binary.run(&format!("{add} --provider meadow --label x --param oops")).refused(2, &["NAME=VALUE"]);

    let renewed = binary.file("renewed", "other-s3cret\n");
    let run = binary.run(&format!("connection secret --tenant acme main --secret-file {renewed}")).ok();
    assert!(run.out.contains("new secret"), "{run:?}");
    let list = binary.run("connection list --tenant acme").ok().out
        + &binary.json("connection list --tenant acme").to_string();
    assert!(list.contains("active") && !list.contains("s3cret"), "{list}");
    let sealed: Vec<u8> = sqlx::query_scalar("SELECT secret_sealed FROM connections WHERE label = 'main'")
        .fetch_one(&binary.app.as_ref().expect("an app").app.pool)
        .await
        .expect("a row");
    assert!(!sealed.windows(6).any(|w| w == b"s3cret"));
    let key = &binary.settings["PACELINE__SECRET__KEY"];
    let id = paceline::words::ConnectionId(added["id"].as_i64().expect("a number"));
    let opened =
        Sealer::new(&key.as_str().into()).expect("a key").open_secrets(id, &sealed).expect("it opens");
    assert_eq!(opened.get("secret").expect("the only one").expose_secret(), "other-s3cret");
}

#[tokio::test]
async fn devices_are_added_listed_and_set() {
    let binary = Binary::new().await;
    binary.connect();
    let add = "device add --tenant acme --connection main";
    let device = binary.json(&format!("{add} --external-id a --name Kitchen"))["device"].clone();
    let energy =
        binary.run(&format!("{add} --external-id a --resource energy --interval 30s --priority low")).ok();
    assert!(energy.out.contains("\"a\""), "{energy:?}");
    binary
        .run(&format!("{add} --external-id b --interval 10ms"))
        .refused(1, &["interval: ", "use 1s to 31days"]);
    binary.run(&format!("{add} --external-id b --resource power")).refused(1, &["energy, state"]);
    binary.run("device add --tenant acme --connection no --external-id b").refused(1, &["\"no\""]);

    let list = binary.json("device list --tenant acme");
    let listed = &list["devices"][0];
    assert_eq!((&listed["device"], listed["name"].as_str()), (&device, Some("Kitchen")));
    assert_eq!(
        listed["jobs"]["state"],
        serde_json::json!({"interval":"1m","priority":"normal","state":"active","from":"provider"})
    );
    assert_eq!(listed["jobs"]["energy"]["priority"], "low");
    assert!(
        binary
            .run("device list --tenant acme --connection main")
            .ok()
            .out
            .contains("energy 30s low, state 1m normal")
    );

    let set = binary.run(&format!("set {device} --resource state --interval 5s --priority high")).ok();
    assert_eq!(set.out, format!("Device {device}, state: every 5s, priority high, active.\n"));
    let paused = binary.json("set a --tenant acme --resource energy --pause");
    assert_eq!((paused["state"].as_str(), paused["interval"].as_str()), (Some("paused"), Some("30s")));
    assert_eq!(binary.json("set a --tenant acme --resource energy --resume")["state"], "active");
    binary.run(&format!("set {device} --interval 5s")).refused(1, &["--resource", "energy, state"]);
    binary.run(&format!("set {device} --resource energy --interval 5s")).refused(1, &["use 10s to 31days"]);
    binary.run(&format!("set {device} --resource energy --interval -5s")).refused(1, &["use 10s to 31days"]);
    binary.run("set 999999 --interval 5s").refused(1, &["no device", "paceline device list"]);
    binary.run("set a --interval 5s").refused(1, &["no device", "--tenant"]);

    assert_eq!(binary.json(&format!("{add} --external-id a"))["device"], device);
    let list = binary.json("device list --tenant acme");
    assert_eq!(list["devices"][0]["jobs"]["state"]["interval"], "5s", "adding it again keeps the preference");
    assert_eq!(
        binary.json("lag")["providers"]["meadow"]["schedule"]["due"],
        2,
        "both jobs are in the schedule"
    );
}

#[tokio::test]
async fn lag_is_printed_as_text_and_as_json() {
    let binary = Binary::new().await;
    assert!(binary.run("lag").ok().out.contains("No jobs yet"));
    binary.connect();
    binary.run("device add --tenant acme --connection main --external-id a").ok();
    let lag = binary.run("lag").ok().out;
    assert!(lag.contains("meadow: 1 jobs, 0 fresh (0 %), none late; nothing sent"), "{lag}");
    let lag = binary.json("lag");
    assert_eq!(
        (&lag["providers"]["meadow"]["jobs"]["active"], &lag["providers"]["meadow"]["jobs"]["never"]),
        (&1.into(), &1.into())
    );
    assert!(lag["providers"]["signalk"]["schedule"].is_object());
}

#[test]
fn cloud_prints_its_address_and_stops_when_stdin_closes() {
    use std::io::{BufRead, BufReader};
    let binary = Binary::bare();
    let mut child = binary
        .command(&["cloud", "--accounts", "1", "--no-limits", "--exit-with-stdin"])
        .spawn()
        .expect("the binary");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let ready: Value = serde_json::from_str(&line).expect("JSON");
    let address = ready["listening"].as_str().expect("an address").to_owned();
    std::net::TcpStream::connect(&address).expect("it listens");
    binary.run(&format!("cloud --listen {address}")).refused(2, &[&address, "choose another address"]);
    binary.run("cloud --offline-share 0.9").refused(2, &["0 to 0.25"]);
    drop(child.stdin.take());
    assert!(child.wait().expect("its end").success());
    assert!(!Path::new(binary.dir.path()).join(".paceline").exists(), "it starts no servers");
}

//! Checks the source against rules, and reports violations as `file:line: rule: what to do instead`.
//!
//! The tables below configure the rules. Change them together with the architecture, in the same commit and with a
//! reason. `tidy/rules.rs` implements the rules, `tidy/fails.rs` tests that each can fail.

#[path = "tidy/docs.rs"]
mod docs;
#[path = "tidy/fails.rs"]
mod fails;
#[path = "tidy/lex.rs"]
mod lex;
#[path = "tidy/lua.rs"]
mod lua;
#[path = "tidy/rooms.rs"]
mod rooms;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

/// The rooms of `src`, from the top. A room may import rooms of lower rows, not of its own row or a higher one.
const LEVELS: &[&[&str]] = &[
    &["main"],
    &["cli"],
    &["demo"],
    &["serve"],
    &["http"],
    &["discovery", "trial", "refresh", "webhook"],
    &["adhoc", "change", "live"],
    &["journey", "read", "history", "keep", "forecast", "explain"],
    &["authorise"],
    &["app"],
    &[
        "preference",
        "schedule",
        "token",
        "take",
        "pace",
        "fetch",
        "record",
        "cache",
        "incident",
        "watch",
        "local",
        "cloud",
    ],
    &["redis", "postgres", "provider", "seal", "clock", "retry", "settings", "supervise", "telemetry"],
    &["words"],
];

/// Rooms that import nothing from the crate, and the reason.
const ISOLATED: &[(&str, &str)] =
    &[("cloud", "it plays the third party: a bug in shared code would be in both and stay unseen")];

/// Allowed imports within a row: importer, imported, reason. Unused ones must be removed.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("postgres", "retry", "a migration that cannot have its locks is tried again"),
    ("supervise", "retry", "the delays between restarts"),
    ("telemetry", "settings", "it is set up from the `log` section"),
    ("explain", "forecast", "a job's answer ends with what the plan lets it have"),
    ("read", "explain", "a device's view says when each resource has its next turn"),
];

/// The parts of a room (files and sub-rooms), from top to bottom: a part may import only parts in lower rows.
const ORDER: &[(&str, &[&[&str]])] = &[
    (
        "src/fetch",
        &[
            &["cases", "bench_hooks"],
            &["bootstrap", "list", "probe", "authorize", "check", "id_scope"],
            &["client", "push"],
            &["page"],
            &["token"],
            &["trace"],
            &["request"],
            &["answer"],
            &["wire", "jq"],
            &["call"],
        ],
    ),
    (
        "src/provider",
        &[
            &["fixtures", "lookup"],
            &["registry"],
            &["overview"],
            &["load"],
            &["definition"],
            &["quota"],
            &["auth"],
            &["call"],
            &["value", "http_text", "lookup_error"],
        ],
    ),
    ("src/preference", &[&["devices"], &["jobs"], &["accounts"], &["webhooks"], &["tenants"]]),
];

/// The most files in one folder, its `mod.rs` not counted; a room with more has sub-rooms.
const FILES_MAX: usize = 14;

/// Where external crates may be named. `jaq_*` matches every crate with this prefix; directories end in `/`.
const HOMES: &[(&str, &[&str])] = &[
    (
        "sqlx",
        &[
            "src/postgres/",
            "src/preference/",
            "src/record/",
            "src/incident/",
            "src/token/",
            "src/watch/",
            "src/local/postgres.rs",
            "src/local/error.rs",
        ],
    ),
    ("redis", &["src/redis/", "src/cache/", "src/watch/", "src/local/redis.rs"]),
    ("reqwest", &["src/fetch/", "src/demo/"]),
    ("governor", &["src/pace/", "src/http/"]),
    ("backoff", &["src/retry.rs"]),
    ("axum", &["src/http/", "src/cloud/"]),
    ("utoipa_axum", &["src/http/", "src/cloud/"]),
    ("clap", &["src/cli/", "src/main.rs", "src/words/role.rs", "src/serve.rs"]),
    ("chacha20poly1305", &["src/seal.rs"]),
    ("jaq_*", &["src/fetch/"]),
    ("minijinja", &["src/fetch/request/"]),
    ("config", &["src/settings.rs"]),
    ("oauth2", &["src/fetch/"]),
];

/// Banned code, what to write instead, and the files where it is allowed.
const BANS: &[Ban] = &[
    Ban::everywhere("std::time::SystemTime::now", "take the time as an argument, or use a Clock", CLOCKS),
    Ban::everywhere("chrono::Utc::now", "take the time as an argument, or use a Clock", CLOCKS),
    Ban::everywhere("chrono::Local::now", "take the time as an argument, or use a Clock", CLOCKS),
    Ban::everywhere("std::time::Instant::now", "use tokio::time::Instant, which tests can pause", CLOCKS),
    Ban::everywhere("std::thread::sleep", "wait for the event, or use tokio::time::sleep", &[]),
    Ban::everywhere("todo!", "implement it, or leave it out", &[]),
    Ban::everywhere("unimplemented!", "implement it, or leave it out", &[]),
    Ban::everywhere("dbg!", "use tracing with fields", &[]),
    Ban::code("tokio::spawn", "run it under app.supervisor, so that a panic is noticed", SPAWNERS),
    Ban::code("println!", "return the text to cli/, or use tracing", PRINTERS),
    Ban::code("print!", "return the text to cli/, or use tracing", PRINTERS),
    Ban::code("eprintln!", "return the text to cli/, or use tracing", PRINTERS),
    Ban::code("eprint!", "return the text to cli/, or use tracing", PRINTERS),
    Ban::code(".unwrap()", "return an error, or make the case impossible by type", &[]),
    Ban::code(".expect(", "return an error, or make the case impossible by type", &[]),
    Ban::code("panic!", "return an error", &[]),
    Ban::code("expose_secret", "pass the SecretString on to the code that needs the secret", SECRET_USERS),
];

/// The two clocks: that of the process and that of the simulated cloud.
const CLOCKS: &[&str] = &["src/clock.rs", "src/cloud/clock.rs"];

/// Code that spawns tasks whose panics are noticed: by a supervisor inside, or by the code that awaits them.
const SPAWNERS: &[&str] = &[
    "src/http/keyring.rs",
    "src/live/hub.rs",
    "src/journey/run.rs",
    "src/demo/run.rs",
    "src/cli/stop.rs",
    "src/cloud/",
];

/// Code that prints to the terminal.
const PRINTERS: &[&str] = &["src/cli/", "src/demo/", "src/cloud/exit.rs"];

/// Code that needs a secret: to connect, seal or sign, to show a new key once, to check that a URL is empty.
const SECRET_USERS: &[&str] = &[
    "src/words/text/",
    "src/redis/connect.rs",
    "src/postgres/mod.rs",
    "src/local/redis.rs",
    "src/local/postgres.rs",
    "src/seal.rs",
    "src/fetch/request/credential.rs",
    "src/fetch/request/render_context.rs",
    "src/fetch/request/sign.rs",
    "src/fetch/token/oauth.rs",
    "src/fetch/token/token_context.rs",
    "src/token/pending.rs",
    "src/authorise/owner.rs",
    "src/http/connections/authorize.rs",
    "src/fetch/cases/token_cases.rs",
    "src/preference/tenants/keys.rs",
    "src/webhook/sign.rs",
    "src/http/webhooks/mod.rs",
    "src/cli/admin/key.rs",
    "src/cli/admin/sql_reader.rs",
    "src/cli/sealing_key.rs",
    "src/cli/servers.rs",
    "src/demo/run.rs",
];

/// File names that do not describe the content.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc", "shared"];

/// Maximum lines of a file in `src` …
const LINES_MAX: usize = 400;

/// … except for these files, which may only shrink: each must have exactly the length given here.
const LONG: &[(&str, usize)] = &[];

/// Maximum characters of a line.
const COLUMNS_MAX: usize = 120;

/// See [`BANS`].
struct Ban {
    /// Rust code. A path is also found if it was imported under another name.
    what: &'static str,
    instead: &'static str,
    except_in: &'static [&'static str],
    /// Banned in tests too.
    everywhere: bool,
}

impl Ban {
    const fn everywhere(
        what: &'static str,
        instead: &'static str,
        except_in: &'static [&'static str],
    ) -> Self {
        Self { what, instead, except_in, everywhere: true }
    }

    const fn code(what: &'static str, instead: &'static str, except_in: &'static [&'static str]) -> Self {
        Self { what, instead, except_in, everywhere: false }
    }
}

#[test]
fn the_source_is_tidy() {
    let files = source::files();
    let mut findings = rules::all(&files);
    findings.extend(rules::stale(&files));
    for (path, text) in docs::documents() {
        findings.extend(docs::dead_pointers(&path, &text, &files, &docs::Disk));
    }
    findings.sort();
    findings.dedup();
    println!("median length of a file in src: {} lines", rules::median(&files));
    let list: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
    assert!(findings.is_empty(), "{} lines broke a rule:\n{list}", findings.len());
}

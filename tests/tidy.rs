//! Reads the source and says which line broke which rule, as `file:line: rule: what to do instead`.
//!
//! The tables below are the rules; a change of the architecture changes them, in the same commit and with a reason.
//! How a rule reads is in `tidy/rules.rs`, that each can fail in `tidy/fails.rs`.

#[path = "tidy/docs.rs"]
mod docs;
#[path = "tidy/fails.rs"]
mod fails;
#[path = "tidy/lex.rs"]
mod lex;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

/// The rooms of `src`, from the top: a room may import those of lower rows, never of its own row or a higher one.
const LEVELS: &[&[&str]] = &[
    &["main"],
    &["cli"],
    &["demo"],
    &["serve"],
    &["http"],
    &["discovery", "trial"],
    &["adhoc"],
    &["journey", "read", "keep", "forecast", "explain"],
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
        "watch",
        "local",
        "cloud",
    ],
    &["redis", "postgres", "provider", "seal", "clock", "retry", "settings", "telemetry"],
    &["words"],
];

/// Rooms that import nothing of the crate, and why.
const ALONE: &[(&str, &str)] =
    &[("cloud", "it plays the third party: sharing code with it would let both be wrong alike")];

/// Imports inside a row that are allowed: who, whom, why. One that nobody uses must go.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("telemetry", "settings", "it is set up from the `log` section"),
    ("explain", "forecast", "a job's answer ends with what the plan lets it have"),
];

/// Which outside crate is named where. `jaq_*` is every crate whose name begins so; a room ends in `/`.
const HOMES: &[(&str, &[&str])] = &[
    (
        "sqlx",
        &[
            "src/postgres/",
            "src/preference/",
            "src/record/",
            "src/token/",
            "src/watch/",
            "src/local/postgres.rs",
            "src/local/error.rs",
        ],
    ),
    ("redis", &["src/redis/", "src/cache/", "src/watch/", "src/local/redis.rs"]),
    ("reqwest", &["src/fetch/", "src/demo/"]),
    ("governor", &["src/pace/"]),
    ("backoff", &["src/retry.rs"]),
    ("axum", &["src/http/", "src/cloud/"]),
    ("utoipa_axum", &["src/http/", "src/cloud/"]),
    (
        "clap",
        &["src/cli/", "src/main.rs", "src/words/role.rs", "src/serve.rs", "src/preference/import/rows.rs"],
    ),
    ("chacha20poly1305", &["src/seal.rs"]),
    ("jaq_*", &["src/fetch/"]),
    ("minijinja", &["src/fetch/request/"]),
    ("config", &["src/settings.rs"]),
    ("oauth2", &["src/fetch/"]),
];

/// What is not written, what to write instead, and where it is written all the same.
const BANS: &[Ban] = &[
    Ban::everywhere("std::time::SystemTime::now", "take the time as an argument, or ask a Clock", CLOCKS),
    Ban::everywhere("chrono::Utc::now", "take the time as an argument, or ask a Clock", CLOCKS),
    Ban::everywhere("chrono::Local::now", "take the time as an argument, or ask a Clock", CLOCKS),
    Ban::everywhere("std::time::Instant::now", "use tokio::time::Instant, which tests can pause", CLOCKS),
    Ban::everywhere("std::thread::sleep", "wait for the event, or use tokio::time::sleep", &[]),
    Ban::everywhere("todo!", "write it, or leave it out", &[]),
    Ban::everywhere("unimplemented!", "write it, or leave it out", &[]),
    Ban::everywhere("dbg!", "use tracing, with fields", &[]),
    Ban::code("println!", "return the text to cli/, or use tracing", TALKERS),
    Ban::code("print!", "return the text to cli/, or use tracing", TALKERS),
    Ban::code("eprintln!", "return the text to cli/, or use tracing", TALKERS),
    Ban::code("eprint!", "return the text to cli/, or use tracing", TALKERS),
    Ban::code(".unwrap()", "return an error, or make the case impossible by type", &[]),
    Ban::code(".expect(", "return an error, or make the case impossible by type", &[]),
    Ban::code("panic!", "return an error", &[]),
    Ban::code("expose_secret", "keep the SecretString closed and hand it to who needs it", OPENERS),
];

/// The two clocks: the process's, and the simulated cloud's.
const CLOCKS: &[&str] = &["src/clock.rs", "src/cloud/clock.rs"];

/// Who talks to people on the terminal.
const TALKERS: &[&str] = &["src/cli/", "src/demo/", "src/cloud/exit.rs"];

/// Who must see a secret: to connect, to seal, to sign a call, to show a new key once, to see that a URL is empty.
const OPENERS: &[&str] = &[
    "src/redis/connect.rs",
    "src/postgres/mod.rs",
    "src/local/redis.rs",
    "src/local/postgres.rs",
    "src/seal.rs",
    "src/fetch/request/credential.rs",
    "src/fetch/request/render_context.rs",
    "src/fetch/request/sign.rs",
    "src/fetch/token/oauth.rs",
    "src/fetch/token/with.rs",
    "src/token/pending.rs",
    "src/authorise/owner.rs",
    "src/fetch/cases/token_cases.rs",
    "src/preference/keys.rs",
    "src/cli/key.rs",
    "src/cli/sealing_key.rs",
    "src/cli/servers.rs",
    "src/demo/run.rs",
];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc", "shared"];

/// Lua that is put in front of scripts and is none itself: no KEYS, no Returns of its own.
const PRELUDES: &[&str] = &[
    "src/redis/lua/common.lua",
    "src/take/lua/terms.lua",
    "src/take/lua/pace.lua",
    "src/take/lua/chain.lua",
    "src/take/lua/rank.lua",
    "src/take/lua/gather.lua",
    "src/take/lua/grant.lua",
    "src/take/lua/write.lua",
];

/// A file of `src` has at most this many lines …
const LINES_MAX: usize = 400;

/// … except these, which may only shrink: each must have exactly the length given here.
const LONG: &[(&str, usize)] = &[];

/// A line has at most this many characters.
const COLUMNS_MAX: usize = 120;

/// See [`BANS`].
struct Ban {
    /// Rust text. A path is found under whatever name it was imported.
    what: &'static str,
    instead: &'static str,
    except_in: &'static [&'static str],
    /// Tests may not either.
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
    let mut found = rules::all(&files);
    found.extend(rules::stale(&files));
    for (path, text) in docs::documents() {
        found.extend(docs::dead_pointers(&path, &text, &files, &docs::Disk));
    }
    found.sort();
    found.dedup();
    println!("median length of a file in src: {} lines", rules::median(&files));
    let list: String = found.iter().map(|finding| format!("{finding}\n")).collect();
    assert!(found.is_empty(), "{} lines broke a rule:\n{list}", found.len());
}

//! Tests that each rule fails where it should, and passes code that only looks similar.

use crate::lex::lex;
use crate::lua::LOCALS_MAX;
use crate::source::File;
use crate::{COLUMNS_MAX, FILES_MAX, LINES_MAX, docs, rules};

/// The findings of one rule in these files.
fn findings(rule: &str, files: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<File> = files.iter().map(|(path, text)| File::new(path, text)).collect();
    let found = rules::all(&files).into_iter().filter(|it| it.rule == rule);
    found.map(|it| it.to_string()).collect()
}

/// Asserts that the rule finds exactly this line of the file.
#[track_caller]
fn fails(rule: &str, path: &str, text: &str, line: usize) {
    let findings = findings(rule, &[(path, text)]);
    assert!(
        findings.len() == 1 && findings[0].starts_with(&format!("{path}:{line}: {rule}: ")),
        "{text}\n{findings:#?}"
    );
}

#[track_caller]
fn passes(rule: &str, path: &str, text: &str) {
    assert_eq!(findings(rule, &[(path, text)]), [""; 0], "{text}");
}

#[test]
fn an_import_against_the_direction_fails() {
    fails("direction", "src/take/taker.rs", "use crate::words::X;\nuse crate::pace::Gate;", 2);
    fails("direction", "src/take/taker.rs", "use super::super::pace::Gate;", 1);
    fails("direction", "src/take/mod.rs", "use super::pace::Gate;", 1);
    fails("direction", "src/take/mod.rs", "fn f() { crate::pace::f() }", 1);
    fails("direction", "src/take/mod.rs", "use crate::{\n    words::{self, X},\n    app::{App},\n};", 3);
    fails("direction", "src/take/mod.rs", "mod tests {\n    use super::super::pace::Gate;\n}", 2);
    fails("direction", "src/pace/mod.rs", "fn f() -> &'static str { paceline::http::f() }", 1);
    fails("direction", "src/redis/keys.rs", "use crate::settings::Settings;", 1);
    fails("direction", "src/words/mod.rs", "use crate::clock::Clock;", 1);
    fails("direction", "src/journey/mod.rs", "use crate::keep;", 1);
    fails("direction", "src/http/mod.rs", "use crate::cli;", 1);
    fails("direction", "src/cloud/mod.rs", "use crate::words::Interval;", 1);
    fails("direction", "src/attic.rs", "use crate::words::Interval;", 1);
    fails("direction", "src/take/mod.rs", "use crate::attic::Interval;", 1);
}

#[test]
fn an_import_along_the_direction_passes() {
    passes("direction", "src/main.rs", "use paceline::cli;");
    passes("direction", "src/demo/run.rs", "use crate::serve::{Role, serve};");
    passes("direction", "src/http/mod.rs", "use crate::{read, preference::jobs as j, words::{self, X}};");
    passes("direction", "src/telemetry.rs", "use crate::settings::Log;");
    passes("direction", "src/take/taker.rs", "use super::settle::Verdict; use crate::take::settle;");
    passes("direction", "src/take/mod.rs", "mod tests { use super::*; use super::taker::X; }");
    passes(
        "direction",
        "src/take/mod.rs",
        "//! [`pace`](crate::pace)\n/* crate::app::X */ const T: &str = \"crate::app\";",
    );
    passes("direction", "src/lib.rs", "pub use crate::http::serve;");
}

/// Asserts that the rule has one finding in these files, which begins so.
#[track_caller]
fn fails_in(rule: &str, files: &[(&str, &str)], begins: &str) {
    let findings = findings(rule, files);
    assert!(findings.len() == 1 && findings[0].starts_with(begins), "{findings:#?}");
}

#[test]
fn an_import_cycle_inside_a_room_fails() {
    let spec = ("src/take/spec.rs", "use super::taker::Taker;");
    let back = ("src/take/taker.rs", "use super::spec::Spec;");
    fails_in(
        "cycle",
        &[spec, back],
        "src/take/spec.rs:1: cycle: `spec` → `taker` → `spec` is an import cycle",
    );
    let long = ("src/take/taker.rs", "fn f() {\n    crate::take::grant::f()\n}");
    let way = ("src/take/grant.rs", "use super::spec;");
    fails_in("cycle", &[spec, long, way], "src/take/grant.rs:1: cycle: `grant` → `spec` → `taker` → `grant`");
    // A re-export counts as an import of the file that defines the name.
    let face = ("src/take/mod.rs", "mod spec;\nmod taker;\npub use spec::Spec;");
    let handed = ("src/take/taker.rs", "use super::Spec;");
    fails_in("cycle", &[face, spec, handed], "src/take/spec.rs:1: cycle: ");
    let (low, high) = ("src/take/low/a.rs", "src/take/high/b.rs");
    let there = [(low, "use crate::take::high::b::B;"), (high, "use crate::take::low::a::A;")];
    fails_in(
        "cycle",
        &there,
        "src/take/high/b.rs:1: cycle: `high` → `low` → `high` is an import cycle in src/take",
    );
}

#[test]
fn an_import_by_a_test_or_a_mod_file_is_no_cycle() {
    let spec = ("src/take/spec.rs", "use super::taker::Taker;");
    let test = ("src/take/taker.rs", "#[cfg(test)]\nmod tests {\n    use crate::take::spec::Spec;\n}");
    assert_eq!(findings("cycle", &[spec, test]), [""; 0]);
    let other = ("src/take/taker.rs", "// super::spec\nuse crate::pace::spec::Spec;");
    assert_eq!(findings("cycle", &[spec, other]), [""; 0]);
    // A mod.rs composes the files beside it.
    let face = ("src/take/mod.rs", "mod spec;\nuse spec::f;\npub struct Taker;");
    assert_eq!(findings("cycle", &[face, ("src/take/spec.rs", "use super::Taker;")]), [""; 0]);
}

#[test]
fn an_import_against_the_order_inside_a_room_fails() {
    let client = ("src/fetch/client.rs", "");
    let answer = ("src/fetch/answer/judge.rs", "\nuse crate::fetch::client::Fetcher;");
    fails_in(
        "order",
        &[client, answer],
        "src/fetch/answer/judge.rs:2: order: in src/fetch `answer` may not import",
    );
    let (wire, jq) =
        (("src/fetch/wire/send.rs", "use crate::fetch::jq::bounds;"), ("src/fetch/jq/bounds.rs", ""));
    fails_in("order", &[wire, jq], "src/fetch/wire/send.rs:1: order: ");
    fails_in("order", &[("src/fetch/attic.rs", "")], "src/fetch/attic.rs:1: order: give it a row in ORDER");
    let down = [client, ("src/fetch/probe.rs", "use super::client::Fetcher;")];
    assert_eq!(findings("order", &down), [""; 0]);
}

#[test]
fn a_folder_with_too_many_files_fails() {
    let paths: Vec<String> = (0..=FILES_MAX).map(|at| format!("src/take/f{at:02}.rs")).collect();
    let mut files: Vec<(&str, &str)> = paths.iter().map(|path| (path.as_str(), "")).collect();
    fails_in(
        "size",
        &files,
        &format!("src/take/f{FILES_MAX}.rs:1: size: src/take has {} files", FILES_MAX + 1),
    );
    files[0] = ("src/take/mod.rs", "");
    assert_eq!(findings("size", &files), [""; 0]);
    files[0] = ("src/take/room/f.rs", "");
    assert_eq!(findings("size", &files), [""; 0]);
}

#[test]
fn a_crate_named_outside_its_homes_fails() {
    fails("home", "src/http/jobs.rs", "use sqlx::PgPool;", 1);
    fails("home", "src/take/taker.rs", "fn f() {\n    redis::cmd(\"GET\");\n}", 2);
    fails("home", "src/app.rs", "use redis::{self};", 1);
    fails("home", "src/keep/run.rs", "async fn f() { reqwest::get(\"\").await }", 1);
    fails("home", "src/take/mod.rs", "use governor::Quota;", 1);
    fails("home", "src/fetch/client.rs", "use backoff::ExponentialBackoff;", 1);
    fails("home", "src/read.rs", "use axum::Json;", 1);
    fails("home", "src/read.rs", "use utoipa_axum::routes;", 1);
    fails("home", "src/settings.rs", "#[derive(Debug, clap::Args)]\nstruct S;", 1);
    fails("home", "src/postgres/mod.rs", "use chacha20poly1305::Key;", 1);
    fails("home", "src/provider/load.rs", "use jaq_json::Val;", 1);
    fails("home", "src/fetch/mapping.rs", "use minijinja::Environment;", 1);
    fails("home", "src/provider/load.rs", "use config::Config;", 1);
}

#[test]
fn the_redis_room_is_not_the_redis_crate() {
    passes("home", "src/app.rs", "use crate::redis::{self, Redis};\nfn f() { redis::connect() }");
    passes("home", "src/app.rs", "use crate::{redis, words};\nfn f() { redis::connect() }");
    passes("home", "src/local/mod.rs", "mod redis;\nfn f() { redis::ensure(); super::redis::stop() }");
    passes("home", "src/cache/store.rs", "use crate::redis::Redis;\nfn f() { redis::Script::new(\"\") }");
    passes("home", "src/take/mod.rs", "// redis::cmd\nconst T: &str = r#\"redis::cmd \"x\" sqlx::\"#;");
}

#[test]
fn banned_code_fails() {
    let now = "use std::time::{Instant, SystemTime};\nfn f() { SystemTime::now(); }";
    fails("ban", "src/take/mod.rs", now, 2);
    fails("ban", "src/take/mod.rs", "use std::time::{self, Duration};\nfn f() { time::Instant::now() }", 2);
    fails("ban", "src/take/mod.rs", "fn f() {\n    chrono::Utc::now()\n}", 2);
    fails("ban", "src/take/mod.rs", "use chrono::Local as Here;\nfn f() { Here::now() }", 2);
    fails("ban", "tests/it/x.rs", "use std::thread;\nfn f() { thread::sleep(X) }", 2);
    fails("ban", "tests/it/x.rs", "use std::thread::sleep;", 1);
    fails("ban", "src/take/mod.rs", "fn f() { println!(\"{}\", 1) }", 1);
    fails("ban", "src/http/mod.rs", "fn f() { eprintln!(\"{}\", 1) }", 1);
    fails("ban", "src/take/mod.rs", "fn f() { x\n    .unwrap() }", 2);
    fails("ban", "src/take/mod.rs", "fn f() { x.expect(\"y\") }", 1);
    fails("ban", "src/take/mod.rs", "fn f() { panic!() }", 1);
    fails("ban", "src/take/mod.rs", "#[cfg(not(test))]\nfn f() { panic!() }", 2);
    fails("ban", "src/take/mod.rs", "#[cfg(test)]\nmod tests { fn f() {} }\nfn g() { panic!() }", 3);
    fails("ban", "src/http/mod.rs", "fn f() { x.expose_secret() }", 1);
    fails("ban", "src/take/mod.rs", "#[cfg(test)]\nmod tests { fn f() { todo!() } }", 2);
    fails("ban", "tests/it/x.rs", "fn f() { unimplemented!() }", 1);
    fails("ban", "tests/it/x.rs", "fn f() { dbg!(1) }", 1);
}

#[test]
fn code_similar_to_banned_code_passes() {
    passes("ban", "src/take/mod.rs", "use tokio::time::Instant;\nfn f() { Instant::now() }");
    passes("ban", "src/clock.rs", "use std::time::SystemTime;\nfn f() { SystemTime::now() }");
    passes("ban", "src/cli/output.rs", "fn f() { println!() }");
    passes("ban", "src/take/mod.rs", "fn f() { x.unwrap_or_default(); x.expect_err(1); y.unwrap_or(2) }");
    passes(
        "ban",
        "src/take/mod.rs",
        "#[cfg(test)]\n#[allow(x)]\nmod tests { fn f() { x.unwrap(); panic!() } }",
    );
    passes("ban", "src/take/mod.rs", "#[cfg(all(test, unix))]\nfn f() -> [u8; 2] { x.unwrap() }");
    passes(
        "ban",
        "src/take/mod.rs",
        "/// `x.unwrap()`\nconst T: &str = \"a \\\" .unwrap() panic!\"; // dbg!(x)",
    );
    passes("ban", "tests/it/x.rs", "fn f() { x.unwrap(); panic!() }");
}

#[test]
fn a_marker_for_later_work_fails() {
    let note = concat!("FIX", "ME");
    fails("mark", "src/take/mod.rs", &format!("fn f() {{}}\n// {note} later"), 2);
    fails("mark", "src/take/lua/x.lua", &format!("-- {note}"), 1);
    passes("mark", "src/take/mod.rs", &format!("const T: &str = \"{note}\";"));
}

#[test]
fn a_file_name_without_meaning_fails() {
    fails("name", "src/take/util.rs", "", 1);
    fails("name", "src/helpers/mod.rs", "", 1);
    fails("name", "tests/it/common.rs", "", 1);
    passes("name", "src/redis/lua/shared.lua", "");
    passes("name", "src/take/utility.rs", "");
}

#[test]
fn a_dead_file_fails() {
    let lib = ("src/lib.rs", "mod take; // mod attic;\nmod words { mod time; }");
    let take = ("src/take/mod.rs", "mod settle;\n#[cfg(test)]\nmod tests;");
    let found = findings(
        "dead",
        &[
            lib,
            take,
            ("src/take/settle.rs", ""),
            ("src/take/tests.rs", ""),
            ("src/words/time.rs", ""),
            ("src/attic.rs", "mod box_;"),
            ("src/take/settle/deep.rs", ""),
        ],
    );
    let dead: Vec<&str> = found.iter().filter_map(|it| it.split(':').next()).collect();
    assert_eq!(dead, ["src/attic.rs", "src/take/settle/deep.rs"]);
}

#[test]
fn a_script_without_its_contract_fails() {
    fails("contract", "src/take/lua/x.lua", "-- x: y.\n-- KEYS  1 a\nreturn 1 -- Returns", 1);
    fails("contract", "src/take/lua/x.lua", "-- x: y.\n-- Returns 1.\nreturn 1", 1);
    fails("contract", "src/take/lua/x.lua", "-- KEYS  1 a\n-- Returns 1.\nreturn ARGV[1]", 1);
    passes("contract", "src/take/lua/x.lua", "-- KEYS  1 a\n-- Returns 1.\nreturn 1 -- not ARGV");
    passes("contract", "src/take/lua/x.lua", "-- KEYS  1 a\n-- ARGV  1 b\n-- Returns 1.\nreturn ARGV[1]");
    passes("contract", "src/redis/lua/x.lua", "-- Uses: KEYS[1]\n-- Gives: a\nreturn { a = KEYS[1] }");
}

const MODULE: (&str, &str) =
    ("src/redis/lua/big_keys.lua", "-- Uses: nothing\n-- Gives: a, b\nreturn { a = 1, b = { c = 2 } }");

#[test]
fn a_script_whose_header_misses_a_module_fails() {
    let uses = |text: &str| findings("uses", &[MODULE, ("src/take/lua/x.lua", text)]).len();
    assert_eq!(uses("-- x\nlocal a = BigKeys.a"), 1, "not named");
    assert_eq!(uses("-- x\n-- Uses: BigKeys\nlocal a = 'BigKeys.a' -- BigKeys.a"), 1, "not used");
    assert_eq!(uses("-- x\n-- Uses: BigKeys, Attic\nlocal a = BigKeys.a + Attic.b"), 1, "no module");
    assert_eq!(uses("-- x\n-- Gives: a\nreturn { a = 1 }"), 1, "a module says that it uses nothing");
    assert_eq!(uses("-- x\n-- Uses: BigKeys, Const\nlocal a = BigKeys.a + Const.b"), 0);
}

#[test]
fn a_module_that_gives_what_its_header_does_not_say_fails() {
    let path = "src/take/lua/x.lua";
    fails("gives", path, "-- x\n-- Uses: nothing\n-- Gives: a\nreturn { a = 1, b = 2 }", 3);
    fails("gives", path, "-- x\n-- Uses: nothing\n-- Gives: a, b\nreturn { a = 1 }", 3);
    passes("gives", MODULE.0, MODULE.1);
    passes(
        "gives",
        path,
        "-- x\n-- Uses: nothing\n-- Gives: a,\n--   b\nreturn {\n  a = f({ c = 1 }), b = 2,\n}",
    );
}

#[test]
fn a_script_with_too_many_locals_fails() {
    let path = "src/take/lua/x.lua";
    let most = "local a, b\n".repeat(LOCALS_MAX / 2);
    passes("locals", path, &most);
    fails("locals", path, &(most.clone() + "local function f() local c end"), LOCALS_MAX / 2 + 1);
    passes(
        "locals",
        path,
        &(most.clone() + "do local c = 1 end\nif a then local d end\n-- local e\nb = 'local f'"),
    );
    // A module becomes a local of each script that uses it.
    let text = "-- Uses: BigKeys\n".to_owned() + &most + "a = BigKeys.a";
    assert_eq!(findings("locals", &[MODULE, (path, &text)]).len(), 1);
}

#[test]
fn a_script_not_included_exactly_once_fails() {
    let script = ("src/take/lua/x.lua", "");
    let one = ("src/take/taker.rs", "const X: &str = include_str!(\"lua/x.lua\");");
    let two = ("src/pace/gate.rs", "const X: &str = include_str!(\"../take/lua/x.lua\");");
    assert_eq!(findings("caller", &[script]).len(), 1);
    assert_eq!(findings("caller", &[script, one]).len(), 0);
    assert_eq!(findings("caller", &[script, one, two]).len(), 1);
}

#[test]
fn a_file_that_is_too_long_or_grew_fails() {
    let lines = |count: usize| "\n".repeat(count);
    fails("length", "src/take/mod.rs", &lines(LINES_MAX + 1), LINES_MAX + 1);
    passes("length", "src/take/mod.rs", &lines(LINES_MAX));
    let count = |length: usize| {
        let file = File::new("src/take/lua/x.lua", &lines(length));
        rules::length(&[file], &[("src/take/lua/x.lua", LINES_MAX + 5)]).len()
    };
    assert_eq!([LINES_MAX, LINES_MAX + 4, LINES_MAX + 5, LINES_MAX + 6].map(count), [1, 1, 0, 1]);
}

#[test]
fn a_long_line_fails() {
    let line = |length: usize| format!("\n{}\n", "é".repeat(length));
    for path in ["src/take/mod.rs", "src/take/lua/x.lua", "migrations/0001_x.sql", "Cargo.toml"] {
        fails("columns", path, &line(COLUMNS_MAX + 1), 2);
        passes("columns", path, &line(COLUMNS_MAX));
    }
}

#[test]
fn an_unused_allowance_fails() {
    let findings: Vec<String> = rules::stale(&[]).iter().map(ToString::to_string).collect();
    for gone in ["`explain` no longer imports", "no src/fetch/client: ", "no src/clock.rs: "] {
        assert!(findings.iter().any(|it| it.contains(gone)), "{gone}: {findings:#?}");
    }
}

#[test]
fn rust_is_tokenized_as_by_the_compiler() {
    let source = r###"let c = '"'; let l: &'a str = b"x\"y"; /* a /* b */ c */
        r#"raw "quoted" \"#; r#type '\'' '\u{1}' z // end"###;
    let (code, comments) = lex(source);
    let code: Vec<&str> = code.iter().map(|it| it.text.as_str()).collect();
    let read = "let c = ; let l : & str = x\\\"y ; raw|\"quoted\"|\\ ; type z";
    let read: Vec<String> = read.split(' ').map(|it| it.replace('|', " ")).collect();
    assert_eq!(code, read);
    assert_eq!(comments.len(), 2);
}

/// A repository with only these files.
struct Few(&'static [&'static str]);

impl docs::Tree for Few {
    fn has(&self, path: &str) -> bool {
        self.0.iter().any(|it| {
            *it == path.trim_end_matches('/') || it.starts_with(&format!("{}/", path.trim_end_matches('/')))
        })
    }
}

/// The findings in this text of `docs/decisions/0001-x.md`.
fn dead_references(text: &str) -> Vec<String> {
    let tree =
        Few(&["src/take/taker.rs", "src/take/lua/take.lua", "tests/it/take.rs", "scripts/test", "README.md"]);
    let files = [
        File::new("tests/it/take.rs", "async fn a_test() {}"),
        File::new("src/take/lua/take.lua", "return 1"),
    ];
    let found = docs::dead_pointers("docs/decisions/0001-x.md", text, &files, &tree);
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn a_document_with_dead_references_fails() {
    for line in [
        "`tests/it/take.rs::another_test`",
        "`tests/it/gone.rs`",
        "`take/gone.rs` is read",
        "`src/take/gone/`",
        "`gone.lua`",
        "[index](../../GONE.md)",
        "```sh\nscripts/gone  # measures\n```",
    ] {
        assert_eq!(dead_references(line).len(), 1, "{line}: {:?}", dead_references(line));
    }
    assert!(dead_references("\n`gone.rs`")[0].starts_with("docs/decisions/0001-x.md:2: pointer: "));
}

#[test]
fn a_document_with_valid_references_passes() {
    for line in [
        "`tests/it/take.rs::a_test`, `take/taker.rs`, `take/`, `take.lua`, `src/take/lua`",
        "[index](../../README.md#use), [elsewhere](https://example.com/gone.rs)",
        "`GET /v1/devices`, `/v1/devices`, `application/json`, `<name>/cases.toml`, `App::detached`, `{p}:due`",
        "```sh\nscripts/test quick\npaceline serve\n```",
    ] {
        assert_eq!(dead_references(line), [""; 0], "{line}");
    }
}

//! The rules: each gets files and returns findings.

use crate::lex::{Kind, Token, lex};
use crate::lua;
use crate::rooms;
use crate::source::{File, reachable};
use crate::{ALLOWED, BANS, COLUMNS_MAX, EMPTY_NAMES, HOMES, ISOLATED, LEVELS, LINES_MAX, LONG, ORDER};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    path: String,
    line: usize,
    pub rule: &'static str,
    instead: String,
}

impl Finding {
    pub fn at(path: &str, line: usize, rule: &'static str, instead: String) -> Self {
        Self { path: path.to_owned(), line, rule, instead }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.instead)
    }
}

pub fn finding(file: &File, line: usize, rule: &'static str, instead: String) -> Finding {
    Finding::at(&file.path, line, rule, instead)
}

pub fn all(files: &[File]) -> Vec<Finding> {
    let each: [fn(&File) -> Vec<Finding>; 7] = [direction, homes, bans, marks, names, columns, lua_header];
    let mut findings: Vec<Finding> =
        files.iter().flat_map(|file| each.map(|rule| rule(file))).flatten().collect();
    findings.extend(
        [dead(files), lua_callers(files), lua::all(files), length(files, LONG), rooms::all(files)]
            .into_iter()
            .flatten(),
    );
    findings
}

/// Imports run one way, from upper rooms to lower ones.
fn direction(file: &File) -> Vec<Finding> {
    imports(file)
        .into_iter()
        .filter_map(|(line, from, to)| {
            let instead = forbidden(&from, &to)?;
            Some(finding(file, line, "direction", format!("`{from}` may not import `{to}`: {instead}")))
        })
        .collect()
}

/// Line, importing room, imported room. `lib.rs` declares all rooms and is exempt.
fn imports(file: &File) -> BTreeSet<(usize, String, String)> {
    let Some(from) = file.room().filter(|it| *it != "lib") else { return BTreeSet::new() };
    let ours = |first: &str| matches!(first, "crate" | "paceline" | "self" | "super");
    file.paths()
        .into_iter()
        .filter(|path| ours(&path.written[0]) && path.full[0] == "crate")
        .filter_map(|path| Some((path.line, from.to_owned(), path.full.get(1)?.clone())))
        .filter(|(_, from, to)| from != to)
        .collect()
}

fn forbidden(from: &str, to: &str) -> Option<String> {
    let level = |room: &str| LEVELS.iter().position(|row| row.contains(&room));
    if let Some((_, why)) = ISOLATED.iter().find(|(room, _)| *room == from) {
        return Some(format!("it imports nothing from the crate, because {why}"));
    }
    match (level(from), level(to)) {
        (None, _) => Some(format!("add `{from}` to a row of LEVELS (tests/tidy.rs)")),
        (_, None) => Some(format!("add `{to}` to a row of LEVELS (tests/tidy.rs)")),
        (Some(above), Some(below)) if above < below => None,
        (Some(row), Some(same)) if row == same => {
            let allowed = ALLOWED.iter().any(|(importer, imported, _)| (*importer, *imported) == (from, to));
            (!allowed).then(|| "they are in the same row; compose them in a room above".to_owned())
        }
        _ => Some(format!("`{to}` is above; move the code needed down, or pass it as an argument")),
    }
}

/// External crates are named only in the files of HOMES.
fn homes(file: &File) -> Vec<Finding> {
    if !file.path.starts_with("src/") {
        return Vec::new();
    }
    let mut seen = BTreeSet::new();
    for path in file.paths() {
        let name = &path.full[0];
        let matches = |known: &str| match known.strip_suffix('*') {
            Some(begin) => name.starts_with(begin),
            None => name == known,
        };
        // Only paths that begin with the crate's name: imported names were found at their import.
        let home = HOMES.iter().find(|(known, _)| *name == path.written[0] && matches(known));
        seen.extend(home.filter(|(_, places)| !file.is_in(places)).map(|home| (path.line, home)));
    }
    seen.into_iter()
        .map(|(line, (name, places))| {
            let instead = format!("`{name}` may be named in {} only; call one of them", places.join(", "));
            finding(file, line, "home", instead)
        })
        .collect()
}

/// Banned code.
fn bans(file: &File) -> Vec<Finding> {
    let mut out = Vec::new();
    let paths = file.paths();
    for ban in BANS.iter().filter(|ban| !file.is_in(ban.except_in)) {
        let applies = |test: bool| ban.everywhere || !(test || file.test);
        let (pattern, _) = lex(ban.what);
        let words: Vec<&str> = pattern.iter().map(|it| it.text.as_str()).filter(|it| *it != "::").collect();
        let mut report =
            |line: usize| out.push(finding(file, line, "ban", format!("`{}`: {}", ban.what, ban.instead)));
        if pattern.iter().any(|it| it.is("::")) {
            paths.iter().filter(|it| applies(it.test) && it.full == words).for_each(|it| report(it.line));
        } else {
            let hits = file.code.windows(pattern.len());
            hits.filter(|at| applies(at[0].test) && at.iter().zip(&pattern).all(|(a, b)| a.is(&b.text)))
                .for_each(|at| report(at[0].line));
        }
    }
    out
}

/// Markers for later work belong in the issue tracker.
fn marks(file: &File) -> Vec<Finding> {
    // In two halves, so that the rule does not find itself.
    let mark = concat!("FIX", "ME");
    let report = |line| finding(file, line, "mark", format!("`{mark}`: do it now, or open an issue"));
    if file.path.ends_with(".rs") {
        let marked = |token: &&Token| token.text.contains(mark);
        return file.comments.iter().filter(marked).map(|it| report(it.line)).collect();
    }
    lines(file).filter(|(_, line)| line.contains(mark)).map(|(at, _)| report(at)).collect()
}

/// File names describe the content.
fn names(file: &File) -> Vec<Finding> {
    let empty = |part: &str| EMPTY_NAMES.contains(&part.trim_end_matches(".rs"));
    if !file.path.ends_with(".rs") || !file.path.split('/').any(empty) {
        return Vec::new();
    }
    vec![finding(
        file,
        1,
        "name",
        "name it after its content, or move each part to where it is used".to_owned(),
    )]
}

fn columns(file: &File) -> Vec<Finding> {
    let long = lines(file).filter(|(_, line)| line.chars().count() > COLUMNS_MAX);
    long.map(|(at, _)| {
        finding(file, at, "columns", format!("break the line: at most {COLUMNS_MAX} characters"))
    })
    .collect()
}

/// A Lua script documents its contract at the top: KEYS, ARGV, Returns.
fn lua_header(file: &File) -> Vec<Finding> {
    if !file.path.ends_with(".lua") || lua::is_module(file) {
        return Vec::new();
    }
    let header = lines(file).take_while(|(_, line)| line.starts_with("--"));
    let header: Vec<&str> = header.map(|(_, line)| line.trim_start_matches("--").trim_start()).collect();
    let mut code = lines(file).map(|(_, line)| line.split("--").next().unwrap_or(line));
    let mut needed = vec!["KEYS", "Returns"];
    if code.any(|line| line.contains("ARGV")) {
        needed.push("ARGV");
    }
    needed
        .into_iter()
        .filter(|word| !header.iter().any(|line| line.starts_with(word)))
        .map(|word| finding(file, 1, "contract", format!("document `-- {word}` in the header comment")))
        .collect()
}

/// A Lua script is included by exactly one Rust file.
fn lua_callers(files: &[File]) -> Vec<Finding> {
    let mut callers: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for file in files {
        for at in file.code.windows(4) {
            if at[0].is("include_str") && at[3].kind == Kind::Text {
                callers.entry(resolve(&file.path, &at[3].text)).or_default().insert(&file.path);
            }
        }
    }
    let scripts = files.iter().filter(|it| it.path.ends_with(".lua"));
    scripts
        .filter_map(|script| {
            let callers: Vec<&str> = callers.get(&script.path).into_iter().flatten().copied().collect();
            let instead = match callers.len() {
                0 => "no Rust file includes it: delete it, or include it".to_owned(),
                1 => return None,
                _ => format!("only one Rust file may include it, not {}", callers.join(" and ")),
            };
            Some(finding(script, 1, "caller", instead))
        })
        .collect()
}

/// Resolves a relative path: `../c.lua` in `src/a/b.rs` is `src/c.lua`.
pub fn resolve(path: &str, relative: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in relative.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Every file of `src` is part of the crate.
fn dead(files: &[File]) -> Vec<Finding> {
    let alive = reachable(files, true);
    let rust = files.iter().filter(|it| it.path.starts_with("src/") && it.path.ends_with(".rs"));
    rust.filter(|it| !alive.contains(&it.path))
        .map(|it| finding(it, 1, "dead", "no `mod` declares it: declare it, or delete it".to_owned()))
        .collect()
}

/// Files are not too long; those in `long` only shrink.
pub fn length(files: &[File], long: &[(&str, usize)]) -> Vec<Finding> {
    files
        .iter()
        .filter(|it| it.path.starts_with("src/"))
        .filter_map(|file| {
            let length = lines(file).count();
            let instead = match long.iter().find(|(path, _)| *path == file.path) {
                None if length > LINES_MAX => format!("{length} lines: split it; at most {LINES_MAX}"),
                Some((_, _)) if length <= LINES_MAX => "short enough now: remove it from LONG".to_owned(),
                Some((_, was)) if length < *was => format!("it shrank: set {length} in LONG"),
                Some((_, was)) if length > *was => {
                    format!("{length} lines: it had {was}, and may only shrink")
                }
                _ => return None,
            };
            Some(finding(file, length, "length", instead))
        })
        .collect()
}

/// Entries of the tables that nothing uses any more.
pub fn stale(files: &[File]) -> Vec<Finding> {
    let report = |entry: &str| Finding {
        path: "tests/tidy.rs".to_owned(),
        line: 1,
        rule: "stale",
        instead: format!("{entry}: remove the entry"),
    };
    let existing: BTreeSet<(String, String)> =
        files.iter().flat_map(imports).map(|(_, from, to)| (from, to)).collect();
    let unused =
        ALLOWED.iter().filter(|(from, to, _)| !existing.contains(&((*from).to_owned(), (*to).to_owned())));
    let unused = unused.map(|(from, to, _)| report(&format!("`{from}` no longer imports `{to}`")));
    let exists = |path: &str| files.iter().any(|it| it.is_in(&[path]));
    let homes = HOMES.iter().flat_map(|(_, places)| *places).chain(BANS.iter().flat_map(|ban| ban.except_in));
    let paths = LONG.iter().map(|(path, _)| path).chain(homes);
    let mut gone: BTreeSet<String> =
        paths.filter(|path| !exists(path)).map(|path| (*path).to_owned()).collect();
    for (room, rows) in ORDER {
        let parts = rows.iter().copied().flatten().map(|part| format!("{room}/{part}"));
        gone.extend(parts.filter(|part| !exists(&format!("{part}.rs")) && !exists(&format!("{part}/"))));
    }
    unused.chain(gone.iter().map(|path| report(&format!("there is no {path}")))).collect()
}

pub fn median(files: &[File]) -> usize {
    let mut lengths: Vec<usize> =
        files.iter().filter(|it| it.path.starts_with("src/")).map(|it| lines(it).count()).collect();
    lengths.sort_unstable();
    lengths.get(lengths.len() / 2).copied().unwrap_or_default()
}

fn lines(file: &File) -> impl Iterator<Item = (usize, &str)> {
    file.text.lines().enumerate().map(|(at, line)| (at + 1, line))
}

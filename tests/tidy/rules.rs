//! Each rule: files in, findings out.

use crate::lex::{Kind, Token, lex};
use crate::source::{File, reachable};
use crate::{ALLOWED, ALONE, BANS, COLUMNS_MAX, EMPTY_NAMES, HOMES, LEVELS, LINES_MAX, LONG, PRELUDES};
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

fn found(file: &File, line: usize, rule: &'static str, instead: String) -> Finding {
    Finding::at(&file.path, line, rule, instead)
}

pub fn all(files: &[File]) -> Vec<Finding> {
    let each: [fn(&File) -> Vec<Finding>; 7] = [direction, homes, bans, marks, names, columns, lua_header];
    let mut found: Vec<Finding> =
        files.iter().flat_map(|file| each.map(|rule| rule(file))).flatten().collect();
    found.extend([dead(files), lua_callers(files), length(files, LONG)].into_iter().flatten());
    found
}

/// Imports run one way.
fn direction(file: &File) -> Vec<Finding> {
    imports(file)
        .into_iter()
        .filter_map(|(line, from, to)| {
            let instead = forbidden(&from, &to)?;
            Some(found(file, line, "direction", format!("`{from}` may not import `{to}`: {instead}")))
        })
        .collect()
}

/// Line, who imports, whom. The map in `lib.rs` names everybody, and imports nobody.
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
    if let Some((_, why)) = ALONE.iter().find(|(room, _)| *room == from) {
        return Some(format!("it imports nothing of the crate, for {why}"));
    }
    match (level(from), level(to)) {
        (None, _) => Some(format!("give `{from}` its row in LEVELS (tests/tidy.rs) first")),
        (_, None) => Some(format!("give `{to}` its row in LEVELS (tests/tidy.rs) first")),
        (Some(above), Some(below)) if above < below => None,
        (Some(row), Some(same)) if row == same => {
            let allowed = ALLOWED.iter().any(|(who, whom, _)| (*who, *whom) == (from, to));
            (!allowed).then(|| "they stand side by side; let a room above compose them".to_owned())
        }
        _ => Some(format!("`{to}` is above; move what is needed down, or let it be handed in")),
    }
}

/// An outside crate is named only where it is at home.
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
        // Under its own name only: what was imported was found at the import.
        let home = HOMES.iter().find(|(known, _)| *name == path.written[0] && matches(known));
        seen.extend(home.filter(|(_, places)| !file.is_in(places)).map(|home| (path.line, home)));
    }
    seen.into_iter()
        .map(|(line, (name, places))| {
            let instead = format!("`{name}` is named in {} only; ask one of them", places.join(", "));
            found(file, line, "home", instead)
        })
        .collect()
}

/// What is not written.
fn bans(file: &File) -> Vec<Finding> {
    let mut out = Vec::new();
    let paths = file.paths();
    for ban in BANS.iter().filter(|ban| !file.is_in(ban.except_in)) {
        let applies = |test: bool| ban.everywhere || !(test || file.test);
        let (pattern, _) = lex(ban.what);
        let words: Vec<&str> = pattern.iter().map(|it| it.text.as_str()).filter(|it| *it != "::").collect();
        let mut say =
            |line: usize| out.push(found(file, line, "ban", format!("`{}`: {}", ban.what, ban.instead)));
        if pattern.iter().any(|it| it.is("::")) {
            paths.iter().filter(|it| applies(it.test) && it.full == words).for_each(|it| say(it.line));
        } else {
            let hits = file.code.windows(pattern.len());
            hits.filter(|at| applies(at[0].test) && at.iter().zip(&pattern).all(|(a, b)| a.is(&b.text)))
                .for_each(|at| say(at[0].line));
        }
    }
    out
}

/// Notes to self belong to the tracker.
fn marks(file: &File) -> Vec<Finding> {
    // In two halves, so that the rule does not find itself.
    let mark = concat!("FIX", "ME");
    let say = |line| found(file, line, "mark", format!("`{mark}`: do it now, or write an issue"));
    if file.path.ends_with(".rs") {
        let marked = |token: &&Token| token.text.contains(mark);
        return file.comments.iter().filter(marked).map(|it| say(it.line)).collect();
    }
    lines(file).filter(|(_, line)| line.contains(mark)).map(|(at, _)| say(at)).collect()
}

/// A file is named after what is in it.
fn names(file: &File) -> Vec<Finding> {
    let empty = |part: &str| EMPTY_NAMES.contains(&part.trim_end_matches(".rs"));
    if !file.path.ends_with(".rs") || !file.path.split('/').any(empty) {
        return Vec::new();
    }
    vec![found(
        file,
        1,
        "name",
        "name it after what it does, or move each part to where it is used".to_owned(),
    )]
}

fn columns(file: &File) -> Vec<Finding> {
    let long = lines(file).filter(|(_, line)| line.chars().count() > COLUMNS_MAX);
    long.map(|(at, _)| found(file, at, "columns", format!("break it: at most {COLUMNS_MAX} characters")))
        .collect()
}

/// A script is a contract, and says so at its top.
fn lua_header(file: &File) -> Vec<Finding> {
    if !file.path.ends_with(".lua") || PRELUDES.contains(&file.path.as_str()) {
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
        .map(|word| found(file, 1, "contract", format!("say `-- {word}` in the comment it begins with")))
        .collect()
}

/// A script has one caller.
fn lua_callers(files: &[File]) -> Vec<Finding> {
    let mut callers: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for file in files {
        for at in file.code.windows(4) {
            if at[0].is("include_str") && at[3].kind == Kind::Text {
                callers.entry(beside(&file.path, &at[3].text)).or_default().insert(&file.path);
            }
        }
    }
    let scripts = files.iter().filter(|it| it.path.ends_with(".lua"));
    scripts
        .filter_map(|script| {
            let callers: Vec<&str> = callers.get(&script.path).into_iter().flatten().copied().collect();
            let instead = match callers.len() {
                0 => "nobody includes it: delete it, or call it".to_owned(),
                1 => return None,
                _ => format!("one Rust file includes a script, not {}", callers.join(" and ")),
            };
            Some(found(script, 1, "caller", instead))
        })
        .collect()
}

/// `src/a/b.rs` and `../c.lua` make `src/c.lua`.
pub fn beside(path: &str, relative: &str) -> String {
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

/// Every file is part of the crate.
fn dead(files: &[File]) -> Vec<Finding> {
    let alive = reachable(files, true);
    let rust = files.iter().filter(|it| it.path.starts_with("src/") && it.path.ends_with(".rs"));
    rust.filter(|it| !alive.contains(&it.path))
        .map(|it| found(it, 1, "dead", "no `mod` leads here: declare it, or delete it".to_owned()))
        .collect()
}

/// The long ones only shrink.
pub fn length(files: &[File], long: &[(&str, usize)]) -> Vec<Finding> {
    files
        .iter()
        .filter(|it| it.path.starts_with("src/"))
        .filter_map(|file| {
            let has = lines(file).count();
            let instead = match long.iter().find(|(path, _)| *path == file.path) {
                None if has > LINES_MAX => format!("{has} lines: split it; at most {LINES_MAX}"),
                Some((_, _)) if has <= LINES_MAX => "short enough now: take it out of LONG".to_owned(),
                Some((_, was)) if has < *was => format!("it shrank: write {has} into LONG"),
                Some((_, was)) if has > *was => format!("{has} lines: it had {was}, and may only shrink"),
                _ => return None,
            };
            Some(found(file, has, "length", instead))
        })
        .collect()
}

/// What the tables allow and nobody does.
pub fn stale(files: &[File]) -> Vec<Finding> {
    let here = |line: &str| Finding {
        path: "tests/tidy.rs".to_owned(),
        line: 1,
        rule: "stale",
        instead: format!("{line}: take it out"),
    };
    let there: BTreeSet<(String, String)> =
        files.iter().flat_map(imports).map(|(_, from, to)| (from, to)).collect();
    let unused =
        ALLOWED.iter().filter(|(from, to, _)| !there.contains(&((*from).to_owned(), (*to).to_owned())));
    let unused = unused.map(|(from, to, _)| here(&format!("`{from}` no longer imports `{to}`")));
    let exists = |path: &str| files.iter().any(|it| it.path == path);
    let gone =
        LONG.iter().map(|(path, _)| *path).chain(PRELUDES.iter().copied()).filter(|path| !exists(path));
    unused.chain(gone.map(|path| here(&format!("there is no {path}")))).collect()
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

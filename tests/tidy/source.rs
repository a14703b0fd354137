//! The source as the rules read it: files, and the paths in their Rust code.

use crate::lex::{Kind, Token, annotate, lex};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path as FsPath;

/// Directories and files to check. Generated, downloaded and recorded files are excluded.
const PLACES: &[&str] = &["src", "tests", "benches", "migrations", "config", "build.rs"];
const ENDINGS: &[&str] = &["rs", "lua", "sql", "toml"];

pub struct File {
    /// Relative to the repository's root, with `/`.
    pub path: String,
    pub text: String,
    /// Rust tokens without comments; empty for other files.
    pub code: Vec<Token>,
    pub comments: Vec<Token>,
    /// Compiled for tests only.
    pub test: bool,
}

/// A path in the code, or a leaf of a `use`.
pub struct Path {
    pub line: usize,
    pub written: Vec<String>,
    /// The absolute path: imports, `self` and `super` are resolved, and paths of this crate begin with `crate`.
    pub full: Vec<String>,
    pub test: bool,
}

/// By scope and local name: the full path.
type Names = BTreeMap<(Vec<String>, String), Vec<String>>;

impl File {
    pub fn new(path: &str, text: &str) -> Self {
        let (mut code, comments) = if path.ends_with(".rs") { lex(text) } else { Default::default() };
        annotate(&mut code, module(path));
        let test = !path.starts_with("src/");
        Self { path: path.to_owned(), text: text.to_owned(), code, comments, test }
    }

    /// The top-level module, or `main`.
    pub fn room(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        Some(inside.split('/').next()?.trim_end_matches(".rs"))
    }

    /// Whether the file is one of these, or in one of the directories (which end in `/`).
    pub fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|it| self.path == *it || (it.ends_with('/') && self.path.starts_with(it)))
    }

    pub fn paths(&self) -> Vec<Path> {
        self.read().0
    }

    /// What the file imports at its top level, by local name: paths through this module may continue with these names.
    pub fn imported(&self) -> BTreeMap<String, Vec<String>> {
        let home = module(&self.path);
        self.read()
            .1
            .into_iter()
            .filter(|((scope, _), _)| *scope == home)
            .map(|((_, name), full)| (name, full))
            .collect()
    }

    /// All paths, and all imported names.
    fn read(&self) -> (Vec<Path>, Names) {
        let home = module(&self.path).len();
        let mut names = BTreeMap::new();
        for at in self.code.windows(2).filter(|at| at[0].is("mod") && at[1].kind == Kind::Word) {
            let full = [&["crate".to_owned()], &*at[0].scope, &[at[1].text.clone()]].concat();
            names.insert((at[0].scope.to_vec(), at[1].text.clone()), full);
        }
        let mut uses = Vec::new();
        let mut rest = Vec::new();
        let mut at = 0;
        while let Some(token) = self.code.get(at) {
            if token.is("use") && !self.code.get(at + 1).is_some_and(|next| next.is("<")) {
                at += 1;
                tree(&self.code, &mut at, &[], &mut uses);
            } else {
                rest.extend(path_at(&self.code, at).map(|written| (token, written)));
                at += 1;
            }
        }
        let mut paths = Vec::new();
        let mut imported = BTreeMap::new();
        for Leaf { token, written, name } in uses {
            let full = resolve(&written, &token.scope, home, &names);
            imported.extend(name.map(|name| ((token.scope.to_vec(), name), full.clone())));
            paths.push(Path { line: token.line, written, full, test: token.test });
        }
        names.extend(imported.clone());
        for (token, written) in rest {
            let full = resolve(&written, &token.scope, home, &names);
            paths.push(Path { line: token.line, written, full, test: token.test });
        }
        (paths, imported)
    }

    /// Possible paths of each `mod x;` in this file, and whether it is compiled for tests only.
    fn children(&self) -> Vec<([String; 2], bool)> {
        let (folder, stem) = self.path.trim_end_matches(".rs").rsplit_once('/').unwrap_or(("", &self.path));
        let here = match stem {
            "mod" | "main" | "lib" => folder.to_owned(),
            _ => format!("{folder}/{stem}"),
        };
        let home = module(&self.path).len();
        let declared = self.code.windows(3).filter(|at| at[0].is("mod") && at[2].is(";"));
        declared
            .map(|at| {
                let inline: String = at[0].scope[home..].iter().map(|it| format!("/{it}")).collect();
                let child = format!("{here}{inline}/{}", at[1].text);
                ([format!("{child}.rs"), format!("{child}/mod.rs")], at[0].test)
            })
            .collect()
    }
}

/// All files to check.
pub fn files() -> Vec<File> {
    let root = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let root = FsPath::new(&root);
    let mut paths = Vec::new();
    for place in PLACES {
        walk(&root.join(place), &mut paths);
    }
    // Settings of tools, including dotfiles.
    paths.extend(list(root).into_iter().filter(|it| it.is_file() && has_ending(it, &["toml"])));
    let mut files: Vec<File> = paths
        .iter()
        .map(|path| {
            let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let name = path.strip_prefix(root).expect("it is below the root");
            File::new(&name.to_string_lossy().replace('\\', "/"), &text)
        })
        .collect();
    let (all, code) = (reachable(&files, true), reachable(&files, false));
    for file in &mut files {
        file.test |= all.contains(&file.path) && !code.contains(&file.path);
    }
    files
}

/// The files that the compiler reads, starting at the roots of `src`.
pub fn reachable(files: &[File], tests_too: bool) -> BTreeSet<String> {
    let by_path: BTreeMap<&str, &File> = files.iter().map(|it| (it.path.as_str(), it)).collect();
    let mut todo = vec!["src/main.rs".to_owned(), "src/lib.rs".to_owned()];
    let mut seen = BTreeSet::new();
    while let Some(path) = todo.pop() {
        let Some(file) = by_path.get(path.as_str()) else { continue };
        if seen.insert(path) {
            let children = file.children().into_iter().filter(|(_, test)| tests_too || !test);
            todo.extend(children.flat_map(|(candidates, _)| candidates));
        }
    }
    seen
}

fn walk(path: &FsPath, into: &mut Vec<std::path::PathBuf>) {
    if path.is_dir() {
        list(path).iter().for_each(|it| walk(it, into));
    } else if path.is_file() && has_ending(path, ENDINGS) {
        into.push(path.to_owned());
    }
}

fn list(folder: &FsPath) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<_> = entries.map(|it| it.expect("a readable directory").path()).collect();
    paths.sort();
    paths
}

fn has_ending(path: &FsPath, endings: &[&str]) -> bool {
    path.extension().is_some_and(|it| endings.iter().any(|ending| it == *ending))
}

/// `src/take/taker.rs` is `take::taker`.
pub fn module(path: &str) -> Vec<String> {
    let Some(inside) = path.strip_prefix("src/") else { return Vec::new() };
    let mut parts: Vec<String> = inside.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    parts.pop_if(|last| matches!(last.as_str(), "mod" | "main" | "lib"));
    parts
}

/// One import of a `use`.
struct Leaf<'a> {
    token: &'a Token,
    written: Vec<String>,
    /// The name it introduces; `None` for `*`.
    name: Option<String>,
}

fn tree<'a>(code: &'a [Token], at: &mut usize, prefix: &[String], into: &mut Vec<Leaf<'a>>) {
    let is = |at: usize, text: &str| code.get(at).is_some_and(|it| it.is(text));
    let mut written = prefix.to_vec();
    while let Some(token) = code.get(*at) {
        *at += 1;
        if token.is("{") {
            while *at < code.len() && !is(*at, "}") {
                tree(code, at, &written, into);
                *at += usize::from(is(*at, ","));
            }
            *at += 1;
            return;
        } else if token.is("*") {
            into.push(Leaf { token, written, name: None });
            return;
        } else if token.kind == Kind::Word {
            written.push(token.text.clone());
            if is(*at, "::") {
                continue;
            }
            written.pop_if(|last| last == "self" && !prefix.is_empty());
            let mut name = written.last().cloned();
            if is(*at, "as") {
                name = code.get(*at + 1).map(|it| it.text.clone());
                *at += 2;
            }
            into.push(Leaf { token, written, name });
            return;
        } else if !token.is("::") {
            return;
        }
    }
}

/// The path that begins here, if it has at least two segments.
fn path_at(code: &[Token], at: usize) -> Option<Vec<String>> {
    let before = |back: usize| at.checked_sub(back).map(|at| &code[at]);
    let global = !before(2).is_some_and(|it| it.kind == Kind::Word || it.is(">"));
    if code[at].kind != Kind::Word || (before(1).is_some_and(|it| it.is("::")) && !global) {
        return None;
    }
    let mut written = vec![code[at].text.clone()];
    for pair in code[at + 1..].chunks(2) {
        match pair {
            [colons, word] if colons.is("::") && word.kind == Kind::Word => written.push(word.text.clone()),
            _ => break,
        }
    }
    (written.len() > 1).then_some(written)
}

/// Resolves a path in a scope with the names known there. `home` is the depth of the file's own module.
fn resolve(written: &[String], scope: &[String], home: usize, names: &Names) -> Vec<String> {
    let ours = |inside: &[String], rest: &[String]| [&["crate".to_owned()], inside, rest].concat();
    match written[0].as_str() {
        "crate" | "paceline" => ours(&[], &written[1..]),
        "self" | "super" => {
            let steps = written.iter().take_while(|it| matches!(it.as_str(), "self" | "super")).count();
            let up = written[..steps].iter().filter(|it| *it == "super").count();
            ours(&scope[..scope.len().saturating_sub(up)], &written[steps..])
        }
        // Inner modules do not see outer names, except in tests, which begin with `use super::*`.
        name => (home.min(scope.len())..=scope.len())
            .rev()
            .find_map(|depth| names.get(&(scope[..depth].to_vec(), name.to_owned())))
            .map_or_else(|| written.to_vec(), |full| [full, &written[1..]].concat()),
    }
}

//! The source as the rules see it: files, and Rust as words and marks with comments and texts set apart.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path as FsPath;
use std::rc::Rc;

/// Where rules look. What is generated, fetched or recorded is not anybody's writing.
const PLACES: &[&str] = &["src", "tests", "benches", "migrations", "config", "build.rs"];
const ENDINGS: &[&str] = &["rs", "lua", "sql", "toml"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A name, a keyword or a number.
    Word,
    /// `::`, or one character.
    Mark,
    /// The inside of a string.
    Text,
    Comment,
}

#[derive(Debug, Clone)]
pub struct Token {
    pub kind: Kind,
    pub text: String,
    pub line: usize,
    /// Under `#[cfg(test)]`.
    pub test: bool,
    /// The module it is in, inline ones included.
    scope: Rc<[String]>,
}

impl Token {
    fn new(kind: Kind, text: String, line: usize) -> Self {
        Self { kind, text, line, test: false, scope: Rc::from([]) }
    }

    /// Whether it is this word or mark.
    pub fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Mark) && self.text == text
    }
}

pub struct File {
    /// From the root of the repository, with `/`.
    pub path: String,
    pub text: String,
    /// Rust only, comments left out.
    pub code: Vec<Token>,
    pub comments: Vec<Token>,
    /// Only tests have it.
    pub test: bool,
}

/// A path somewhere in the code, or a leaf of a `use`.
pub struct Path {
    pub line: usize,
    pub written: Vec<String>,
    /// As seen from outside: names that were imported are replaced, `self` and `super` resolved; ours is `crate`.
    pub full: Vec<String>,
    pub test: bool,
}

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

    /// Whether it is one of these; those that end in `/` are directories.
    pub fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|it| self.path == *it || (it.ends_with('/') && self.path.starts_with(it)))
    }

    pub fn paths(&self) -> Vec<Path> {
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
        names.extend(imported);
        for (token, written) in rest {
            let full = resolve(&written, &token.scope, home, &names);
            paths.push(Path { line: token.line, written, full, test: token.test });
        }
        paths
    }

    /// Where each `mod x;` of this file may lie, and whether only tests have it.
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

/// Everything the rules look at.
pub fn files() -> Vec<File> {
    let root = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let root = FsPath::new(&root);
    let mut paths = Vec::new();
    for place in PLACES {
        walk(&root.join(place), &mut paths);
    }
    // The settings of the tools, dotfiles among them.
    paths.extend(list(root).into_iter().filter(|it| it.is_file() && has_ending(it, &["toml"])));
    let mut files: Vec<File> = paths
        .iter()
        .map(|path| {
            let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let name = path.strip_prefix(root).expect("it was found there");
            File::new(&name.to_string_lossy().replace('\\', "/"), &text)
        })
        .collect();
    let (all, code) = (reachable(&files, true), reachable(&files, false));
    for file in &mut files {
        file.test |= all.contains(&file.path) && !code.contains(&file.path);
    }
    files
}

/// The files that the compiler comes across on its way from the roots of `src`.
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
fn module(path: &str) -> Vec<String> {
    let Some(inside) = path.strip_prefix("src/") else { return Vec::new() };
    let mut parts: Vec<String> = inside.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    parts.pop_if(|last| matches!(last.as_str(), "mod" | "main" | "lib"));
    parts
}

/// Code and comments.
pub fn lex(text: &str) -> (Vec<Token>, Vec<Token>) {
    let chars: Vec<char> = text.chars().collect();
    let (mut code, mut comments) = (Vec::new(), Vec::new());
    let (mut at, mut line) = (0, 1);
    let begins = |at: usize, with: &str| with.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c));
    while at < chars.len() {
        let from = at;
        let kind;
        // What is kept of the token.
        let mut inside = None;
        if begins(at, "//") {
            at += chars[at..].iter().take_while(|c| **c != '\n').count();
            kind = Some(Kind::Comment);
        } else if begins(at, "/*") {
            let mut depth = 0;
            loop {
                let (step, change) = match () {
                    () if begins(at, "/*") => (2, 1),
                    () if begins(at, "*/") => (2, -1),
                    () => (1, 0),
                };
                (at, depth) = (at + step, depth + change);
                if depth == 0 || at >= chars.len() {
                    break;
                }
            }
            kind = Some(Kind::Comment);
        } else if let Some((open, hashes, raw)) = text_opens(&chars[at..]) {
            at += open;
            let start = at;
            let close = format!("\"{}", "#".repeat(hashes));
            while at < chars.len() && !begins(at, &close) {
                at += if chars[at] == '\\' && !raw { 2 } else { 1 };
            }
            inside = Some(start..at.min(chars.len()));
            at += close.len();
            kind = Some(Kind::Text);
        } else if chars[at] == '\'' {
            // A character, or a lifetime; nobody asks for either.
            at += match (chars.get(at + 1), chars.get(at + 2)) {
                (Some('\\'), _) => 3 + chars[at + 3..].iter().take_while(|c| **c != '\'').count() + 1,
                (_, Some('\'')) => 3,
                _ => 1 + word_length(&chars[at + 1..]),
            };
            kind = None;
        } else if begins(at, "r#") {
            at += 2 + word_length(&chars[at + 2..]);
            inside = Some(from + 2..at);
            kind = Some(Kind::Word);
        } else if word_length(&chars[at..]) > 0 {
            at += word_length(&chars[at..]);
            kind = Some(Kind::Word);
        } else {
            at += if begins(at, "::") { 2 } else { 1 };
            kind = (!chars[from].is_whitespace()).then_some(Kind::Mark);
        }
        at = at.min(chars.len());
        if let Some(kind) = kind {
            let text = chars[inside.unwrap_or(from..at)].iter().collect();
            let into = if kind == Kind::Comment { &mut comments } else { &mut code };
            into.push(Token::new(kind, text, line));
        }
        line += chars[from..at].iter().filter(|c| **c == '\n').count();
    }
    (code, comments)
}

/// Whether a string begins: how long its opening is, how many `#` close it, whether `\` is just a character.
fn text_opens(chars: &[char]) -> Option<(usize, usize, bool)> {
    let prefix = chars.iter().take_while(|c| matches!(c, 'b' | 'c' | 'r')).count();
    let hashes = chars[prefix..].iter().take_while(|c| **c == '#').count();
    let raw = prefix > 0 && chars[prefix - 1] == 'r';
    let opens = prefix <= 2 && (raw || hashes == 0) && chars.get(prefix + hashes) == Some(&'"');
    opens.then_some((prefix + hashes + 1, hashes, raw))
}

fn word_length(chars: &[char]) -> usize {
    chars.iter().take_while(|c| c.is_alphanumeric() || **c == '_').count()
}

/// Says of each token in which module it is, and whether only tests have it.
fn annotate(code: &mut [Token], home: Vec<String>) {
    let mut scopes: Vec<(usize, Rc<[String]>)> = vec![(0, home.into())];
    let (mut depth, mut test_until) = (0_usize, 0);
    for at in 0..code.len() {
        if tests_only(&code[at..]) {
            test_until = test_until.max(item_end(code, at));
        }
        code[at].test = at < test_until;
        code[at].scope = scopes[scopes.len() - 1].1.clone();
        if code[at].is("{") {
            depth += 1;
            if at >= 2 && code[at - 2].is("mod") && code[at - 1].kind == Kind::Word {
                let name = code[at - 1].text.clone();
                let inner = code[at].scope.iter().cloned().chain([name]).collect();
                scopes.push((depth, inner));
            }
        } else if code[at].is("}") {
            if scopes.len() > 1 && scopes[scopes.len() - 1].0 == depth {
                scopes.pop();
            }
            depth = depth.saturating_sub(1);
        }
    }
}

/// Whether `#[cfg(test)]` or its like begins here.
fn tests_only(code: &[Token]) -> bool {
    let begins = ["#", "[", "cfg"].iter().zip(code).filter(|(text, token)| token.is(text)).count() == 3;
    let inside = || &code[..after_brackets(code, 1)];
    begins && inside().iter().any(|it| it.is("test")) && !inside().iter().any(|it| it.is("not"))
}

/// The index after the item whose attributes begin here.
fn item_end(code: &[Token], mut at: usize) -> usize {
    while code[at..].len() > 1 && code[at].is("#") && code[at + 1].is("[") {
        at = after_brackets(code, at + 1);
    }
    while let Some(token) = code.get(at) {
        match token {
            it if it.is(";") => return at + 1,
            it if it.is("{") => return after_brackets(code, at),
            it if it.is("(") || it.is("[") => at = after_brackets(code, at),
            _ => at += 1,
        }
    }
    at
}

/// The index after the bracket that closes the one that is here.
fn after_brackets(code: &[Token], from: usize) -> usize {
    let mut depth = 0;
    for (at, token) in code.iter().enumerate().skip(from) {
        if ["(", "[", "{"].iter().any(|it| token.is(it)) {
            depth += 1;
        } else if [")", "]", "}"].iter().any(|it| token.is(it)) {
            depth -= 1;
            if depth == 0 {
                return at + 1;
            }
        }
    }
    code.len()
}

/// One thing that a `use` brings in.
struct Leaf<'a> {
    token: &'a Token,
    written: Vec<String>,
    /// What it is called from here on; `None` for `*`.
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

/// The path that begins here, if one does: two words at least.
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

/// What the path means in this scope, by the names known there. `home` is how deep the file itself lies.
fn resolve(
    written: &[String],
    scope: &[String],
    home: usize,
    names: &BTreeMap<(Vec<String>, String), Vec<String>>,
) -> Vec<String> {
    let ours = |inside: &[String], rest: &[String]| [&["crate".to_owned()], inside, rest].concat();
    match written[0].as_str() {
        "crate" | "paceline" => ours(&[], &written[1..]),
        "self" | "super" => {
            let steps = written.iter().take_while(|it| matches!(it.as_str(), "self" | "super")).count();
            let up = written[..steps].iter().filter(|it| *it == "super").count();
            ours(&scope[..scope.len().saturating_sub(up)], &written[steps..])
        }
        // An inner module does not see the names outside it, except that tests begin with `use super::*`.
        name => (home.min(scope.len())..=scope.len())
            .rev()
            .find_map(|depth| names.get(&(scope[..depth].to_vec(), name.to_owned())))
            .map_or_else(|| written.to_vec(), |full| [full, &written[1..]].concat()),
    }
}

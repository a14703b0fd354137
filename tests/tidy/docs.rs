//! Checks that files, functions and links named in documents exist, so that a rename cannot leave a dead reference.

use crate::rules::Finding;
use crate::source::File;
use std::path::{Path, PathBuf};

/// Documents, and directories of documents, to check.
const PLACES: &[&str] = &[
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "README.md",
    "docs/decisions",
    "config/providers/README.md",
    "fixtures/seeds/README.md",
];

/// A name with one of these extensions is taken for a file of this repository, in any directory.
const ENDINGS: &[&str] = &["rs", "lua"];

/// Whether a path from the root of the repository exists.
pub trait Tree {
    fn has(&self, path: &str) -> bool;
}

fn root() -> PathBuf {
    std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it").into()
}

/// The repository on disk.
pub struct Disk;

impl Tree for Disk {
    fn has(&self, path: &str) -> bool {
        root().join(path).exists()
    }
}

/// Path and text of every document.
pub fn documents() -> Vec<(String, String)> {
    let root = root();
    let mut paths = Vec::new();
    for place in PLACES {
        let path = root.join(place);
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap_or_else(|e| panic!("{place}: {e}"));
            paths.extend(entries.map(|it| it.expect("a readable directory").path()));
        } else {
            paths.push(path);
        }
    }
    let read =
        |path: &Path| std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let name =
        |path: &Path| path.strip_prefix(&root).expect("it is below the root").to_string_lossy().into_owned();
    paths.iter().map(|path| (name(path), read(path))).collect()
}

/// Names in a document that do not exist.
pub fn dead_pointers(document: &str, text: &str, files: &[File], tree: &impl Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut fenced = false;
    for (at, line) in text.lines().enumerate() {
        let mut report = |instead: String| findings.push(Finding::at(document, at + 1, "pointer", instead));
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            let scripts = line.split_whitespace().filter(|word| word.starts_with("scripts/"));
            scripts.filter(|path| !tree.has(path)).for_each(|path| report(format!("there is no `{path}`")));
        } else {
            let quoted = line.split('`').skip(1).step_by(2);
            quoted.filter_map(|name| wrong_name(name, files, tree)).for_each(&mut report);
            links(line).filter_map(|link| wrong_link(document, link, tree)).for_each(&mut report);
        }
    }
    findings
}

/// The error of a name in backquotes, if it is a path, a file or `<file>.rs::<function>` that does not exist.
fn wrong_name(name: &str, files: &[File], tree: &impl Tree) -> Option<String> {
    let (path, function) =
        name.split_once("::").map_or((name, None), |(path, function)| (path, Some(function)));
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    if path.starts_with('/') || !path.chars().all(plain) {
        return None;
    }
    let is_ours = path.rsplit_once('.').is_some_and(|(_, ending)| ENDINGS.contains(&ending));
    let missing =
        || Some(format!("there is no `{path}`: name the file that replaced it, or delete the sentence"));
    let Some((first, _)) = path.split_once('/') else {
        // A bare file name: its directory may be given elsewhere in the text.
        let exists = files.iter().any(|file| file.path == path || file.path.ends_with(&format!("/{path}")));
        return if is_ours && !exists { missing() } else { None };
    };
    let candidates = [path.to_owned(), format!("src/{path}")];
    let Some(full) = candidates.iter().find(|path| tree.has(path)) else {
        let begins_here = tree.has(first) || tree.has(&format!("src/{first}"));
        return if is_ours || begins_here { missing() } else { None };
    };
    let function = function?;
    let file = files.iter().find(|file| file.path == *full);
    let has = file.is_some_and(|file| file.code.windows(2).any(|at| at[0].is("fn") && at[1].is(function)));
    (!has).then(|| format!("`{path}` has no function `{function}`: name the one that replaced it"))
}

/// The targets of Markdown links.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

fn wrong_link(document: &str, link: &str, tree: &impl Tree) -> Option<String> {
    let path = link.split('#').next().filter(|path| !path.is_empty() && !path.contains("://"))?;
    (!tree.has(&crate::rules::resolve(document, path)))
        .then(|| format!("the target of the link does not exist: `{path}`"))
}

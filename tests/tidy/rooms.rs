//! Rules for the inside of rooms: no import cycles, the declared order of parts, and the number of files per folder.

use crate::rules::{Finding, finding};
use crate::source::{File, module};
use crate::{FILES_MAX, ORDER};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// One file imports another.
struct Import<'a> {
    from: &'a File,
    line: usize,
    to: &'a File,
}

/// By part of a room: the parts it imports, each with one of the imports.
type Graph<'a> = BTreeMap<&'a str, BTreeMap<&'a str, &'a Import<'a>>>;

pub fn all(files: &[File]) -> Vec<Finding> {
    let imports = imports(files);
    [cycles(&imports), order(files, &imports), size(files)].into_iter().flatten().collect()
}

/// Imports between the files of `src`. Those of tests are left out: tests are compiled after the code.
fn imports(files: &[File]) -> Vec<Import<'_>> {
    let sources = || files.iter().filter(|it| it.path.starts_with("src/") && it.path.ends_with(".rs"));
    let modules: BTreeMap<Vec<String>, &File> = sources().map(|it| (module(&it.path), it)).collect();
    let imported: BTreeMap<&str, BTreeMap<String, Vec<String>>> =
        sources().map(|it| (it.path.as_str(), it.imported())).collect();
    let mut all = Vec::new();
    for from in sources().filter(|it| !it.test) {
        for path in from.paths().into_iter().filter(|it| !it.test && it.full[0] == "crate") {
            let to = defining_file(&path.full[1..], &modules, &imported);
            let to = to.filter(|to| to.path != from.path);
            all.extend(to.map(|to| Import { from, line: path.line, to }));
        }
    }
    all
}

/// The file that defines what a path names, through all re-exports; none if the path names only a `mod.rs`.
fn defining_file<'a>(
    path: &[String],
    modules: &BTreeMap<Vec<String>, &'a File>,
    imported: &BTreeMap<&str, BTreeMap<String, Vec<String>>>,
) -> Option<&'a File> {
    let mut path = path.to_vec();
    // Longer chains of re-exports do not occur; a chain that is a cycle must end.
    for _ in 0..16 {
        let depth = (1..=path.len()).rev().find(|depth| modules.contains_key(&path[..*depth]))?;
        let file = modules[&path[..depth]];
        let Some(name) = path.get(depth) else { return (!is_mod_file(file)).then_some(file) };
        match imported[file.path.as_str()].get(name) {
            Some(full) if full[0] == "crate" => path = [&full[1..], &path[depth + 1..]].concat(),
            _ => return Some(file),
        }
    }
    None
}

fn is_mod_file(file: &File) -> bool {
    file.path.ends_with("/mod.rs")
}

/// The two parts of a folder that an import connects: files without `.rs`, and subfolders.
fn parts<'a>(folder: &str, import: &Import<'a>) -> Option<(&'a str, &'a str)> {
    let part = |file: &'a File| {
        let inside = file.path.strip_prefix(folder)?.strip_prefix('/')?;
        inside.split('/').next().map(|part| part.trim_end_matches(".rs"))
    };
    let (from, to) = (part(import.from)?, part(import.to)?);
    (from != to).then_some((from, to))
}

/// All folders below `src` that contain the path.
fn folders(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').skip(1).map(|(at, _)| &path[..at])
}

/// The parts of a folder do not import each other in cycles.
fn cycles(imports: &[Import<'_>]) -> Vec<Finding> {
    let rooms: BTreeSet<&str> = imports.iter().flat_map(|it| folders(&it.from.path)).collect();
    let mut findings = Vec::new();
    for room in rooms {
        let mut graph = Graph::new();
        for import in imports {
            // A mod.rs composes the files beside it, which may use what it defines.
            if let Some((from, to)) = parts(room, import).filter(|(from, _)| *from != "mod") {
                graph.entry(from).or_default().entry(to).or_insert(import);
            }
        }
        let mut reported = BTreeSet::new();
        for start in graph.keys().copied() {
            let Some(cycle) = shortest_cycle(start, &graph) else { continue };
            // Once per cycle, not once per part of it.
            if reported.insert(cycle.iter().copied().collect::<BTreeSet<_>>()) {
                let first = graph[start][cycle[1]];
                let names: Vec<String> =
                    cycle.iter().chain([&start]).map(|part| format!("`{part}`")).collect();
                let instead = format!(
                    "{} is an import cycle in {room}: move what they share below them",
                    names.join(" → ")
                );
                findings.push(finding(first.from, first.line, "cycle", instead));
            }
        }
    }
    findings
}

/// The parts of the shortest cycle through `start`, which is the first; none if there is no cycle.
fn shortest_cycle<'a>(start: &'a str, graph: &Graph<'a>) -> Option<Vec<&'a str>> {
    let mut queue = VecDeque::from([vec![start]]);
    let mut seen = BTreeSet::new();
    while let Some(path) = queue.pop_front() {
        for next in graph.get(path[path.len() - 1]).into_iter().flat_map(|it| it.keys().copied()) {
            if next == start {
                return Some(path);
            }
            if seen.insert(next) {
                queue.push_back([&path[..], &[next]].concat());
            }
        }
    }
    None
}

/// The parts of a room with a declared order import only parts below them.
fn order(files: &[File], imports: &[Import<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (room, rows) in ORDER {
        let row = |part: &str| rows.iter().position(|row| row.contains(&part));
        for import in imports {
            let Some((from, to)) = parts(room, import).filter(|(from, _)| *from != "mod") else { continue };
            let instead = match (row(from), row(to)) {
                (Some(above), Some(below)) if above < below => continue,
                (Some(_), Some(_)) => {
                    "it is not in a lower row; move what is needed down, or pass it as an argument"
                }
                _ => "give both a row in ORDER (tests/tidy.rs) first",
            };
            let text = format!("in {room} `{from}` may not import `{to}`: {instead}");
            findings.push(finding(import.from, import.line, "order", text));
        }
        let inside = |file: &File| {
            let part = file.path.strip_prefix(room)?.strip_prefix('/')?.split('/').next()?;
            Some(part.trim_end_matches(".rs").to_owned())
        };
        let missing = files
            .iter()
            .filter(|it| !it.test && it.path.ends_with(".rs"))
            .filter(|it| inside(it).is_some_and(|part| part != "mod" && row(&part).is_none()));
        findings.extend(missing.map(|it| {
            finding(it, 1, "order", format!("give it a row in ORDER (tests/tidy.rs), under {room}"))
        }));
    }
    findings
}

/// Limits the number of files per folder: in a long list the structure cannot be seen.
fn size(files: &[File]) -> Vec<Finding> {
    let mut by_folder: BTreeMap<&str, Vec<&File>> = BTreeMap::new();
    for file in files.iter().filter(|it| it.path.ends_with(".rs") && !is_mod_file(it)) {
        if let Some(folder) = folders(&file.path).last() {
            by_folder.entry(folder).or_default().push(file);
        }
    }
    by_folder.retain(|folder, inside| folder.starts_with("src/") && inside.len() > FILES_MAX);
    by_folder
        .into_iter()
        .map(|(folder, inside)| {
            let count = inside.len();
            let instead = format!(
                "{folder} has {count} files: group them into sub-rooms; at most {FILES_MAX} per folder"
            );
            finding(inside[FILES_MAX], 1, "size", instead)
        })
        .collect()
}

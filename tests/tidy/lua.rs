//! The rules of the scripts that Redis runs. A script is composed of an entry and the modules that headers name under
//! `Uses:` (src/redis/script.rs): so these must be true, and the main chunk must stay far from Lua's bound on locals.

use crate::rules::{Finding, finding};
use crate::source::File;
use std::collections::{BTreeMap, BTreeSet};

/// Locals of a function, or of a script's main chunk. Lua 5.1 refuses more than 200.
pub const LOCALS_MAX: usize = 120;

/// A word or a sign, and its line; comments and texts are left out.
type Token<'a> = (usize, &'a str);

pub fn all(files: &[File]) -> Vec<Finding> {
    let scripts: Vec<&File> = files.iter().filter(|it| it.path.ends_with(".lua")).collect();
    let modules: BTreeMap<String, &File> =
        scripts.iter().filter(|it| is_module(it)).map(|it| (module_name(it), *it)).collect();
    let each = |file: &&File| {
        let uses = uses(file, &modules);
        uses.into_iter().chain(gives(file)).chain(locals(file, &modules)).collect::<Vec<_>>()
    };
    scripts.iter().flat_map(each).collect()
}

/// A file that says what it gives is a part of scripts, and none itself.
pub fn is_module(file: &File) -> bool {
    section(file, "Gives").is_some()
}

/// `variable_limit.lua` is `VariableLimit`.
fn module_name(file: &File) -> String {
    let stem = file.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".lua");
    stem.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

/// What the header says after `label:`, and its line; lines that go on are indented.
fn section(file: &File, label: &str) -> Option<(usize, String)> {
    let header: Vec<&str> = file.text.lines().take_while(|line| line.starts_with("--")).collect();
    let at = header.iter().position(|line| line.starts_with(&format!("-- {label}:")))?;
    let first = header[at].split_once(':').map_or("", |(_, rest)| rest).to_owned();
    let rest = header[at + 1..].iter().take_while(|line| line.starts_with("--   "));
    Some((at + 1, rest.fold(first, |all, line| all + " " + line.trim_start_matches('-'))))
}

fn words(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The modules that a header names, and `Const`.
fn named(file: &File) -> BTreeSet<String> {
    let is_module = |word: &String| {
        word.starts_with(|c: char| c.is_uppercase()) && word.chars().nth(1).is_some_and(char::is_lowercase)
    };
    words(&section(file, "Uses").unwrap_or_default().1).into_iter().filter(is_module).collect()
}

/// `Uses:` names the modules that the code names, and no others.
fn uses(file: &File, modules: &BTreeMap<String, &File>) -> Vec<Finding> {
    let named = named(file);
    let (line, _) = section(file, "Uses").unwrap_or((1, String::new()));
    let code = tokens(&file.text);
    let is_used = |name: &str| {
        code.windows(3).any(|at| at[1].1 == name && at[2].1 == "." && !matches!(at[0].1, "." | ":"))
            || code.first().is_some_and(|first| first.1 == name)
    };
    let known = modules.keys().map(String::as_str).chain(["Const"]);
    let missing = known.filter(|name| is_used(name) && !named.contains(*name));
    let missing = missing.map(|name| format!("it uses {name}: name it under `-- Uses:`"));
    let idle = named.iter().filter_map(|name| {
        let is_known = modules.contains_key(name.as_str()) || *name == "Const";
        let what = if is_known { "is not used" } else { "is no module" };
        (!is_known || !is_used(name)).then(|| format!("{name} {what}: take it out of `-- Uses:`"))
    });
    let mut all: Vec<String> = missing.chain(idle).collect();
    if is_module(file) && section(file, "Uses").is_none() {
        all.push("say `-- Uses:` in the comment it begins with".to_owned());
    }
    all.into_iter().map(|instead| finding(file, line, "uses", instead)).collect()
}

/// `Gives:` names what the module returns, and nothing else.
fn gives(file: &File) -> Vec<Finding> {
    let Some((line, text)) = section(file, "Gives") else { return Vec::new() };
    let code = tokens(&file.text);
    let last = code.windows(2).rposition(|at| at[0].1 == "return" && at[1].1 == "{");
    let (mut given, mut depth) = (BTreeSet::new(), 0);
    for at in code[last.map_or(code.len(), |at| at + 1)..].windows(2) {
        depth += i32::from(matches!(at[0].1, "{" | "(")) - i32::from(matches!(at[0].1, "}" | ")"));
        if depth == 1 && at[1].1 == "=" && at[0].1.starts_with(char::is_alphabetic) {
            given.insert(at[0].1.to_owned());
        }
    }
    let said = words(&text);
    let missing = given.difference(&said).map(|name| format!("it gives {name}: name it under `-- Gives:`"));
    let gone =
        said.difference(&given).map(|name| format!("it does not give {name}: take it out of `-- Gives:`"));
    missing.chain(gone).map(|instead| finding(file, line, "gives", instead)).collect()
}

/// Few enough locals, those that modules become included.
fn locals(file: &File, modules: &BTreeMap<String, &File>) -> Vec<Finding> {
    let (mut reached, mut todo) = (BTreeSet::new(), named(file));
    while let Some(name) = todo.pop_first() {
        if let Some(module) = modules.get(&name) {
            todo.extend(named(module).difference(&reached).cloned());
        }
        reached.insert(name);
    }
    let composed = if is_module(file) { 0 } else { reached.len() };
    let own = main_locals(&file.text);
    let Some(line) = own.get(LOCALS_MAX.saturating_sub(composed)) else { return Vec::new() };
    let count = composed + own.len();
    let instead = format!("{count} locals in the main chunk: at most {LOCALS_MAX}; make a module of some");
    vec![finding(file, *line, "locals", instead)]
}

/// The lines of the locals that are declared outside of all blocks.
fn main_locals(text: &str) -> Vec<usize> {
    let code = tokens(text);
    let (mut depth, mut found) = (0, Vec::new());
    for (at, (line, word)) in code.iter().enumerate() {
        match *word {
            "function" | "do" | "if" | "repeat" => depth += 1,
            "end" | "until" => depth -= 1,
            "local" if depth == 0 => {
                let names = code[at + 1..].iter().step_by(2).zip(code[at + 2..].iter().step_by(2));
                found.extend(names.scan(true, |go_on, (_, after)| {
                    let counts = *go_on;
                    *go_on = after.1 == ",";
                    counts.then_some(*line)
                }));
            }
            _ => {}
        }
    }
    found
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next().filter(|_| !rest.starts_with("--")) {
            let length = if matches!(first, '\'' | '"') {
                text_length(rest, first)
            } else if first.is_alphanumeric() || first == '_' {
                rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len())
            } else {
                first.len_utf8()
            };
            if !matches!(first, '\'' | '"') {
                found.push((at + 1, &rest[..length]));
            }
            rest = rest[length..].trim_start();
        }
    }
    found
}

fn text_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    let end = rest[1..].find(|c: char| {
        let ends = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    end.map_or(rest.len(), |end| end + 2)
}

//! A Lua script as a contract: typed arguments in, one msgpack answer out.
//!
//! Redis scripts cannot import. So a script is composed of its entry, which reads as named steps, and of the modules
//! that the `Uses:` line of its header names, and theirs. A module is a file that returns a table; it becomes
//! `local <Name> = (function() … end)()`, so that the main chunk has one local per module and not one per name.

use super::{Redis, RedisError, agreed};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;

/// A part of scripts: the name that scripts know it by, and its text.
pub struct Module(pub &'static str, pub &'static str);

/// Modules for every script. Each stands after those it uses.
pub const SHARED: &[Module] = &[
    Module("Keys", include_str!("lua/keys.lua")),
    Module("Command", include_str!("lua/command.lua")),
    Module("Clock", include_str!("lua/clock.lua")),
    Module("Record", include_str!("lua/record.lua")),
    Module("Due", include_str!("lua/due.lua")),
    Module("Lanes", include_str!("lua/lanes.lua")),
    Module("Lease", include_str!("lua/lease.lua")),
];

/// A script and the name it goes by in errors.
///
/// It runs by its hash (EVALSHA); after NOSCRIPT (a restart, `SCRIPT FLUSH`, another node) by its text, which the
/// server keeps.
pub struct Script {
    name: &'static str,
    text: String,
    hash: String,
}

impl Script {
    /// The script of this entry and of the modules it uses. `modules`: beside [`SHARED`], each after those it uses.
    pub fn new(name: &'static str, entry: &str, modules: &[Module]) -> Self {
        Self::of_text(name, compose(entry, modules))
    }

    fn of_text(name: &'static str, text: String) -> Self {
        let hash = redis::Script::new(&text).get_hash().to_owned();
        Self { name, text, hash }
    }

    /// The same script with its text changed.
    pub fn changed(&self, change: impl FnOnce(String) -> String) -> Self {
        Self::of_text(self.name, change(self.text.clone()))
    }

    /// Runs it on a provider's schedule.
    ///
    /// A cluster that moves a slot would run it on either node, with whatever keys are there already. Given two keys of
    /// which one exists and the other never does, it refuses (TRYAGAIN) until the slot has moved.
    pub async fn run<T: redis::FromRedisValue>(
        &self,
        redis: &Redis,
        anchor: &str,
        args: &[&[u8]],
    ) -> Result<T, RedisError> {
        let mut link = redis.link();
        let call = |how: &str, script: &str| {
            let mut call = redis::cmd(how);
            call.arg(script).arg(2).arg(anchor).arg(format!("{anchor}meta")).arg(args);
            call
        };
        let answer = match call("EVALSHA", &self.hash).query_async(&mut link).await {
            Err(error) if is_noscript(&error) => call("EVAL", &self.text).query_async(&mut link).await,
            answer => answer,
        };
        answer.map_err(|source| RedisError::Failed { what: self.name, source })
    }

    /// Runs it and reads its msgpack answer.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        redis: &Redis,
        anchor: &str,
        args: &[&[u8]],
    ) -> Result<T, RedisError> {
        let answer: Vec<u8> = self.run(redis, anchor, args).await?;
        rmp_serde::from_slice(&answer)
            .map_err(|error| RedisError::Answer { what: self.name, error: error.to_string() })
    }

    /// An argument as the scripts unpack it: structs become maps.
    pub fn pack(&self, value: &impl Serialize) -> Result<Vec<u8>, RedisError> {
        rmp_serde::to_vec_named(value)
            .map_err(|error| RedisError::Answer { what: self.name, error: error.to_string() })
    }
}

/// Whether the server does not know a script by this hash.
pub fn is_noscript(error: &redis::RedisError) -> bool {
    matches!(error.kind(), redis::ErrorKind::Server(redis::ServerErrorKind::NoScript))
}

fn compose(entry: &str, modules: &[Module]) -> String {
    let mut wanted = uses(entry);
    let mut parts = vec![entry.to_owned()];
    // A module stands after those it uses, so that one pass from the last to the first finds all.
    for Module(name, text) in SHARED.iter().chain(modules).rev() {
        if wanted.remove(name) {
            wanted.extend(uses(text));
            parts.push(format!("local {name} = (function()\n{text}end)()\n"));
        }
    }
    debug_assert!(wanted.is_empty(), "no module before it gives {wanted:?}:\n{entry}");
    parts.push(agreed::preamble());
    parts.reverse();
    parts.concat()
}

/// The modules that the `Uses:` of a header names: its words that begin with a capital and go on with others.
fn uses(text: &str) -> BTreeSet<&str> {
    let header = text.lines().take_while(|line| line.starts_with("--"));
    let line = header.filter_map(|line| line.strip_prefix("-- Uses:")).next().unwrap_or_default();
    let is_module = |word: &&str| {
        let mut letters = word.chars();
        letters.next().is_some_and(char::is_uppercase) && letters.next().is_some_and(char::is_lowercase)
    };
    line.split(|c: char| !c.is_alphanumeric()).filter(is_module).filter(|word| *word != "Const").collect()
}

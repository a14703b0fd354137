//! A Lua script as a contract: typed arguments in, one msgpack answer out.

use super::{Redis, RedisError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What every script begins with: key names, the job record, how a lane wakes up.
const COMMON: &str = include_str!("lua/common.lua");

/// A script and the name it goes by in errors.
///
/// It runs by its hash (EVALSHA); after NOSCRIPT (a restart, `SCRIPT FLUSH`) it is loaded and run again.
pub struct Script {
    name: &'static str,
    text: String,
    script: redis::Script,
}

impl Script {
    /// The script of this text, after what all of them share.
    pub fn new(name: &'static str, text: &str) -> Self {
        Self::of_parts(name, &[text])
    }

    /// The script of these parts, one after another, after what all scripts share.
    pub fn of_parts(name: &'static str, parts: &[&str]) -> Self {
        Self::of_text(name, format!("{COMMON}\n{}", parts.join("\n")))
    }

    fn of_text(name: &'static str, text: String) -> Self {
        Self { name, script: redis::Script::new(&text), text }
    }

    /// The same script with its text changed.
    pub fn changed(&self, change: impl FnOnce(String) -> String) -> Self {
        Self::of_text(self.name, change(self.text.clone()))
    }

    /// Runs it on one key.
    pub async fn run<T: redis::FromRedisValue>(
        &self,
        redis: &Redis,
        key: &str,
        args: &[&[u8]],
    ) -> Result<T, RedisError> {
        let mut call = self.script.key(key);
        for arg in args {
            call.arg(*arg);
        }
        let mut link = redis.link();
        call.invoke_async(&mut link).await.map_err(|source| RedisError::Failed { what: self.name, source })
    }

    /// Runs it and reads its msgpack answer.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        redis: &Redis,
        key: &str,
        args: &[&[u8]],
    ) -> Result<T, RedisError> {
        let answer: Vec<u8> = self.run(redis, key, args).await?;
        rmp_serde::from_slice(&answer)
            .map_err(|error| RedisError::Answer { what: self.name, error: error.to_string() })
    }

    /// An argument as the scripts unpack it: structs become maps.
    pub fn pack(&self, value: &impl Serialize) -> Result<Vec<u8>, RedisError> {
        rmp_serde::to_vec_named(value)
            .map_err(|error| RedisError::Answer { what: self.name, error: error.to_string() })
    }
}

//! What must outlive the process: the passwords, and the ports by which another process finds the servers.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRng;
use rand::rngs::SysRng;
use serde::{Deserialize, Serialize};

use super::LocalError;

/// Whether data must survive a crash of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// It survives, except for the last second of Redis.
    Durable,
    /// For tests and the demo: nothing waits for the disk, and the last user to leave deletes everything.
    Scratch,
}

// No Debug on these two: they hold passwords.
#[derive(Serialize, Deserialize)]
pub(super) struct State {
    pub durability: Durability,
    pub postgres: Endpoint,
    pub redis: Endpoint,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Endpoint {
    /// Of the latest launch; 0 before the first.
    pub port: u16,
    /// Letters, digits, `-` and `_` only: needs no quoting in a URL or a configuration file.
    pub password: String,
}

impl State {
    pub(super) fn load(path: &Path) -> Result<Option<Self>, LocalError> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(LocalError::io("read", path))?,
        };
        serde_json::from_str(&text).map(Some).map_err(|error| LocalError::Unusable {
            dir: path.parent().unwrap_or(path).to_owned(),
            why: format!("{} is damaged ({error}); delete the directory to begin afresh", path.display()),
        })
    }

    pub(super) fn load_or_create(path: &Path, durability: Durability) -> Result<Self, LocalError> {
        if let Some(state) = Self::load(path)? {
            if state.durability == Durability::Scratch && durability == Durability::Durable {
                return Err(LocalError::Unusable {
                    dir: path.parent().unwrap_or(path).to_owned(),
                    why: "it is for throw-away data, and durable data was asked for; use another directory"
                        .into(),
                });
            }
            return Ok(state);
        }
        let state = Self { durability, postgres: Endpoint::new(path)?, redis: Endpoint::new(path)? };
        state.save(path)?;
        Ok(state)
    }

    /// Replaces the file as a whole: a killed process leaves the old one or the new one.
    pub(super) fn save(&self, path: &Path) -> Result<(), LocalError> {
        let draft = path.with_extension("new");
        let text =
            serde_json::to_vec_pretty(self).map_err(|error| LocalError::io("write", path)(error.into()))?;
        write_private(&draft, &text)?;
        fs::rename(&draft, path).map_err(LocalError::io("replace", path))
    }
}

impl Endpoint {
    fn new(path: &Path) -> Result<Self, LocalError> {
        let mut bytes = [0; 24];
        SysRng
            .try_fill_bytes(&mut bytes)
            .map_err(|error| LocalError::io("draw a random password for", path)(io::Error::other(error)))?;
        Ok(Self { port: 0, password: URL_SAFE_NO_PAD.encode(bytes) })
    }
}

/// Writes a file that only its owner can read. An older file of that name is removed first, since its mode would
/// stay.
pub(super) fn write_private(path: &Path, text: &[u8]) -> Result<(), LocalError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(LocalError::io("replace", path)(error));
        }
        _ => {}
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text))
        .map_err(LocalError::io("write", path))
}

//! Where the cases of a definition are: provider responses, and the outcomes expected of them.

use super::registry::Provider;
use include_dir::{Dir, include_dir};
use std::path::{Path, PathBuf};

/// The cases of the shipped definitions, built into the binary.
static SHIPPED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/fixtures/providers");

/// The cases file in a definition's directory.
const CASES: &str = "cases.toml";

/// A directory of recorded responses and the cases that use them.
#[derive(Debug, Clone)]
pub enum Fixtures {
    /// In a directory named like the definition, beside its file.
    Beside(PathBuf),
    /// Built into the binary.
    Shipped(&'static Dir<'static>),
}

impl Fixtures {
    /// The cases beside a provider's file, else the shipped ones of its name; none if there are neither.
    pub fn of(provider: &Provider) -> Option<Self> {
        let beside = Path::new(&provider.file).with_extension("");
        if Path::new(&provider.file).is_file() && beside.join(CASES).is_file() {
            return Some(Self::Beside(beside));
        }
        let shipped = SHIPPED.get_dir(provider.name.as_str())?;
        shipped.get_file(shipped.path().join(CASES)).map(|_| Self::Shipped(shipped))
    }

    /// Where an operator puts the cases of a definition that has none.
    pub fn place(provider: &Provider) -> PathBuf {
        Path::new(&provider.file).with_extension("").join(CASES)
    }

    /// The cases file as errors name it, and its text.
    pub fn cases(&self) -> Result<(String, String), String> {
        let name = match self {
            Self::Beside(dir) => dir.join(CASES).display().to_string(),
            Self::Shipped(dir) => format!("fixtures/providers/{}/{CASES}", dir.path().display()),
        };
        let text = String::from_utf8(self.read(CASES)?).map_err(|_| format!("{name} is not UTF-8"))?;
        Ok((name, text))
    }

    /// One file of the directory.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        match self {
            Self::Beside(dir) => {
                std::fs::read(dir.join(name)).map_err(|error| format!("cannot read {name}: {error}"))
            }
            Self::Shipped(dir) => dir
                .get_file(dir.path().join(name))
                .map(|file| file.contents().to_owned())
                .ok_or_else(|| format!("there is no file {name} beside the shipped cases")),
        }
    }
}

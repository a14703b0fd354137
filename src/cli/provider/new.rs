//! `paceline provider new`

use crate::cli::{CliError, Global, Output, context};
use crate::provider::SCHEMA;
use crate::words::ProviderName;
use serde::Serialize;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What to begin.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paceline provider new mycloud
  paceline provider new mycloud --dir providers

Writes mycloud.toml with comments, mycloud/cases.toml with what the cloud answers, and schema.json, by which editors
complete and check the file. All of it passes `paceline provider check` as it is; nothing is overwritten.")]
pub struct Args {
    /// What connections will call it
    name: ProviderName,
    /// Where to; providers.dir when absent
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Serialize)]
struct Begun {
    name: String,
    file: PathBuf,
    cases: PathBuf,
}

impl fmt::Display for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, file, cases } = self;
        let (file, cases) = (file.display(), cases.display());
        writeln!(f, "Provider {name} is begun in {file}, with cases in {cases}.")?;
        write!(f, "Edit them, and see `paceline provider check {file}`.")
    }
}

pub(super) fn run(global: &Global, args: Args) -> Result<(), CliError> {
    let settings = context::load_brief(global)?;
    let dir = args.dir.as_deref().or_else(|| settings.providers.dir()).ok_or_else(|| {
        CliError::cannot_start("there is no directory to put it into: set providers.dir, or say --dir DIR")
    })?;
    let file = dir.join(format!("{}.toml", args.name));
    let own = dir.join(args.name.as_str());
    let cases = own.join("cases.toml");
    for taken in [&file, &cases] {
        if taken.exists() {
            let taken = taken.display();
            return Err(CliError::refused(format!("{taken} is there already: choose another name")));
        }
    }
    std::fs::create_dir_all(&own).map_err(|error| {
        CliError::cannot_start(format!("cannot make the directory {}: {error}", own.display()))
    })?;
    write(&file, &include_str!("skeleton.toml").replace("NAME", args.name.as_str()))?;
    write(&cases, include_str!("skeleton_cases.toml"))?;
    let schema = dir.join("schema.json");
    if !schema.exists() {
        write(&schema, SCHEMA)?;
    }
    Output { json: global.json }.answer(&Begun { name: args.name.to_string(), file, cases })
}

/// A file that is there is left as it is, even if it came at this moment.
fn write(path: &Path, text: &str) -> Result<(), CliError> {
    let new = std::fs::File::create_new(path).and_then(|mut file| file.write_all(text.as_bytes()));
    new.map_err(|error| CliError::cannot_start(format!("cannot write {}: {error}", path.display())))
}

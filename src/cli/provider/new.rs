//! `paceline provider new`

use crate::cli::{CliError, Global, Output, context};
use crate::provider::SCHEMA;
use crate::words::ProviderName;
use serde::Serialize;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The definition to create.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paceline provider new mycloud
  paceline provider new mycloud --dir providers

Writes mycloud.toml, a commented skeleton; mycloud/cases.toml, example cases; and schema.json, with which editors \
complete and check the definition. The skeleton passes `paceline provider check`. No existing file is overwritten.")]
pub struct Args {
    /// Name of the provider, as connections will refer to it
    name: ProviderName,
    /// Directory to write to [default: providers.dir of the settings]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Serialize)]
struct Created {
    name: String,
    file: PathBuf,
    cases: PathBuf,
}

impl fmt::Display for Created {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, file, cases } = self;
        let (file, cases) = (file.display(), cases.display());
        writeln!(f, "Created provider {name}: definition {file}, cases {cases}.")?;
        write!(f, "Edit both, then run `paceline provider check {file}`.")
    }
}

pub(super) fn run(global: &Global, args: Args) -> Result<(), CliError> {
    let settings = context::load_for_short_command(global)?;
    let dir = args.dir.as_deref().or_else(|| settings.providers.dir()).ok_or_else(|| {
        CliError::cannot_start("no directory to write to: set providers.dir, or give --dir DIR")
    })?;
    let file = dir.join(format!("{}.toml", args.name));
    let cases_dir = dir.join(args.name.as_str());
    let cases = cases_dir.join("cases.toml");
    for path in [&file, &cases] {
        if path.exists() {
            let path = path.display();
            return Err(CliError::refused(format!("{path} exists already: choose another name")));
        }
    }
    std::fs::create_dir_all(&cases_dir).map_err(|error| {
        CliError::cannot_start(format!("cannot create the directory {}: {error}", cases_dir.display()))
    })?;
    write(&file, &include_str!("skeleton.toml").replace("NAME", args.name.as_str()))?;
    write(&cases, include_str!("skeleton_cases.toml"))?;
    let schema = dir.join("schema.json");
    if !schema.exists() {
        write(&schema, SCHEMA)?;
    }
    Output { json: global.json }.answer(&Created { name: args.name.to_string(), file, cases })
}

/// Never overwrites: `create_new` also refuses a file created since the check.
fn write(path: &Path, text: &str) -> Result<(), CliError> {
    let written = std::fs::File::create_new(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| CliError::cannot_start(format!("cannot write {}: {error}", path.display())))
}
